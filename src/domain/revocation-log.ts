import { setTimeout as sleep } from 'node:timers/promises'
import { REVOCATIONS_MAX } from '../limits.ts'
import type { RevocationPage, Seconds } from './model.ts'
import type { Store } from './ports/store.ts'

/** The interval in which the log is read while a caller waits. */
const LOOK_EVERY_MS = 100
/** Number of callers that may wait. Further callers get a response at once. */
const MAX_WAITING = 1000

interface Waiter extends PromiseWithResolvers<RevocationPage> {
  after: number
}

/** The revocation log, for services that verify tokens themselves. */
export function createRevocationLog({ store }: { store: Store }) {
  const waiting = new Set<Waiter>()
  let looking = false
  let stopped = false

  const pageAfter = (after: number) => store.revocations.since(after, REVOCATIONS_MAX)

  /** Resolves these waiters, with one query for all that have read equally far. */
  async function answer(waiters: Waiter[]): Promise<void> {
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

  /** Reads the number of the log for all waiters, until no caller waits. */
  async function look(): Promise<void> {
    if (looking) return
    looking = true
    while (waiting.size > 0) {
      try {
        const seq = await store.revocations.seq()
        void answer([...waiting].filter(({ after }) => after !== seq))
      } catch (error) {
        for (const waiter of waiting) waiter.reject(error)
        waiting.clear()
      }
      await sleep(LOOK_EVERY_MS, undefined, { ref: false })
    }
    looking = false
  }

  return {
    /**
     * Returns the entries after that number, and waits while there are none. The wait decides nothing, so it is measured by timers
     * and not by the clock port. Returns at once when too many callers wait, and after `stop`.
     * @param signal aborted when the caller no longer waits
     * @throws DomainError unavailable, also while it waits
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
      const timer = setTimeout(() => answer([waiter]), wait * 1000)
      void look()
      try {
        return await waiter.promise
      } finally {
        clearTimeout(timer)
        signal.removeEventListener('abort', leave)
      }
    },

    /** Resolves all waiters. From now on no call waits. */
    async stop(): Promise<void> {
      stopped = true
      await answer([...waiting])
    }
  }
}
