import type { Caller } from '../caller.ts'
import type { KeyState, Millis, RevocationPage, Session } from '../model.ts'

export interface RevocationStore {
  /** Returns the number of the last committed entry of the revocation log; 0 for an empty log. */
  seq(): Promise<number>
  /**
   * Returns the first entries after the number `after`, at most `limit`, and the first and last number of the log, all read at one
   * instant. If `after` is above the last number, returns the entries from the beginning of the log.
   */
  since(after: number, limit: number): Promise<RevocationPage>
  /** Revokes one access token. @throws DomainError conflict when it is revoked already */
  revokeToken(caller: Caller, token: { jti: string; now: Millis }): Promise<void>
}

export interface ExpiryStore {
  /** Takes the lease to remove expired rows. Returns true for exactly one call until the instant `until`, also of concurrent calls. */
  takeLease(now: Millis, until: Millis): Promise<boolean>
  /** Removes a limited number of expired rows of every table, and returns how many it removed. */
  prune(now: Millis): Promise<number>
}

/** The current state of everything that an access token depends on; null for something that does not exist. */
export interface LiveState {
  keyState: KeyState | null
  session: (Pick<Session, 'userId' | 'clientId' | 'idleExpiresAt' | 'expiresAt'> & { endedAt: Millis | null }) | null
  /** Whether the token itself was revoked. */
  revoked: boolean
  user: { disabledAt: Millis | null; roles: string[]; scopes: string[] } | null
  client: {
    disabledAt: Millis | null
    firstParty: boolean
    roles: string[] | null
    scopes: string[]
    /** Tokens of the client with a lower `rev` are revoked. */
    revokedSeq: number
  } | null
}
