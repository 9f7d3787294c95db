import type { Caller } from '../caller.ts'
import type { Credentials, Millis, User } from '../model.ts'
import type { Page } from './page.ts'

export type NewUser = Pick<User, 'id' | 'username' | 'email' | 'fullName' | 'roles'> & {
  /** The canonical form of the username, which is unique. */
  usernameKey: string
  /** The canonical username with Latin letters in place of letters that look like them. */
  lookAlike: string
  /** Whether the username mixes scripts. Such a name is refused when another user already has the same `lookAlike`. */
  mixesScripts: boolean
  /** The canonical form of the e-mail address. Several users may have it. */
  emailKey: string | null
  /** Null for a user who signs in through providers only. */
  passwordHash: string | null
  now: Millis
}

/** The members to change. `roles` replaces all roles of the user. */
export interface UserChanges {
  username?: string
  usernameKey?: string
  lookAlike?: string
  mixesScripts?: boolean
  email?: string | null
  emailKey?: string | null
  fullName?: string | null
  disabled?: boolean
  roles?: string[]
}

/** A user matches when every given member matches. */
export interface UserFilter {
  /** The beginning of a username or e-mail address, in NFC and lower case. */
  search?: string
  role?: string
  disabled?: boolean
}

/**
 * Users. A change that could remove the last admin first takes the lock `admins`, so such changes run one after the other. The change
 * throws `DomainError('conflict')` when no enabled admin would be left. A caller that gives a role to a user must hold all scopes of
 * the role. Only a caller with the role `admin` may give the role `admin`. Otherwise the change throws `DomainError('forbidden')`. An
 * operator may give every role.
 */
export interface UserStore {
  /** @throws DomainError conflict when the canonical username is taken, invalid when a role does not exist, forbidden */
  create(caller: Caller, user: NewUser): Promise<void>
  /** Returns null when there is no such user. */
  get(id: string): Promise<User | null>
  /** Returns the user with the password hash; null for an unknown name. @param username in canonical form */
  credentials(username: string): Promise<Credentials | null>
  /** Returns the beginnings (64 characters) of the password hashes of at most `limit` users: a random sample, the same at each call. */
  hashSample(limit: number): Promise<string[]>
  /** Returns the current roles of an enabled user and the scopes of these roles; null for a disabled or unknown user. */
  access(id: string): Promise<{ roles: string[]; scopes: string[] } | null>
  /** Returns users in the order of their ids, so the oldest first. */
  list(page: Page, filter: UserFilter): Promise<User[]>
  /**
   * Returns null when there is no such user. Disabling ends the sessions of the user, the logins in browsers and the logins in
   * progress.
   * @throws DomainError conflict when the username is taken or no admin would be left, invalid when a role does not
   *   exist, forbidden
   */
  change(caller: Caller, change: { id: string; changes: UserChanges; now: Millis }): Promise<User | null>
  /** Deletes the user with all sessions. Returns false when there is no such user. @throws DomainError conflict */
  delete(caller: Caller, user: { id: string; now: Millis }): Promise<boolean>
  /**
   * Sets a password. Ends the sessions of the user except `keep`, the logins of the user in browsers except `keepLogin`, and the logins in
   * progress.
   * @param password `from` is the `authVersion` of the credentials with which the current password was verified, or null when the
   *   current password was not required
   * @returns false when there is no such user, or the `authVersion` differs
   */
  setPassword(
    caller: Caller,
    password: {
      id: string
      hash: string
      from: number | null
      keep: string | null
      /** Its token is replaced by the one with this hash, and its codes become invalid. */
      keepLogin?: { id: string; tokenHash: string } | null
      now: Millis
    }
  ): Promise<boolean>
  /** Replaces the hash if it is still `from`, so that a password that was set in the meantime stays. */
  replaceHash(id: string, from: string, to: string): Promise<void>
}
