import { setTimeout as sleep } from 'node:timers/promises'
import { runOutsideRequest } from '../deadline.ts'
import { LOG_WAITING_MAX, LOG_WAITING_OF_CLIENT_MAX, REVOCATIONS_MAX } from '../limits.ts'
import type { Config } from '../settings.ts'
import { notServed } from './errors.ts'
import type { Revocation, RevocationPage, Seconds } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'

/** The interval in which the log is read while a caller waits. */
const POLL_MS = 100

/** The request of a client for the entries after a number. */
export interface LogRequest {
  clientId: string
  /** The audiences that the client asks for; null for all that it serves. */
  audiences: string[] | null
  after: number
  /** Seconds to wait while there is no entry. */
  wait: Seconds
  /** Aborted when the caller no longer waits. */
  signal: AbortSignal
}

/** A part of the log for one reader. */
export interface LogPage extends Omit<RevocationPage, 'entries'> {
  /** `expiresIn` is the time after which no valid token is left that the entry revokes. */
  entries: (Pick<Revocation, 'seq' | 'kind' | 'id'> & { expiresIn: Seconds })[]
}

interface Waiter extends PromiseWithResolvers<RevocationPage> {
  clientId: string
  /** The ids of the resources whose entries the client gets. */
  resources: string[]
  after: number
  /** Whether the wait is over, so that the next page is the response, also without entries. */
  isOver: boolean
}

/** Reads the revocation log, for services that verify tokens themselves. */
export function createRevocationLog(deps: { store: Store; clock: Clock; settings: Config }) {
  const { store, clock, settings } = deps
  const waiting = new Set<Waiter>()
  let polling = false
  let stopped = false

  /**
   * Returns the ids of the resources whose entries the client may read.
   * @throws DomainError forbidden for an audience that the client does not serve, and for a client that serves none
   */
  async function servedBy({ clientId, audiences }: LogRequest): Promise<string[]> {
    const served = await store.resources.servedBy(clientId)
    const ids = new Map(served.map(({ id, identifier }) => [identifier ?? settings.issuer, id]))
    const asked = audiences ?? [...ids.keys()]
    if (asked.length === 0 || !asked.every((audience) => ids.has(audience))) throw notServed()
    return asked.map((audience) => ids.get(audience) as string)
  }

  /** Creates a function that reads pages. It reads each page once, also when several callers need the page. */
  function pageReader() {
    const pages = new Map<number, Promise<RevocationPage>>()
    return (after: number): Promise<RevocationPage> => {
      const page = pages.get(after) ?? store.revocations.since(after, REVOCATIONS_MAX)
      pages.set(after, page)
      return page
    }
  }

  /** Returns the first page with entries for these resources, else the last page. */
  async function visiblePage(
    { after, resources }: Pick<Waiter, 'after' | 'resources'>,
    read: (after: number) => Promise<RevocationPage>
  ): Promise<RevocationPage> {
    for (let from = after; ; ) {
      const page = await read(from)
      const entries = page.entries.filter((entry) => entry.resources?.some((id) => resources.includes(id)) ?? true)
      if (entries.length > 0 || page.next === page.seq) return { ...page, entries }
      from = page.next
    }
  }

  /** Returns whether a page holds no news for a reader. A log that ends before `after` is news: the database was restored. */
  const isWithoutNews = ({ entries, seq }: RevocationPage, { after }: { after: number }) =>
    entries.length === 0 && seq >= after

  /** Reads the next pages for these waiters. Resolves the waiters that have news or whose wait is over. */
  async function readFor(waiters: Waiter[]): Promise<void> {
    const read = pageReader()
    await Promise.all(
      // Another call may be reading for the same waiter.
      waiters
        .filter((waiter) => waiting.delete(waiter))
        .map(async (waiter) => {
          try {
            const page = await visiblePage(waiter, read)
            if (!isWithoutNews(page, waiter) || waiter.isOver || stopped) return waiter.resolve(page)
            waiter.after = page.next
            waiting.add(waiter)
          } catch (error) {
            waiter.reject(error)
          }
        })
    )
  }

  /** Reads the last number of the log again and again until no caller waits. Reads the new pages for waiters with another number. */
  async function poll(): Promise<void> {
    if (polling) return
    polling = true
    while (waiting.size > 0) {
      try {
        const seq = await store.revocations.seq()
        await readFor([...waiting].filter(({ after }) => after !== seq))
      } catch (error) {
        for (const waiter of waiting) waiter.reject(error)
        waiting.clear()
      }
      await sleep(POLL_MS, undefined, { ref: false })
    }
    polling = false
  }

  /** Leaves out what a reader need not know: which other resources an entry concerns. */
  function forReader(page: RevocationPage): LogPage {
    const now = clock.now()
    const expiresIn = (at: number) => Math.max(0, Math.ceil((at - now) / 1000))
    const entries = page.entries.map(({ seq, kind, id, expiresAt }) => ({
      seq,
      kind,
      id,
      expiresIn: expiresIn(expiresAt)
    }))
    return { ...page, entries }
  }

  /** Returns whether one more request of the client may wait. One client gets only a share, so that the others can wait too. */
  function mayWait(clientId: string): boolean {
    const ofClient = [...waiting].filter((waiter) => waiter.clientId === clientId).length
    return waiting.size < LOG_WAITING_MAX && ofClient < LOG_WAITING_OF_CLIENT_MAX
  }

  return {
    /**
     * Returns the entries after a number that can concern tokens of the audiences. While there are none, waits for the given time. Does
     * not wait when too many requests wait, in total or of the client, and after `stop`. Uses timers and not the clock port, because no
     * decision depends on the wait.
     * @throws DomainError forbidden for an audience that the client does not serve; unavailable, also during the wait
     */
    async read(request: LogRequest): Promise<LogPage> {
      const { clientId, after, wait, signal } = request
      const resources = await servedBy(request)
      const page = await visiblePage({ after, resources }, pageReader())
      const isDone = !isWithoutNews(page, request) || wait === 0 || stopped || signal.aborted
      if (isDone || !mayWait(clientId)) return forReader(page)

      const waiter: Waiter = { clientId, resources, after: page.next, isOver: false, ...Promise.withResolvers() }
      const leave = () => {
        waiter.isOver = true
        waiting.delete(waiter)
        waiter.resolve(page)
      }
      const end = () => {
        waiter.isOver = true
        return readFor([waiter])
      }
      waiting.add(waiter)
      signal.addEventListener('abort', leave)
      // The wait may be longer than the deadline of a request, and the first waiter polls for all.
      const timer = runOutsideRequest(() => setTimeout(end, wait * 1000))
      void runOutsideRequest(poll)
      try {
        return forReader(await waiter.promise)
      } finally {
        waiting.delete(waiter)
        clearTimeout(timer)
        signal.removeEventListener('abort', leave)
      }
    },

    /** Resolves all waiters. Later calls of `read` do not wait. */
    async stop(): Promise<void> {
      stopped = true
      await readFor([...waiting])
    }
  }
}
