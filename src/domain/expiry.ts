import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'

/** The time for which only one instance removes rows. */
const LEASE_MS = 50_000
const PAUSE_MS = 20

/** Removes expired rows. */
export function createExpiry({ store, clock }: { store: Store; clock: Clock }) {
  return {
    /**
     * Removes expired rows in small batches, unless another instance did so a short time ago, and returns how many it removed.
     * @param signal stops it after the current batch
     */
    async removeExpired(signal?: AbortSignal): Promise<number> {
      const start = clock.now()
      if (!(await store.expiry.takeLease(start, start + LEASE_MS))) return 0
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
