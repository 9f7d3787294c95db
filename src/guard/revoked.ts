import type { AccessTokenClaims } from '../token/claims.ts'
import type { Timer } from './timer.ts'

/**
 * A session, token or key entry revokes outright. An entry for the tokens of a session, or for a user, client or role, revokes every
 * token that was made before it: with a smaller `rev`.
 */
export const KINDS = ['session', 'token', 'key', 'session_tokens', 'user', 'client', 'role'] as const
export type Kind = (typeof KINDS)[number]

/** An entry of the revocation log. */
export interface Entry {
  seq: number
  kind: Kind
  id: string
}

/** An entry outlives every token that it revokes: one hour, the longest lifetime of a token, and two minutes for clock differences. */
const KEPT_MS = 3_720_000
/** Number of entries at most. */
const MAX_ENTRIES = 1_000_000

/** Holds the entries of the revocation log in memory, each until no token can be left that it revokes. */
export function createRevoked({ timer, maxEntries = MAX_ENTRIES }: { timer: Timer; maxEntries?: number | undefined }) {
  /** The newest entry of each id, by kind. Each map is in the order of `until`. */
  const entries = new Map<Kind, Map<string, { seq: number; until: number }>>(KINDS.map((kind) => [kind, new Map()]))
  const of = (kind: Kind) => entries.get(kind) as Map<string, { seq: number; until: number }>
  const outright = { session: of('session'), token: of('token'), key: of('key') }
  const before = { session: of('session_tokens'), user: of('user'), client: of('client'), role: of('role') }
  let version = 0

  const size = (): number => [...entries.values()].reduce((sum, ofKind) => sum + ofKind.size, 0)

  function forgetExpired(): void {
    const now = timer.elapsed()
    for (const ofKind of entries.values())
      for (const [id, { until }] of ofKind) {
        if (until > now) break
        ofKind.delete(id)
      }
  }

  function keep({ kind, id, seq }: Entry): void {
    const ofKind = of(kind)
    const newest = Math.max(seq, ofKind.get(id)?.seq ?? 0)
    // Deletes first, so that the entry moves to the end of the order.
    ofKind.delete(id)
    ofKind.set(id, { seq: newest, until: timer.elapsed() + KEPT_MS })
    version++
  }

  return {
    /** Adds entries. @throws Error, and adds none, when there would be too many */
    add(added: Entry[]): void {
      forgetExpired()
      if (size() + added.length > maxEntries) throw new Error(`the revocation log has more than ${maxEntries} entries`)
      for (const entry of added) keep(entry)
    },

    /** Forgets the entries that are compared with `rev`: for a log that has started to count from an earlier number. */
    forgetNumbered(): void {
      for (const ofKind of Object.values(before)) ofKind.clear()
    },

    /** Returns whether an entry revokes this token. */
    refuses({ jti, sid, sub, client_id, roles, rev }: AccessTokenClaims, kid: string): boolean {
      if (outright.token.has(jti) || outright.key.has(kid)) return true
      if (sid !== undefined && outright.session.has(sid)) return true
      const isOlder = (entry: { seq: number } | undefined) => entry !== undefined && rev < entry.seq
      return (
        (sid !== undefined && isOlder(before.session.get(sid))) ||
        isOlder(before.user.get(sub)) ||
        isOlder(before.client.get(client_id)) ||
        roles.some((role) => isOlder(before.role.get(role)))
      )
    },

    /** Returns a number that changes with every entry. */
    version: () => version,

    /** Returns the number of entries. */
    size
  }
}
