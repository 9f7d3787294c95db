import type { Caller } from '../caller.ts'
import type { KeyState, Millis, RevocationPage, Session, User } from '../model.ts'

export interface RevocationStore {
  /** Returns the number of the last committed entry of the revocation log, also after the entry was removed; 0 before the first entry. */
  seq(): Promise<number>
  /**
   * Returns the first entries after the number `after`, at most `limit`, and the first and last number of the log, all read at one
   * instant. If `after` is above the last number, returns the entries from the beginning of the log.
   */
  since(after: number, limit: number): Promise<RevocationPage>
  /**
   * Revokes one access token. When `SESSION_TOKEN_ENTRIES_MAX` other tokens of its session already have entries of their own, replaces
   * these by one entry for all tokens that the session has got so far. A refused call only reads.
   * @throws DomainError conflict when the token is revoked already, throttled when the writer has used up its quota
   */
  revokeToken(caller: Caller, token: RevokedToken): Promise<void>
}

/** An access token to revoke. */
export interface RevokedToken {
  jti: string
  /** The user and the session; null for a client's own token. */
  userId: string | null
  sid: string | null
  aud: string
  expiresAt: Millis
  now: Millis
  /** Null for an operator, who is never refused. */
  quota: RevocationQuota | null
}

/** How much one user or client may write into the revocation log: `burst` entries at once, and one more after each `interval`. */
export interface RevocationQuota {
  writer: string
  burst: number
  interval: Millis
}

export interface ExpiryStore {
  /** Takes the lease to remove expired rows. Returns true for exactly one call until the instant `until`, also of concurrent calls. */
  takeLease(now: Millis, until: Millis): Promise<boolean>
  /** Removes a limited number of expired rows of every table, and returns how many it removed. */
  prune(now: Millis): Promise<number>
}

/** What identifies an access token, and everything that the token depends on. */
export interface TokenReference {
  kid: string
  jti: string
  sid: string | null
  sub: string
  clientId: string
  /** The client that introspects the token; null when none does. */
  introspector: string | null
  /** The identifier of the resource that the token is for; empty for Latchkey's own API. */
  identifier: string
}

/** The current state of everything that an access token depends on; null for something that does not exist. */
export interface LiveState {
  keyState: KeyState | null
  session:
    | (Pick<Session, 'userId' | 'clientId' | 'idleExpiresAt' | 'expiresAt'> & {
        endedAt: Millis | null
        /** Tokens of the session with a lower `rev` are revoked. */
        revokedSeq: number
      })
    | null
  /** Whether the token itself was revoked. */
  revoked: boolean
  /** `scopes` holds the scopes of the roles. */
  user: (User & { scopes: string[] }) | null
  client: {
    disabledAt: Millis | null
    firstParty: boolean
    roles: string[] | null
    scopes: string[]
    /** Tokens of the client with a lower `rev` are revoked. */
    revokedSeq: number
  } | null
  /** Whether the introspector may introspect tokens for that resource. */
  mayIntrospect: boolean
}
