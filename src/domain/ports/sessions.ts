import type { Caller } from '../caller.ts'
import type { Client, Millis, RefreshKey, Rotation, Session, StoredSession } from '../model.ts'
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
   * Opens a session if the user is enabled and still has the `authVersion` that the proof was verified against, and the client
   * is enabled and nothing was taken from it since `rev`. Returns false otherwise. A disabling or a new password that commits
   * first wins; one that commits later finds the session and ends it.
   */
  open(caller: Caller, opening: { session: Session; authVersion: number; rev: number }): Promise<boolean>
  /** Returns a session in any state; null when there is no such session. */
  get(id: string): Promise<StoredSession | null>
  /** Returns the living sessions of a user by id, which is by age. */
  list(userId: string, page: Page, now: Millis): Promise<Session[]>
  /**
   * Renews a session in one conditional write (RFC 9700 §4.14.2). Of concurrent calls with the current counter exactly one is
   * `rotated`. Within the leeway the others, and repetitions of the previous counter, are `retried` with the same successor. An
   * older counter is `reused` and has ended the session. A call by another client, or for a session that has ended, is `unknown`
   * and changes nothing.
   * @param renewal `counter` is in the presented token; `leeway` in milliseconds, 0 for none
   */
  rotate(
    caller: Caller,
    renewal: { id: string; client: Client; counter: number; leeway: Millis; now: Millis }
  ): Promise<Rotation>
  /** Ends all matching sessions that live or expired within the last minute, and returns how many it ended. */
  end(caller: Caller, filter: SessionFilter & { now: Millis }): Promise<number>
}

/** The keys that refresh tokens are made with. */
export interface RefreshKeyStore {
  /** Returns the key for new refresh tokens; null before the first start. */
  current(): Promise<RefreshKey | null>
  /** Returns null for a key that no longer verifies. */
  find(id: string): Promise<RefreshKey | null>
  /** Removes the keys whose time to verify is over, and returns how many. */
  expire(now: Millis): Promise<number>
}
