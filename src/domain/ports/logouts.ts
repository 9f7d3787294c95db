import type { Millis } from '../model.ts'

/** A client that has not been told yet that a session of a user has ended (OpenID Connect Back-Channel Logout 1.0). */
export interface LogoutNotice {
  sessionId: string
  clientId: string
  userId: string
  /** Number of attempts to deliver it that have begun. */
  attempts: number
}

/**
 * Notices of logouts that clients have not received yet, at most one for a session. The end of a session or a login adds them; expired ones are
 * removed with other expired rows.
 */
export interface LogoutNoticeStore {
  /** Returns notices whose next attempt is due and that have not expired, the longest due first. */
  due(now: Millis, limit: number): Promise<LogoutNotice[]>
  /** Begins an attempt. Returns true for exactly one of concurrent calls for one attempt: no other attempt begins before `nextAt`. */
  claim(notice: Pick<LogoutNotice, 'sessionId' | 'attempts'>, nextAt: Millis): Promise<boolean>
  /** Postpones the notices of a client that are due earlier. Does not count as an attempt. */
  postpone(clientId: string, until: Millis): Promise<void>
  /** Removes a notice. */
  remove(sessionId: string): Promise<void>
}

/** Sends a logout token to a client. Returns why the client did not accept it, for operators; null when it did. Throws nothing. */
export type SendLogout = (uri: string, logoutToken: string) => Promise<string | null>
