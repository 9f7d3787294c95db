import { ACCESS_TOKEN_TTL_MAX, GUARD_ENTRIES_MAX } from '../limits.ts'
import type { AccessTokenClaims } from '../token/claims.ts'
import type { Timer } from './timer.ts'

/**
 * A session, token or key entry revokes outright. An entry for the tokens of a session, or for a user, client or role, revokes every
 * token that was made before it: with a smaller `rev`. An entry of the kind `all` does so for every token.
 */
export const KINDS = ['session', 'token', 'key', 'session_tokens', 'user', 'client', 'role', 'all'] as const
export type Kind = (typeof KINDS)[number]

/** An entry of the revocation log. */
export interface Entry {
  seq: number
  kind: Kind
  id: string
  /** Seconds after which no valid token is left that the entry revokes, by the clock of the issuer. */
  expiresIn: number
}

/** Milliseconds for which an entry is kept at most: one hour, the longest lifetime of a token, and two minutes for clock differences. */
const KEPT_MS = (ACCESS_TOKEN_TTL_MAX + 2 * 60) * 1000
/** Milliseconds by which the clock of this service may be behind that of the issuer. A token is valid here for this much longer. */
const BEHIND_MS = 60_000

/** `unknown` for a token that a dropped entry may have revoked. */
export type Verdict = 'valid' | 'revoked' | 'unknown'

/** Holds the entries of the revocation log in memory, each until no token can be left that it revokes. */
export function createRevoked(options: { timer: Timer; maxEntries?: number | undefined }) {
  const { timer, maxEntries = GUARD_ENTRIES_MAX } = options
  /** The newest entry of each id, by kind. Each map is in the order of the numbers. */
  const entries = new Map<Kind, Map<string, { seq: number; until: number }>>(KINDS.map((kind) => [kind, new Map()]))
  const of = (kind: Kind) => entries.get(kind) as Map<string, { seq: number; until: number }>
  const outright = { session: of('session'), token: of('token'), key: of('key') }
  const before = {
    session: of('session_tokens'),
    user: of('user'),
    client: of('client'),
    role: of('role'),
    all: of('all')
  }
  /** The other kinds are never dropped: they have few entries, and a token can be newer than the retirement of its key. */
  const droppable = KINDS.filter((kind) => kind !== 'key' && kind !== 'all').map(of)
  let version = 0
  /** The number of the newest entry that was dropped. An older token may have been revoked by it. */
  let dropped = 0

  const size = (): number => [...entries.values()].reduce((sum, ofKind) => sum + ofKind.size, 0)

  function forgetExpired(): void {
    const now = timer.elapsed()
    for (const ofKind of entries.values()) for (const [id, { until }] of ofKind) if (until <= now) ofKind.delete(id)
  }

  /** Drops the entry with the smallest number. Returns whether there was one. */
  function dropOldest(): boolean {
    const firsts = droppable.flatMap((ofKind) => {
      const [first] = ofKind
      return first === undefined ? [] : [{ ofKind, id: first[0], seq: first[1].seq }]
    })
    if (firsts.length === 0) return false
    const { ofKind, id, seq } = firsts.reduce((oldest, each) => (each.seq < oldest.seq ? each : oldest))
    ofKind.delete(id)
    dropped = Math.max(dropped, seq)
    version++
    return true
  }

  /** Makes room for one more entry. Drops many at once, so that this is rarely needed. */
  function makeRoom(): void {
    forgetExpired()
    if (size() < maxEntries) return
    const most = Math.max(0, maxEntries - 1 - Math.floor(maxEntries / 16))
    while (size() > most && dropOldest());
  }

  function keep({ kind, id, seq, expiresIn }: Entry): void {
    const ofKind = of(kind)
    const known = ofKind.get(id)
    if (known === undefined && size() >= maxEntries) makeRoom()
    const until = timer.elapsed() + Math.min(KEPT_MS, expiresIn * 1000 + BEHIND_MS)
    // Deletes first, so that the entry moves to the end of the order.
    ofKind.delete(id)
    ofKind.set(id, { seq: Math.max(seq, known?.seq ?? 0), until: Math.max(until, known?.until ?? 0) })
    version++
  }

  return {
    /**
     * Adds entries. When there are too many, drops those whose tokens have expired, then the oldest. Tokens from before a dropped entry
     * are then `unknown`; every newer token is still judged.
     */
    add(added: Entry[]): void {
      forgetExpired()
      for (const entry of added) keep(entry)
    },

    /** Forgets the entries that are compared with `rev`: for a log that has started to count from an earlier number. */
    forgetNumbered(): void {
      for (const ofKind of Object.values(before)) ofKind.clear()
      for (const ofKind of Object.values(outright))
        for (const [id, { until }] of ofKind) ofKind.set(id, { seq: 0, until })
      dropped = 0
    },

    /** Returns whether an entry revokes this token. */
    judge({ jti, sid, sub, client_id, roles, rev }: AccessTokenClaims, kid: string): Verdict {
      if (outright.token.has(jti) || outright.key.has(kid)) return 'revoked'
      if (sid !== undefined && outright.session.has(sid)) return 'revoked'
      const isOlder = (entry: { seq: number } | undefined) => entry !== undefined && rev < entry.seq
      const isRevoked =
        [...before.all.values()].some(isOlder) ||
        (sid !== undefined && isOlder(before.session.get(sid))) ||
        isOlder(before.user.get(sub)) ||
        isOlder(before.client.get(client_id)) ||
        roles.some((role) => isOlder(before.role.get(role)))
      if (isRevoked) return 'revoked'
      return rev < dropped ? 'unknown' : 'valid'
    },

    /** Returns whether entries were dropped because there were too many. */
    hasDropped: () => dropped > 0,

    /** Returns a number that changes with every entry. */
    version: () => version,

    /** Returns the number of entries. */
    size
  }
}
