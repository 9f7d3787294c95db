import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessTokenClaims } from './access-token.ts'
import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'

/** What an entry ends: a session, a token or a key, or all tokens of a user, a client or a role that are older than it. */
const KINDS = ['session', 'token', 'key', 'user', 'client', 'role'] as const
type Kind = (typeof KINDS)[number]

interface Entry {
  seq: number
  kind: Kind
  id: string
}

/** One answer of the log. */
interface Answer {
  entries: Entry[]
  seq: number
  oldest: number
  /** When it was asked for. */
  at: number
}

/** As long as a token can live that an entry is for, and a minute more for clocks that differ. */
const KEPT_MS = 3_720_000
const MAX_ENTRIES = 1_000_000
/** Of one answer: a thousand entries of ids with 255 characters, each escaped. */
const MAX_BYTES = 2 ** 21
const ANSWER_MS = 5000
/** Between a call that failed, or did not wait, and the next: at first and at most. */
const PAUSE_MS = { least: 100, most: 1000 }

const OLD_ANSWER = 'an old answer of the revocation log came again'

const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function isEntry(value: unknown): value is Entry {
  const { seq, kind, id } = (value ?? {}) as Record<string, unknown>
  return isSeq(seq) && KINDS.some((each) => each === kind) && typeof id === 'string' && id !== '' && id.length <= 1024
}

/** Null for everything that is not an answer of the log. */
function readAnswer(body: unknown): Omit<Answer, 'at'> | null {
  const { entries, seq, oldest } = (body ?? {}) as Record<string, unknown>
  if (!isSeq(seq) || !isSeq(oldest) || oldest > seq || !Array.isArray(entries) || !entries.every(isEntry)) return null
  const ascends = entries.every((entry, index) => entry.seq > (entries[index - 1]?.seq ?? -1) && entry.seq <= seq)
  return ascends ? { entries, seq, oldest } : null
}

export interface LogOptions {
  metadata: ReturnType<typeof createMetadata>
  /** Adds the token that the log asks for. */
  fetch: Fetch
  /** Milliseconds since some instant; nobody sets them back. */
  elapsed: () => number
  /** Milliseconds without word from the log after which it says nothing about any token. */
  staleAfterMs: number
  /** Called once for failures in a row that are the same. */
  onError: (error: unknown) => void
  /** @param error the last failure; null when there was none since the log was heard of */
  onStale: (error: unknown) => void
  onFresh: () => void
}

/**
 * The revocation log of the issuer, held in memory: it is asked for what is new, over and over, each time for as long as
 * there is nothing. What it has heard it keeps for as long as a token can live that it is for.
 */
export function createRevocations(options: LogOptions) {
  const { metadata, fetch, elapsed, staleAfterMs, onError, onStale, onFresh } = options
  // Two waits, and what the network takes, fit into the bound.
  const waitSeconds = Math.max(1, Math.min(20, Math.floor(staleAfterMs / 3000)))
  const stop = new AbortController()

  /** By kind, then by id: the newest entry. Those that end first stand first. */
  const ended = new Map<Kind, Map<string, { seq: number; until: number }>>(KINDS.map((kind) => [kind, new Map()]))
  const of = (kind: Kind) => ended.get(kind) as Map<string, { seq: number; until: number }>
  const outright = { session: of('session'), token: of('token'), key: of('key') }
  const before = { user: of('user'), client: of('client'), role: of('role') }

  let seq: number | null = null
  let heardAt = Number.NEGATIVE_INFINITY
  /** What those who watch were told last. */
  let told: 'fresh' | 'stale' | null = null
  let lastError: unknown = null
  let version = 0
  let following: Promise<void> | null = null
  const heardOnce = Promise.withResolvers<void>()

  function forgetEnded(): void {
    const now = elapsed()
    for (const entries of ended.values())
      for (const [id, { until }] of entries) {
        if (until > now) break
        entries.delete(id)
      }
  }

  function keep({ kind, id, seq: at }: Entry): void {
    const entries = of(kind)
    const newest = Math.max(at, entries.get(id)?.seq ?? 0)
    entries.delete(id)
    entries.set(id, { seq: newest, until: elapsed() + KEPT_MS })
    version++
  }

  const size = (): number => [...ended.values()].reduce((sum, entries) => sum + entries.size, 0)

  async function ask(after: number, wait: number): Promise<Answer> {
    const revocations = await metadata.endpoint('revocations')
    // However long the answer takes, it is no older than the question.
    const at = elapsed()
    const { body } = await requestJson(fetch, `${revocations}?after=${after}&wait=${wait}`, {
      headers: { 'cache-control': 'no-store' },
      timeout: wait * 1000 + ANSWER_MS,
      maxBytes: MAX_BYTES,
      signal: stop.signal
    })
    const answer = readAnswer(body)
    if (answer === null) throw new Error('the answer of the revocation log is none')
    return { ...answer, at }
  }

  function apply({ entries, seq: newest, at }: Answer): void {
    forgetEnded()
    if (size() + entries.length > MAX_ENTRIES)
      throw new Error(`the revocation log has more than ${MAX_ENTRIES} entries`)
    for (const entry of entries) keep(entry)
    seq = entries.at(-1)?.seq ?? newest
    if (seq < newest) return
    heardAt = at
    if (told !== 'fresh') onFresh()
    told = 'fresh'
    heardOnce.resolve()
  }

  /**
   * The log ends before what was read of it: it was put back to an earlier state, or an old answer came again. Only when it
   * says so twice it is believed. What was revoked one by one stays so; numbers of before mean nothing any more.
   */
  async function goBack(reached: number): Promise<void> {
    const whole = await ask(0, 0)
    if (whole.seq >= reached) throw new Error(OLD_ANSWER)
    onError(new Error(`the revocation log went back from ${reached} to ${whole.seq}`))
    for (const entries of Object.values(before)) entries.clear()
    // Until it was read to its end it is not known what was revoked.
    heardAt = Number.NEGATIVE_INFINITY
    apply(whole)
  }

  /** One call; whether the next may follow at once. @param isLate whether the call before failed */
  async function round(isLate: boolean): Promise<boolean> {
    const after: number = seq ?? 0
    // What was missed is told at once.
    const wait = isLate || seq === null ? 0 : waitSeconds
    const asked = elapsed()
    const answer = await ask(after, wait)
    if (answer.seq < after) {
      await goBack(after)
      return false
    }
    if (answer.entries.some((entry) => entry.seq <= after)) throw new Error(OLD_ANSWER)
    apply(answer)
    // A wait that is shorter than asked for would make calls without end.
    return answer.entries.length > 0 || elapsed() - asked >= wait * 900
  }

  async function follow(): Promise<void> {
    let pause = 0
    let isLate = false
    while (!stop.signal.aborted) {
      let mayGoOn = false
      try {
        mayGoOn = await round(isLate)
        if (mayGoOn && !isLate) pause = 0
        isLate = false
        lastError = null
      } catch (error) {
        if (stop.signal.aborted) return
        if (lastError === null || String(error) !== String(lastError)) onError(error)
        lastError = error
        isLate = true
      }
      if (mayGoOn) continue
      pause = Math.min(Math.max(pause * 2, PAUSE_MS.least), PAUSE_MS.most)
      await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal: stop.signal }).catch(() => {})
    }
  }

  return {
    /** Begins to follow; resolves when the log is known, or after so many milliseconds, or with a stop. */
    async start(patience: number): Promise<void> {
      following ??= follow()
      let timer: NodeJS.Timeout | undefined
      await Promise.race([heardOnce.promise, new Promise((resolve) => (timer = setTimeout(resolve, patience)))])
      clearTimeout(timer)
    },

    async stop(): Promise<void> {
      stop.abort()
      heardOnce.resolve()
      await following
    },

    /** Whether the log was heard of within the bound. */
    isFresh(): boolean {
      if (elapsed() - heardAt <= staleAfterMs) return true
      if (told !== 'stale') onStale(lastError)
      told = 'stale'
      return false
    },

    /** Changes when anything is revoked. */
    version: () => version,

    /** Whether an entry ends this token. */
    refuses({ jti, sid, sub, client_id, roles, rev }: AccessTokenClaims, kid: string): boolean {
      if (outright.token.has(jti) || outright.key.has(kid)) return true
      if (sid !== undefined && outright.session.has(sid)) return true
      const isBefore = (entry: { seq: number } | undefined) => entry !== undefined && rev < entry.seq
      return (
        isBefore(before.user.get(sub)) ||
        isBefore(before.client.get(client_id)) ||
        roles.some((role) => isBefore(before.role.get(role)))
      )
    },

    /** How far the log was read, null when nothing was; how long ago its end was heard of, in milliseconds, null like that; how much is kept. */
    status: () => ({
      seq,
      lag: heardAt === Number.NEGATIVE_INFINITY ? null : elapsed() - heardAt,
      entries: size()
    })
  }
}
