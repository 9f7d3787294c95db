import { setTimeout as sleep } from 'node:timers/promises'
import type { RevocationPage, Seconds } from './model.ts'
import type { Store } from './ports.ts'

/** Entries of one answer at most. */
const ENTRIES = 1000
/** How often the log is looked at while somebody waits. */
const LOOK_EVERY_MS = 100
/** How many wait at once; whoever comes then is answered at once. */
const MOST_WAITING = 1000

interface Waiter extends PromiseWithResolvers<RevocationPage> {
  after: number
}

/** The revocation log for services that verify tokens by themselves. */
export function createRevocationLog({ store }: { store: Store }) {
  const waiting = new Set<Waiter>()
  let looking = false
  let stopped = false

  const pageAfter = (after: number) => store.revocations.since(after, ENTRIES)

  /** One query for all who have read equally far; settled when they have their answers. */
  async function answer(waiters: Waiter[]): Promise<void> {
    const pages = new Map<number, Promise<RevocationPage>>()
    for (const waiter of waiters) {
      // Another has answered it.
      if (!waiting.delete(waiter)) continue
      const page = pages.get(waiter.after) ?? pageAfter(waiter.after)
      pages.set(waiter.after, page)
      waiter.resolve(page)
    }
    await Promise.allSettled(pages.values())
  }

  /** Looks at the number of the log, for all who wait, until nobody does. */
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
     * What the log holds after that number; while that is nothing, the answer waits. How long it does decides nothing, so it
     * is told by timers. Nobody waits beyond the first thousand, nor once it is stopped.
     * @param signal nobody waits for the answer any more
     * @throws DomainError unavailable, also while it waits
     */
    async read(after: number, wait: Seconds, signal: AbortSignal): Promise<RevocationPage> {
      const page = await pageAfter(after)
      if (page.seq !== after || wait === 0 || stopped || signal.aborted || waiting.size >= MOST_WAITING) return page

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

    /** Answers all who wait, and lets nobody wait from now on. */
    async stop(): Promise<void> {
      stopped = true
      await answer([...waiting])
    }
  }
}
