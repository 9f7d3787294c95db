import { randomUUIDv7 } from 'node:crypto'
import { DomainError, OAuthError } from './errors.ts'
import type { Credentials, User } from './model.ts'
import type { Clock, Hasher, NewUser, Store } from './ports.ts'

/** The form in which names are looked up and must be unique. */
export const canonicalUsername = (username: string): string => username.normalize('NFC').toLowerCase()
const canonicalEmail = (email: string | null): string | null => email?.normalize('NFC').toLowerCase() ?? null

const MAX_PASSWORD_BYTES = 1024

/** The bytes that are hashed: NFC, so that one password typed on two systems is one (RFC 8265 §4.2). */
function canonicalPassword(password: string): string {
  const normal = password.normalize('NFC')
  if (Buffer.byteLength(normal) > MAX_PASSWORD_BYTES) {
    throw new OAuthError('invalid_request', `A password has at most ${MAX_PASSWORD_BYTES} bytes`)
  }
  return normal
}

export interface UserInput {
  username: string
  password: string
  email?: string | null
  fullName?: string | null
  roles: string[]
}

const found = (user: User | null): User => {
  if (user === null) throw new DomainError('not_found', 'No such user')
  return user
}

/** People and their passwords. */
export function createUsers({ store, hasher, clock }: { store: Store; hasher: Hasher; clock: Clock }) {
  /** Hashes the password and gives the row that `create` or a first start stores. */
  async function prepare({ username, password, email = null, fullName = null, roles }: UserInput): Promise<NewUser> {
    return {
      id: randomUUIDv7(),
      username: username.normalize('NFC'),
      usernameKey: canonicalUsername(username),
      email,
      emailKey: canonicalEmail(email),
      fullName,
      roles,
      passwordHash: await hasher.hash(canonicalPassword(password)),
      now: clock.now()
    }
  }

  return {
    prepare,

    /** @throws DomainError conflict when the username or the e-mail is taken */
    async create(input: UserInput): Promise<User> {
      const user = await prepare(input)
      await store.users.create(user)
      return found(await store.users.get(user.id))
    },

    /** @throws DomainError not_found */
    get: async (id: string): Promise<User> => found(await store.users.get(id)),

    /** One page in order of age, and the id after which the next one starts, or null at the end. */
    async list(page: { after: string | null; limit: number }): Promise<{ users: User[]; next: string | null }> {
      const rows = await store.users.list({ after: page.after, limit: page.limit + 1 })
      const users = rows.slice(0, page.limit)
      return { users, next: rows.length > page.limit ? (users.at(-1)?.id ?? null) : null }
    },

    /** Changes what is given; null empties it. @throws DomainError not_found, conflict when the e-mail is taken */
    async update(id: string, changes: { email?: string | null; fullName?: string | null }): Promise<User> {
      const emailKey = changes.email === undefined ? {} : { emailKey: canonicalEmail(changes.email) }
      return found(await store.users.update(id, { ...changes, ...emailKey }, clock.now()))
    },

    /**
     * Null for a wrong password, an unknown and a disabled user, each after exactly one verification. A hash with old
     * parameters is replaced at a successful login.
     */
    async authenticate(username: string, password: string): Promise<Credentials | null> {
      const canonical = canonicalPassword(password)
      const credentials = await store.users.credentials(canonicalUsername(username))
      const matches = await hasher.verify(credentials?.passwordHash ?? null, canonical)
      if (credentials === null || !matches || credentials.user.disabledAt !== null) return null
      const { user, passwordHash } = credentials
      if (hasher.outdated(passwordHash)) {
        try {
          await store.users.replaceHash(user.id, passwordHash, await hasher.hash(canonical))
        } catch (error) {
          // Too busy now: the next login does it.
          if (!(error instanceof DomainError)) throw error
        }
      }
      return credentials
    }
  }
}
