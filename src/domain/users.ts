import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { defined } from '../defined.ts'
import { EMAIL_MAX, EMAIL_PATTERN, LINE_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { asLatin, mixesScripts } from '../look-alikes.ts'
import type { Config } from '../settings.ts'
import { caseFold, normalForm } from '../text.ts'
import type { Caller } from './caller.ts'
import { sha256 } from './client-authentication.ts'
import { DomainError, invalid, noSuch } from './errors.ts'
import type { Guesses } from './guesses.ts'
import { isLine } from './line.ts'
import type { User } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { PasswordProof } from './password-proof.ts'
import { normalPassword, weakness } from './passwords.ts'
import type { Clock } from './ports/clock.ts'
import type { Hasher } from './ports/hasher.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'
import type { NewUser, UserFilter } from './ports/users.ts'
import { parseUsername, usernameKey } from './usernames.ts'

const EMAIL = new RegExp(EMAIL_PATTERN, 'u')
const INVISIBLE = /\p{Cf}/u

/** The names and the e-mail address of a user. */
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

/** The members to change; null empties a member; `roles` replaces all roles. */
export type UserEdit = Partial<Profile> & { disabled?: boolean; roles?: string[] }

const unique = (names: string[]): string[] => [...new Set(names)]

/** Returns the given members of a profile in the form in which they are stored. @throws DomainError invalid */
function canonicalProfile({ username, email, fullName }: Partial<Profile>) {
  const name = username === undefined ? undefined : parseUsername(username)
  if (name === null)
    throw invalid(
      'A username has 1 to 64 letters, digits and punctuation characters, no spaces, and is written in one direction (RFC 8265)'
    )
  if (typeof email === 'string' && (email.length > EMAIL_MAX || !EMAIL.test(email) || INVISIBLE.test(email)))
    throw invalid('The e-mail address is invalid', 'email_invalid')
  if (typeof fullName === 'string' && (fullName === '' || !isLine(fullName)))
    throw invalid(`A full name has 1 to ${LINE_MAX} characters and no control characters`, 'full_name_invalid')
  return defined({
    username: name?.username,
    usernameKey: name?.key,
    lookAlike: name === undefined ? undefined : caseFold(asLatin(name.username)),
    mixesScripts: name === undefined ? undefined : mixesScripts(name.username),
    email,
    emailKey: typeof email === 'string' ? normalForm('NFKC', email, TEXT_BYTES_MAX)?.toLowerCase() : email,
    fullName
  })
}

/** Manages users and their passwords. */
export function createUsers(deps: {
  store: Store
  hasher: Hasher
  guesses: Guesses
  passwordProof: PasswordProof
  clock: Clock
  settings: Config
}) {
  const { store, hasher, guesses, passwordProof, clock, settings } = deps

  /** Returns a new password in the form that is hashed. @throws DomainError invalid, with the reason */
  async function acceptedPassword(password: string, { username, email, fullName }: Profile): Promise<string> {
    const names = ['latchkey', username, email?.split('@')[0], fullName].flatMap((name) => name ?? [])
    const weak = await weakness(password, { minLength: settings.passwordMinLength, names, email })
    if (weak !== null) throw invalid(weak.message, weak.reason)
    const normal = normalPassword(password)
    if (normal === null) throw invalid('The password is not valid text', 'password_malformed')
    return normal
  }

  /** Checks all members, hashes the password and returns the user to store. @throws DomainError invalid */
  async function prepare({ password, roles, ...profile }: UserInput): Promise<NewUser> {
    const {
      username = '',
      usernameKey: key = '',
      lookAlike = '',
      mixesScripts = false,
      email = null,
      emailKey = null,
      fullName = null
    } = canonicalProfile(profile)
    const accepted = await acceptedPassword(password, { username, email, fullName })
    return {
      id: randomUUIDv7(),
      username,
      usernameKey: key,
      lookAlike,
      mixesScripts,
      email,
      emailKey,
      fullName,
      roles: unique(roles),
      passwordHash: await hasher.hash(accepted),
      now: clock.now()
    }
  }

  /** Returns a user. @throws DomainError not_found */
  async function get(id: string): Promise<User> {
    const user = await store.users.get(id)
    if (user === null) throw noSuch('user', id)
    return user
  }

  return {
    passwordMinLength: settings.passwordMinLength,
    prepare,
    get,

    /**
     * Adds a user.
     * @throws DomainError conflict when the username is taken, invalid, forbidden when the caller would give a role
     *   or scope that they do not hold
     */
    async create(caller: Caller, input: UserInput): Promise<User> {
      const user = await prepare(input)
      await store.users.create(caller, user)
      return get(user.id)
    },

    /** Returns a user; null for a user who does not exist or is disabled. */
    async enabled(id: string): Promise<User | null> {
      const user = await store.users.get(id)
      return user?.disabledAt === null ? user : null
    },

    /** Finds a user by any spelling of the name, or by the id. @throws DomainError not_found */
    async find(name: string): Promise<User> {
      const credentials = await store.users.credentials(usernameKey(name))
      return credentials === null ? get(name) : credentials.user
    },

    /** Returns one page of users, oldest first. @param filter `search` is the beginning of a username or an e-mail address */
    list(page: Page, { search, ...rest }: UserFilter = {}): Promise<Paged<User>> {
      const start = search === undefined ? undefined : normalForm('NFC', search, TEXT_BYTES_MAX)?.toLowerCase()
      if (search !== undefined && start === undefined)
        throw invalid(`A text to search for has at most ${TEXT_BYTES_MAX} bytes`)
      const filter = { ...rest, ...defined({ search: start }) }
      return paged(
        page,
        (user) => user.id,
        (rows) => store.users.list(rows, filter)
      )
    },

    /**
     * Changes a user. Disabling ends every session; enabling also unlocks the account.
     * @throws DomainError not_found, invalid, forbidden when the caller would give a role or scope that they do not hold, conflict
     *   when the username is taken or no admin would be left
     */
    async change(caller: Caller, id: string, { disabled, roles, ...profile }: UserEdit): Promise<User> {
      const changes = {
        ...canonicalProfile(profile),
        ...defined({ disabled, roles: roles === undefined ? undefined : unique(roles) })
      }
      const user = await store.users.change(caller, { id, changes, now: clock.now() })
      if (user === null) throw noSuch('user', id)
      if (disabled === false) await guesses.unlock(id)
      return user
    },

    /** Deletes a user with all sessions. @throws DomainError not_found, conflict when no admin would be left */
    async delete(caller: Caller, id: string): Promise<void> {
      if (!(await store.users.delete(caller, { id, now: clock.now() }))) throw noSuch('user', id)
    },

    /**
     * Changes the password of the calling user. Ends every login in progress and all sessions and logins of the user, except the
     * session or the login of the caller.
     * @returns the new token of the login of the caller, which belongs into the cookie: the previous token becomes invalid.
     *   Null for a caller with an access token
     * @throws DomainError forbidden for a caller that is not a user; invalid, with the reason; throttled
     */
    async changePassword(caller: Caller, { current, next }: { current: string; next: string }): Promise<string | null> {
      if (caller.kind !== 'user' && caller.kind !== 'login')
        throw new DomainError('forbidden', 'Only a user can change their password')
      const user = await get(caller.id)
      const wrong = () => invalid('The current password is wrong', 'password_wrong')
      const accepted = await acceptedPassword(next, user)
      const proof = { userId: user.id, username: user.username, password: current }
      const credentials = await passwordProof.verifyCurrent(caller, proof)
      if (credentials === null) throw wrong()
      const login =
        caller.kind === 'login' ? { id: caller.loginId, token: randomBytes(32).toString('base64url') } : null
      const password = {
        id: user.id,
        hash: await hasher.hash(accepted),
        from: credentials.authVersion,
        keep: caller.kind === 'user' ? caller.sid : null,
        keepLogin: login && { id: login.id, tokenHash: sha256(login.token) },
        now: clock.now()
      }
      if (!(await store.users.setPassword(caller, password))) throw wrong()
      await guesses.unlock(user.id)
      return login?.token ?? null
    },

    /**
     * Sets the password of a user who forgot theirs. Ends every session of the user and unlocks the account.
     * @throws DomainError not_found, invalid with the reason
     */
    async setPassword(caller: Caller, { id, password }: { id: string; password: string }): Promise<void> {
      const hash = await hasher.hash(await acceptedPassword(password, await get(id)))
      if (!(await store.users.setPassword(caller, { id, hash, from: null, keep: null, now: clock.now() })))
        throw noSuch('user', id)
      await guesses.unlock(id)
    }
  }
}

export type Users = ReturnType<typeof createUsers>
