import type { Clock, Store } from './ports.ts'

/** How long one instance has the work to itself. */
const LEASE_MS = 50_000
const PAUSE_MS = 20

/** Removes what has expired. */
export function createSweeper({ store, clock }: { store: Store; clock: Clock }) {
  return {
    /**
     * One round, in small batches, unless another instance was at it just now; how many rows are gone.
     * @param signal ends it after the batch that is under way
     */
    async sweep(signal?: AbortSignal): Promise<number> {
      const start = clock.now()
      if (!(await store.expiry.lead(start, start + LEASE_MS))) return 0
      let removed = 0
      while (clock.now() < start + LEASE_MS && !signal?.aborted) {
        const count = await store.expiry.prune(clock.now())
        if (count === 0) break
        removed += count
        await clock.sleep(PAUSE_MS)
      }
      return removed
    }
  }
}
