import type { Caller } from '../caller.ts'
import type { Credentials, Millis, User } from '../model.ts'
import type { Page } from './page.ts'

export type NewUser = Pick<User, 'id' | 'username' | 'email' | 'fullName' | 'roles'> & {
  /** The canonical forms, which are unique. */
  usernameKey: string
  emailKey: string | null
  passwordHash: string
  now: Millis
}

/** The members that are given change. `roles` replaces all roles of the user. */
export interface UserChanges {
  username?: string
  usernameKey?: string
  email?: string | null
  emailKey?: string | null
  fullName?: string | null
  disabled?: boolean
  roles?: string[]
}

/** A user matches when every given member matches. */
export interface UserFilter {
  /** The beginning of the canonical username or e-mail address. */
  search?: string
  role?: string
  disabled?: boolean
}

/**
 * Users. A change that could remove the last admin first takes the lock `admins`, so such changes run one after the other. It
 * throws `DomainError('conflict')` when no enabled admin would be left. A change that gives a role or a scope throws
 * `DomainError('forbidden')` when the caller does not hold the same scopes (and the role `admin`, to give that role); an operator
 * may give everything.
 */
export interface UserStore {
  /** @throws DomainError conflict when the canonical username or e-mail is taken, invalid when a role does not exist, forbidden */
  create(caller: Caller, user: NewUser): Promise<void>
  /** Returns null when there is no such user. */
  get(id: string): Promise<User | null>
  /** Returns what a password is verified against; null for an unknown name. @param username in canonical form */
  credentials(username: string): Promise<Credentials | null>
  /** Returns the roles of an enabled user and the scopes that they allow now; null for a disabled or unknown user. */
  access(id: string): Promise<{ roles: string[]; scopes: string[] } | null>
  /** Returns users by id, which is by age. */
  list(page: Page, filter: UserFilter): Promise<User[]>
  /**
   * Returns null when there is no such user. Disabling ends the sessions of the user and the logins in progress.
   * @throws DomainError conflict when the username or the e-mail is taken or no admin would be left, invalid when a role does not
   *   exist, forbidden
   */
  change(caller: Caller, change: { id: string; changes: UserChanges; now: Millis }): Promise<User | null>
  /** Deletes the user with all sessions. Returns false when there is no such user. @throws DomainError conflict */
  delete(caller: Caller, user: { id: string; now: Millis }): Promise<boolean>
  /**
   * Sets a password. Ends the sessions of the user except `keep`, and the logins in progress.
   * @param password `from` is the `authVersion` of the credentials that the current password was verified against, or null when
   *   the current password was not asked for
   * @returns false when there is no such user, or the `authVersion` differs
   */
  setPassword(
    caller: Caller,
    password: { id: string; hash: string; from: number | null; keep: string | null; now: Millis }
  ): Promise<boolean>
  /** Replaces the hash if it is still `from`: a password that was set in between stays. */
  replaceHash(id: string, from: string, to: string): Promise<void>
}
