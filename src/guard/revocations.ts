import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'
import { createRevoked, type Entry, KINDS } from './revoked.ts'
import type { Timer } from './timer.ts'

/** One response of the log. */
interface Page {
  entries: Entry[]
  /** The newest number of the log. */
  seq: number
  /** When the request began. */
  at: number
}

/** Bytes of one response at most: a thousand entries of ids with 255 characters, each escaped. */
const MAX_BYTES = 2 ** 21
/** Milliseconds for a response, in addition to the requested wait. */
const RESPONSE_MS = 5000
/** Milliseconds from a request that failed, or did not wait, to the next. Doubles each time. */
const PAUSE_MS = { min: 100, max: 1000 }

const OLD_RESPONSE = 'the revocation log repeated an old response'

const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function isEntry(value: unknown): value is Entry {
  const { seq, kind, id } = (value ?? {}) as Record<string, unknown>
  return isSeq(seq) && KINDS.some((each) => each === kind) && typeof id === 'string' && id !== '' && id.length <= 1024
}

/** Returns null for everything that is not a response of the log. */
function readPage(body: unknown): Omit<Page, 'at'> | null {
  const { entries, seq, oldest } = (body ?? {}) as Record<string, unknown>
  if (!isSeq(seq) || !isSeq(oldest) || oldest > seq || !Array.isArray(entries) || !entries.every(isEntry)) return null
  const isAscending = entries.every((entry, index) => entry.seq > (entries[index - 1]?.seq ?? -1) && entry.seq <= seq)
  return isAscending ? { entries, seq } : null
}

export interface LogOptions {
  metadata: ReturnType<typeof createMetadata>
  /** Adds the access token of the client. */
  fetch: Fetch
  timer: Timer
  /** Milliseconds without a response after which the state of the log is unknown. */
  staleAfterMs: number
  /** Number of entries that are kept at most. Default: 1,000,000. */
  maxEntries?: number
  /** Called once for consecutive failures with the same message. */
  onError: (error: unknown) => void
  /**
   * Called when `isFresh` returns false for the first time, and for the first time after each `onFresh`.
   * @param error the last failure; null without one since the last response
   */
  onStale: (error: unknown) => void
  /** Called when the log was read to its end for the first time, and again after `onStale`. */
  onFresh: () => void
}

/**
 * Follows the revocation log of the issuer: requests the entries after the last one it has read, again and again. The issuer holds
 * each request until there is an entry, or until the time to wait is over.
 */
export function createRevocations(options: LogOptions) {
  const { metadata, fetch, timer, staleAfterMs, onError, onStale, onFresh } = options
  // Two waits and the time of the network fit into `staleAfterMs`.
  const waitSeconds = Math.max(1, Math.min(20, Math.floor(staleAfterMs / 3000)))
  const stop = new AbortController()
  const revoked = createRevoked({ timer, maxEntries: options.maxEntries })

  let seq: number | null = null
  /** When the last request began whose response reached the end of the log. */
  let freshAt = Number.NEGATIVE_INFINITY
  let reported: 'fresh' | 'stale' | null = null
  let lastError: unknown = null
  let following: Promise<void> | null = null
  const firstRead = Promise.withResolvers<void>()

  async function request(after: number, wait: number): Promise<Page> {
    const url = await metadata.endpoint('revocations')
    // However long the response takes, it is at least as new as the request.
    const at = timer.elapsed()
    const { body } = await requestJson(fetch, `${url}?after=${after}&wait=${wait}`, {
      headers: { 'cache-control': 'no-store' },
      timeout: wait * 1000 + RESPONSE_MS,
      timer,
      maxBytes: MAX_BYTES,
      signal: stop.signal
    })
    const page = readPage(body)
    if (page === null) throw new Error('the response of the revocation log is not valid')
    return { ...page, at }
  }

  function apply({ entries, seq: newest, at }: Page): void {
    revoked.add(entries)
    seq = entries.at(-1)?.seq ?? newest
    if (seq < newest) return
    freshAt = at
    if (reported !== 'fresh') onFresh()
    reported = 'fresh'
    firstRead.resolve()
  }

  /**
   * Handles a log whose newest number is smaller than the number that was read: either the database was restored, or this is an
   * old response. A second request decides. After a restore the outright revocations stay, and the numbers lose their meaning.
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
    const wait = afterFailure || seq === null ? 0 : waitSeconds
    const began = timer.elapsed()
    const page = await request(after, wait)
    if (page.seq < after) {
      await goBack(after)
      return false
    }
    if (page.entries.some((entry) => entry.seq <= after)) throw new Error(OLD_RESPONSE)
    apply(page)
    // An issuer that does not wait would cause requests without end.
    return page.entries.length > 0 || timer.elapsed() - began >= wait * 900
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
        if (lastError === null || String(error) !== String(lastError)) onError(error)
        lastError = error
        afterFailure = true
      }
      if (isNextAtOnce) continue
      pause = Math.min(Math.max(pause * 2, PAUSE_MS.min), PAUSE_MS.max)
      await timer.sleep(pause * (0.5 + Math.random() / 2), stop.signal).catch(() => {})
    }
  }

  return {
    /** Starts to follow the log. Resolves when it was read to its end, after `patience` milliseconds, or when it is stopped. */
    async start(patience: number): Promise<void> {
      following ??= follow()
      const late = new AbortController()
      await Promise.race([firstRead.promise, timer.sleep(patience, late.signal).catch(() => {})])
      late.abort()
    },

    /** Aborts the current request or pause. Resolves when it has ended. */
    async stop(): Promise<void> {
      stop.abort()
      firstRead.resolve()
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
    refuses: revoked.refuses,

    /** Returns the last number that was read, the age of the state in milliseconds (each null while unknown), and the number of entries. */
    status: () => ({
      seq,
      lag: freshAt === Number.NEGATIVE_INFINITY ? null : timer.elapsed() - freshAt,
      entries: revoked.size()
    })
  }
}
