import type { Caller } from '../caller.ts'
import type { Millis } from '../model.ts'
import type { Page } from './page.ts'

/** One login of one user in one browser, known by a cookie. Sessions at clients point to it. */
export interface Login {
  /** UUIDv7. */
  id: string
  userId: string
  /** The `authVersion` of the user at the login. A login with another one is over. */
  authVersion: number
  /** How the user was authenticated: values of RFC 8176. */
  amr: string[]
  authAt: Millis
  /** Precise to the minute. */
  lastUsedAt: Millis
  /** The login ends at this instant unless it is used. */
  idleExpiresAt: Millis
  /** The login ends at this instant in any case. */
  expiresAt: Millis
  /** The address and user agent of the login. */
  address: string | null
  userAgent: string | null
}

/** Logins of browsers. */
export interface LoginStore {
  /**
   * Opens a login if the user is enabled and still has the `authVersion` of the login. Otherwise returns false. Ends the logins by
   * which the user has more than `LOGINS_MAX`, the one that was not used for the longest time first.
   * @param opening `tokenHash` is the SHA-256 of the cookie's token, base64url; `replaces` is the id of a login of the same user that
   *   ends, because the user has signed in again in the same browser: its sessions and authorizations go on with the new login
   */
  open(caller: Caller, opening: { login: Login; tokenHash: string; replaces: string | null }): Promise<boolean>
  /**
   * Returns the login of a token; null when it has ended or expired, or its user was disabled or changed since. Moves its idle end,
   * at most once a minute.
   * @param idleTtl milliseconds
   */
  use(tokenHash: string, use: { now: Millis; idleTtl: Millis }): Promise<Login | null>
  /** Returns the active logins of a user, oldest first. */
  list(userId: string, page: Page, now: Millis): Promise<Login[]>
  /**
   * Ends a login, its authorizations that are not redeemed, and its sessions at first-party clients. Returns whether it was active.
   * Clients with a `backchannelLogoutUri` get a notice for each session of the login.
   */
  end(caller: Caller, ending: { id: string; userId: string; now: Millis }): Promise<boolean>
}
