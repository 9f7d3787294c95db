import type { Caller } from '../caller.ts'
import type { Client, Millis, RefreshKey, Rotation, Session, StoredSession, User } from '../model.ts'
import type { Page } from './page.ts'

/** A session matches when every given member matches. */
export interface SessionFilter {
  id?: string
  userId?: string
  clientId?: string
  /** The id of a session that does not match. */
  except?: string | null
}

export interface SessionStore {
  /**
   * Opens a session if the user is enabled and still has the given `authVersion`, and the client is enabled and lost no right since
   * `rev`. Otherwise returns false. If the user is disabled or gets a new password at the same time, no session is opened, or the
   * new session is ended.
   */
  open(caller: Caller, opening: { session: Session; authVersion: number; rev: number }): Promise<boolean>
  /**
   * Returns everything that a refresh token depends on, read in one statement: its session and user in any state, with the scopes of the
   * roles of the user, its key, and the number of the last entry of the revocation log. Returns null when the session or the key does not
   * exist.
   */
  presented(
    id: string,
    keyId: string
  ): Promise<{ session: StoredSession; key: RefreshKey; user: User & { scopes: string[] }; rev: number } | null>
  /** Returns the active sessions of a user in the order of their ids, so the oldest first. */
  list(userId: string, page: Page, now: Millis): Promise<Session[]>
  /**
   * Renews a session in one conditional write (RFC 9700 §4.14.2). Exactly one of concurrent calls with the current counter returns
   * `rotated`. Within the leeway the other calls, and repetitions of the previous counter, return `retried`: their refresh token is
   * the same successor. The previous counter after the leeway, and every older counter, return `reused` and end the session. A call
   * by another client, or for a session that has ended, returns `unknown` and changes nothing.
   * @param renewal `counter` is the counter of the presented token; `leeway` is in milliseconds, 0 for none
   */
  rotate(
    caller: Caller,
    renewal: { id: string; client: Client; counter: number; leeway: Millis; now: Millis }
  ): Promise<Rotation>
  /**
   * Ends all matching sessions that are active or expired within the last minute, and returns how many it ended. Clients with a
   * `backchannelLogoutUri` get a notice for each, except the caller. With `userId` alone also ends the logins of the user in browsers with
   * their codes, except the login of the session `except`: a login could open another session.
   */
  end(caller: Caller, filter: SessionFilter & { now: Millis }): Promise<number>
}

/** The keys that authenticate refresh tokens. */
export interface RefreshKeyStore {
  /** Returns the key for new refresh tokens; null before the first start. */
  current(): Promise<RefreshKey | null>
  /** Removes the keys that no longer verify at the instant `now`, and returns how many it removed. */
  expire(now: Millis): Promise<number>
}
