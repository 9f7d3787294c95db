import type { Caller } from '../caller.ts'
import type { Millis, User } from '../model.ts'
import type { NewUser } from './users.ts'

/** What identifies a user at a provider. */
export interface IdentityKey {
  /** The id of the provider. */
  provider: string
  issuer: string
  subject: string
}

/** An identity that belongs to a user. */
export interface LinkedIdentity extends IdentityKey {
  userId: string
  /** How the provider names the account, so that users recognise it: an address or a name. It identifies nothing. */
  label: string | null
  createdAt: Millis
  /** The last sign-in, precise to the hour; null when there was none. */
  lastUsedAt: Millis | null
}

/**
 * Identities of users at providers. An identity belongs to at most one user, and a user has at most `IDENTITIES_MAX`. The functions that
 * change identities lock the user, so concurrent changes of one user run one after the other.
 */
export interface IdentityStore {
  /** Returns the user of an identity with the current `authVersion`; null when it belongs to nobody. */
  find(key: IdentityKey): Promise<{ user: User; authVersion: number } | null>
  /** Records a sign-in, at most once an hour. */
  use(key: IdentityKey, now: Millis): Promise<void>
  /** Returns the identities of a user, oldest first. */
  list(userId: string): Promise<LinkedIdentity[]>
  /**
   * Gives an identity to a user.
   * @param link `authVersion` is that of the user when the user proved who they are
   * @returns `linked`, also when it belongs to this user already; `taken` when it belongs to another user; `full`; `changed` when the
   *   user was disabled or changed since the proof
   */
  link(
    caller: Caller,
    link: { identity: LinkedIdentity; authVersion: number }
  ): Promise<'linked' | 'taken' | 'full' | 'changed'>
  /**
   * Creates a user who has this identity and no password. Of concurrent calls for one identity exactly one creates a user.
   * @returns false, and creates nothing, when the identity belongs to a user already
   * @throws DomainError as `UserStore.create`
   */
  create(caller: Caller, user: NewUser & { passwordHash: null }, identity: LinkedIdentity): Promise<boolean>
  /**
   * Takes an identity from a user.
   * @returns `removed`; `unknown` when the user does not have it; `last` when the user would have neither a password nor an identity
   */
  unlink(caller: Caller, unlinking: { userId: string; key: IdentityKey }): Promise<'removed' | 'unknown' | 'last'>
}
