import { LOG_PAGE_BYTES_MAX } from '../limits.ts'
import { printableLine } from '../printable.ts'
import { type Fetch, type JsonResponse, requestJson, UpstreamError } from './http.ts'
import type { createMetadata } from './metadata.ts'
import { createRevoked, type Entry, KINDS } from './revoked.ts'
import type { Timer } from './timer.ts'

/** One response of the log. */
interface Page {
  entries: Entry[]
  /** The number up to which the response is complete. */
  next: number
  /** The newest number of the log. */
  seq: number
  /** When the request began. */
  at: number
}

/** Milliseconds for a response, in addition to the requested wait. */
const RESPONSE_MS = 5000
/** Milliseconds from a request that failed, or did not wait, to the next. Doubles each time. */
const PAUSE_MS = { min: 100, max: 1000 }

/** Number of UTF-16 units of a reason of the issuer. */
const DETAIL_MAX = 300

const OLD_RESPONSE = 'the revocation log repeated an old response'

const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Adds the issuer's reason to its refusal: for example that the client does not serve the audience. @throws always */
function withReason(error: unknown): Promise<JsonResponse> {
  const { detail } = ((error instanceof UpstreamError && error.status === 403 && error.body) || {}) as {
    detail?: unknown
  }
  if (typeof detail !== 'string') throw error
  throw new Error(`${(error as Error).message}: ${printableLine(detail.slice(0, DETAIL_MAX))}`)
}

/** Returns null for everything that is not an entry. */
function readEntry(value: unknown): Entry | null {
  const { seq, kind, id, expires_in: expiresIn } = (value ?? {}) as Record<string, unknown>
  const isKind = (each: unknown): each is Entry['kind'] => KINDS.some((known) => known === each)
  if (!isSeq(seq) || !isKind(kind) || typeof id !== 'string' || id === '' || id.length > 1024) return null
  return isSeq(expiresIn) ? { seq, kind, id, expiresIn } : null
}

/** Returns null for everything that is not a response of the log. */
function readPage(body: unknown): Omit<Page, 'at'> | null {
  const { entries: list, next, seq, oldest } = (body ?? {}) as Record<string, unknown>
  if (!isSeq(next) || !isSeq(seq) || !isSeq(oldest) || oldest > seq || next > seq || !Array.isArray(list)) return null
  const entries: Entry[] = []
  for (const each of list) {
    const entry = readEntry(each)
    if (entry === null || entry.seq <= (entries.at(-1)?.seq ?? -1) || entry.seq > next) return null
    entries.push(entry)
  }
  return { entries, next, seq }
}

export interface LogOptions {
  metadata: ReturnType<typeof createMetadata>
  /** The audiences of the service. Only entries that can concern their tokens are read. */
  audiences: readonly string[]
  /** Adds the access token of the client. */
  fetch: Fetch
  timer: Timer
  /** Milliseconds without a response after which the state of the log is unknown. */
  staleAfterMs: number
  /** Number of entries that are kept at most. Default: `GUARD_ENTRIES_MAX`. */
  maxEntries?: number | undefined
  /** Called once for consecutive failures with the same message. */
  onError: (error: unknown) => void
  /**
   * Called when `isFresh` returns false for the first time, and for the first time after each `onFresh`.
   * @param error the last failure; null without one since the last response
   */
  onStale: (error: unknown) => void
  /** Called when entries are dropped because there are too many: once, and perhaps again after a restore of the database. */
  onFull: () => void
  /** Called when the log was read to its end for the first time, and again after `onStale`. */
  onFresh: () => void
}

/**
 * Follows the revocation log of the issuer: requests the entries after the last one it has read, again and again. The issuer holds
 * each request until there is an entry, or until the time to wait is over.
 */
export function createRevocations(options: LogOptions) {
  const { metadata, audiences, fetch, timer, staleAfterMs, onError, onStale, onFull, onFresh } = options
  // Two waits and the time of the network fit into `staleAfterMs`.
  const waitSeconds = Math.max(1, Math.min(20, Math.floor(staleAfterMs / 3000)))
  const audience = audiences.join(' ')
  const stop = new AbortController()
  const revoked = createRevoked({ timer, maxEntries: options.maxEntries })

  let seq: number | null = null
  /** When the last request began whose response reached the end of the log. */
  let freshAt = Number.NEGATIVE_INFINITY
  let reported: 'fresh' | 'stale' | null = null
  let lastError: unknown = null
  let isFull = false
  let following: Promise<void> | null = null
  /** Resolves when the log was read to its end. */
  let reachedEnd = Promise.withResolvers<void>()
  /** When `restart` was called: a response to an earlier request may be from before the freeze of the process. */
  let restartedAt = Number.NEGATIVE_INFINITY
  /** Ends the current request or pause. */
  let interrupt = new AbortController()
  /** Whether the next request must not wait for a new entry. */
  let isHurried = false

  async function request(after: number, wait: number): Promise<Page> {
    const url = await metadata.endpoint('revocations')
    // However long the response takes, it is at least as new as the request.
    const at = timer.elapsed()
    const query = new URLSearchParams({ after: `${after}`, wait: `${wait}`, audience })
    const { body } = await requestJson(fetch, `${url}?${query}`, {
      headers: { 'cache-control': 'no-store' },
      timeout: wait * 1000 + RESPONSE_MS,
      timer,
      maxBytes: LOG_PAGE_BYTES_MAX,
      signal: interrupt.signal
    }).catch(withReason)
    const page = readPage(body)
    if (page === null) throw new Error('the response of the revocation log is not valid')
    return { ...page, at }
  }

  function apply({ entries, next, seq: newest, at }: Page): void {
    revoked.add(entries)
    if (revoked.hasDropped() && !isFull) onFull()
    isFull = revoked.hasDropped()
    seq = next
    if (next < newest) return
    freshAt = at
    if (reported !== 'fresh') onFresh()
    reported = 'fresh'
    if (at >= restartedAt) reachedEnd.resolve()
  }

  /**
   * Handles a log whose newest number is smaller than the number that was read: either the database was restored, or this is an
   * old response. A second request decides. After a restore the entries of sessions, tokens and keys stay. The others are forgotten,
   * because they are compared with `rev`, and the numbers have lost their meaning.
   */
  async function goBack(reached: number): Promise<void> {
    const page = await request(0, 0)
    if (page.seq >= reached) throw new Error(OLD_RESPONSE)
    onError(new Error(`the revocation log went back from ${reached} to ${page.seq}`))
    revoked.forgetNumbered()
    // The state is unknown until the log was read to its end again.
    freshAt = Number.NEGATIVE_INFINITY
    apply(page)
  }

  /** Requests one page. Returns whether the next request may follow at once. @param afterFailure whether the last request failed */
  async function round(afterFailure: boolean): Promise<boolean> {
    const after: number = seq ?? 0
    const wait = afterFailure || isHurried || seq === null ? 0 : waitSeconds
    isHurried = false
    const began = timer.elapsed()
    const page = await request(after, wait)
    if (page.seq < after) {
      await goBack(after)
      return false
    }
    if (page.next < after || page.entries.some((entry) => entry.seq <= after)) throw new Error(OLD_RESPONSE)
    apply(page)
    // An issuer that does not wait would cause requests without end.
    const hasMore = page.entries.length > 0 || page.next < page.seq
    return (hasMore && page.next > after) || timer.elapsed() - began >= wait * 900
  }

  async function follow(): Promise<void> {
    let pause = 0
    let afterFailure = false
    while (!stop.signal.aborted) {
      let isNextAtOnce = false
      try {
        isNextAtOnce = await round(afterFailure)
        if (isNextAtOnce && !afterFailure) pause = 0
        afterFailure = false
        lastError = null
      } catch (error) {
        if (stop.signal.aborted) return
        if (isHurried) continue
        if (lastError === null || String(error) !== String(lastError)) onError(error)
        lastError = error
        afterFailure = true
      }
      if (isNextAtOnce) continue
      pause = Math.min(Math.max(pause * 2, PAUSE_MS.min), PAUSE_MS.max)
      await timer.sleep(pause * (0.5 + Math.random() / 2), interrupt.signal).catch(() => {})
    }
  }

  /** Resolves when the log was read to its end, or after `patience` milliseconds. */
  async function untilRead(patience: number): Promise<void> {
    const late = new AbortController()
    await Promise.race([reachedEnd.promise, timer.sleep(patience, late.signal).catch(() => {})])
    late.abort()
  }

  return {
    /** Starts to follow the log. Resolves when it was read to its end, after `patience` milliseconds, or when it is stopped. */
    start(patience: number): Promise<void> {
      following ??= follow()
      return untilRead(patience)
    },

    /**
     * Ends the current request or pause and reads the log at once, because its connection may be broken and its time limit too late. Must
     * be called after `start`. Resolves as `start` does.
     */
    restart(patience: number): Promise<void> {
      reachedEnd = Promise.withResolvers()
      restartedAt = timer.elapsed()
      isHurried = true
      interrupt.abort()
      interrupt = new AbortController()
      return untilRead(patience)
    },

    /** Aborts the current request or pause. Resolves when it has ended. */
    async stop(): Promise<void> {
      stop.abort()
      interrupt.abort()
      reachedEnd.resolve()
      await following
    },

    /** Returns whether the log was read to its end within `staleAfterMs`. */
    isFresh(): boolean {
      if (timer.elapsed() - freshAt <= staleAfterMs) return true
      if (reported !== 'stale') onStale(lastError)
      reported = 'stale'
      return false
    },

    version: revoked.version,
    judge: revoked.judge,

    /** Returns the last number that was read, the age of the state in milliseconds (each null while unknown), and the number of entries. */
    status: () => ({
      seq,
      lag: freshAt === Number.NEGATIVE_INFINITY ? null : timer.elapsed() - freshAt,
      entries: revoked.size()
    })
  }
}
