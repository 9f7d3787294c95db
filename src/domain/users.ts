import { randomUUIDv7 } from 'node:crypto'
import { DomainError, OAuthError } from './errors.ts'
import type { Guesses } from './index.ts'
import type { Actor, Credentials, User } from './model.ts'
import { type Paged, paged } from './pages.ts'
import { normalPassword, weakness } from './passwords.ts'
import type { Clock, Hasher, NewUser, Page, Store, UserFilter } from './ports.ts'
import { parseUsername, usernameKey } from './usernames.ts'

const EMAIL = /^[^\s@\p{Cc}\p{Cf}]+@[^\s@\p{Cc}\p{Cf}]+$/u
const LINE = /^[^\p{Cc}]{1,200}$/u

/** What a user has beside password and roles. */
export interface Profile {
  username: string
  email: string | null
  fullName: string | null
}

export interface UserInput extends Partial<Profile> {
  username: string
  password: string
  roles: string[]
}

export type UserEdit = Partial<Profile> & { disabled?: boolean; roles?: string[] }

const found = (user: User | null): User => {
  if (user === null) throw new DomainError('not_found', 'There is no such user')
  return user
}

/** A user in the names of the wire, for the API and the terminal. */
export const view = (user: User) => ({
  id: user.id,
  username: user.username,
  email: user.email,
  full_name: user.fullName,
  disabled: user.disabledAt !== null,
  roles: user.roles,
  created_at: new Date(user.createdAt).toISOString(),
  updated_at: new Date(user.updatedAt).toISOString()
})

const unique = (names: string[]): string[] => [...new Set(names)]

/** What is given of a profile as it is stored. @throws DomainError invalid */
function checked({ username, email, fullName }: Partial<Profile>) {
  const name = username === undefined ? undefined : parseUsername(username)
  if (name === null)
    throw new DomainError(
      'invalid',
      'A username has 1 to 64 letters, digits and signs, no spaces, and is written in one direction (RFC 8265)'
    )
  if (typeof email === 'string' && (email.length > 254 || !EMAIL.test(email)))
    throw new DomainError('invalid', 'This is not an e-mail address')
  if (typeof fullName === 'string' && !LINE.test(fullName))
    throw new DomainError('invalid', 'A full name has 1 to 200 characters, none of them a control character')
  return {
    ...(name === undefined ? {} : { username: name.username, usernameKey: name.key }),
    ...(email === undefined ? {} : { email, emailKey: email?.normalize('NFKC').toLowerCase() ?? null }),
    ...(fullName === undefined ? {} : { fullName })
  }
}

/** People and their passwords. */
export function createUsers(deps: {
  store: Store
  hasher: Hasher
  guesses: Guesses
  clock: Clock
  /** Code points that a new password has at least. */
  passwordMinLength: number
}) {
  const { store, hasher, guesses, clock, passwordMinLength } = deps

  /** A new password of this user as it is hashed. @throws DomainError invalid, with the reason */
  async function checkNew(password: string, { username, email, fullName }: Profile): Promise<string> {
    // Who gives the mail is no name of the user.
    const names = ['latchkey', username, email?.split('@')[0], fullName].flatMap((name) => name ?? [])
    const reason = await weakness(password, { minLength: passwordMinLength, names })
    const normal = normalPassword(password)
    if (reason !== null || normal === null) throw new DomainError('invalid', reason ?? 'The password is not a text')
    return normal
  }

  const hashNew = async (password: string, user: Profile): Promise<string> =>
    hasher.hash(await checkNew(password, user))

  /** Checks everything, hashes the password and gives the row that `create` or a first start stores. */
  async function prepare({ password, roles, ...profile }: UserInput): Promise<NewUser> {
    const { username = '', usernameKey: key = '', email = null, emailKey = null, fullName = null } = checked(profile)
    return {
      id: randomUUIDv7(),
      username,
      usernameKey: key,
      email,
      emailKey,
      fullName,
      roles: unique(roles),
      passwordHash: await hashNew(password, { username, email, fullName }),
      now: clock.now()
    }
  }

  /** Exactly one verification; null when the password is wrong, or there is nobody who may log in. */
  async function verify(credentials: Credentials | null, password: string): Promise<Credentials | null> {
    const matches = await hasher.verify(credentials?.passwordHash ?? null, password)
    return credentials !== null && matches && credentials.user.disabledAt === null ? credentials : null
  }

  return {
    passwordMinLength,
    prepare,
    view,

    /**
     * @throws DomainError conflict when the username or the e-mail is taken, invalid when something is not allowed,
     *   forbidden when the actor would give what they do not have
     */
    async create(input: UserInput, actor: Actor): Promise<User> {
      const user = await prepare(input)
      await store.users.create(user, actor)
      return found(await store.users.get(user.id))
    },

    /** @throws DomainError not_found */
    get: async (id: string): Promise<User> => found(await store.users.get(id)),

    /** Null for one who is not there or may not log in. */
    async enabled(id: string): Promise<User | null> {
      const user = await store.users.get(id)
      return user?.disabledAt === null ? user : null
    },

    /** By any spelling of the name, or by the id. @throws DomainError not_found */
    find: async (name: string): Promise<User> =>
      found((await store.users.credentials(usernameKey(name)))?.user ?? (await store.users.get(name))),

    /**
     * One page in order of age.
     * @param filter `search` is the beginning of a username or an e-mail
     */
    list(page: Page, { search, ...rest }: UserFilter = {}): Promise<Paged<User>> {
      const filter = { ...rest, ...(search === undefined ? {} : { search: search.normalize('NFC').toLowerCase() }) }
      return paged(
        page,
        (user) => user.id,
        (rows) => store.users.list(rows, filter)
      )
    },

    /**
     * Changes what is given; null empties it; `roles` are then all that the user has. Disabling ends every session.
     * @throws DomainError not_found, invalid, forbidden when the actor would give what they do not have, conflict when
     *   the username or the e-mail is taken or no admin would be left
     */
    async change(id: string, { disabled, roles, ...profile }: UserEdit, actor: Actor): Promise<User> {
      const changes = {
        ...checked(profile),
        ...(disabled === undefined ? {} : { disabled }),
        ...(roles === undefined ? {} : { roles: unique(roles) })
      }
      const user = found(await store.users.change(id, changes, actor, clock.now()))
      if (disabled === false) await guesses.forgive(id)
      return user
    },

    /** With everything that is theirs. @throws DomainError not_found, conflict when no admin would be left */
    async delete(id: string): Promise<void> {
      if (!(await store.users.delete(id, clock.now()))) found(null)
    },

    /**
     * A user's own new password; ends the other sessions and every login that is under way.
     * @param sid the session that lives on
     * @throws DomainError invalid, with the reason; throttled
     */
    async changePassword(
      { sub: id, sid }: { sub: string; sid: string | null },
      { current, next }: { current: string; next: string },
      address: string | null
    ): Promise<void> {
      const user = found(await store.users.get(id))
      const wrong = () => new DomainError('invalid', 'The current password is wrong')
      const normal = await checkNew(next, user)
      const old = normalPassword(current)
      if (old === null) throw wrong()
      const credentials = await store.users.credentials(usernameKey(user.username))
      if (credentials?.user.id !== id) throw wrong()
      const verified = await guesses.attempt(id, address, () => verify(credentials, old))
      if (verified === null) throw wrong()
      const hash = await hasher.hash(normal)
      if (!(await store.users.setPassword(id, { hash, from: verified.authVersion, keep: sid }, clock.now())))
        throw wrong()
    },

    /** The operator's way out for somebody who forgot theirs: ends every session. @throws DomainError not_found, invalid */
    async setPassword(id: string, password: string): Promise<void> {
      const user = found(await store.users.get(id))
      const hash = await hashNew(password, user)
      if (!(await store.users.setPassword(id, { hash, from: null, keep: null }, clock.now()))) found(null)
      await guesses.forgive(id)
    },

    /**
     * Null for a wrong password, an unknown, a locked and a disabled user, each after exactly one verification. A hash
     * with old parameters is replaced at a successful login.
     * @throws OAuthError invalid_request for what can be nobody's password; DomainError throttled
     */
    async authenticate(username: string, password: string, address: string | null): Promise<Credentials | null> {
      const normal = normalPassword(password)
      if (normal === null) throw new OAuthError('invalid_request', 'A password has at most 1024 bytes')
      const key = usernameKey(username)
      const found = await store.users.credentials(key)
      const credentials = await guesses.attempt(found?.user.id ?? key, address, () => verify(found, normal))
      if (credentials !== null && hasher.outdated(credentials.passwordHash)) {
        try {
          await store.users.replaceHash(credentials.user.id, credentials.passwordHash, await hasher.hash(normal))
        } catch (error) {
          // Too busy now: the next login does it.
          if (!(error instanceof DomainError)) throw error
        }
      }
      return credentials
    }
  }
}
