import { setTimeout as sleep } from 'node:timers/promises'
import { REVOCATIONS_MAX } from '../limits.ts'
import type { RevocationPage, Seconds } from './model.ts'
import type { Store } from './ports/store.ts'

/** The interval in which the log is read while a caller waits. */
const POLL_MS = 100
/** Maximum number of callers that wait. A further call returns at once. */
const MAX_WAITING = 1000

interface Waiter extends PromiseWithResolvers<RevocationPage> {
  after: number
}

/** Reads the revocation log, for services that verify tokens themselves. */
export function createRevocationLog({ store }: { store: Store }) {
  const waiting = new Set<Waiter>()
  let polling = false
  let stopped = false

  const pageAfter = (after: number) => store.revocations.since(after, REVOCATIONS_MAX)

  /** Resolves these waiters, with one query for all waiters that have the same number. */
  async function resolveWaiters(waiters: Waiter[]): Promise<void> {
    const pages = new Map<number, Promise<RevocationPage>>()
    for (const waiter of waiters) {
      // Another call resolved it.
      if (!waiting.delete(waiter)) continue
      const page = pages.get(waiter.after) ?? pageAfter(waiter.after)
      pages.set(waiter.after, page)
      waiter.resolve(page)
    }
    await Promise.allSettled(pages.values())
  }

  /** Reads the last number of the log again and again until no caller waits. Resolves the waiters that have another number. */
  async function poll(): Promise<void> {
    if (polling) return
    polling = true
    while (waiting.size > 0) {
      try {
        const seq = await store.revocations.seq()
        void resolveWaiters([...waiting].filter(({ after }) => after !== seq))
      } catch (error) {
        for (const waiter of waiting) waiter.reject(error)
        waiting.clear()
      }
      await sleep(POLL_MS, undefined, { ref: false })
    }
    polling = false
  }

  return {
    /**
     * Returns the entries after the number `after`. While there are none, waits for at most `wait` seconds. Does not wait when too
     * many callers wait, and after `stop`. Uses timers and not the clock port, because no decision depends on the wait.
     * @param signal aborted when the caller no longer waits
     * @throws DomainError unavailable, also during the wait
     */
    async read(after: number, wait: Seconds, signal: AbortSignal): Promise<RevocationPage> {
      const page = await pageAfter(after)
      if (page.seq !== after || wait === 0 || stopped || signal.aborted || waiting.size >= MAX_WAITING) return page

      const waiter: Waiter = { after, ...Promise.withResolvers() }
      const leave = () => {
        waiting.delete(waiter)
        waiter.resolve(page)
      }
      waiting.add(waiter)
      signal.addEventListener('abort', leave)
      const timer = setTimeout(() => resolveWaiters([waiter]), wait * 1000)
      void poll()
      try {
        return await waiter.promise
      } finally {
        clearTimeout(timer)
        signal.removeEventListener('abort', leave)
      }
    },

    /** Resolves all waiters. Later calls of `read` do not wait. */
    async stop(): Promise<void> {
      stopped = true
      await resolveWaiters([...waiting])
    }
  }
}
