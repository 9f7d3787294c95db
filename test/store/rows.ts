import { randomUUIDv7 } from 'node:crypto'
import { CLIENT_DEFAULTS } from '../../src/domain/built-in.ts'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import { DomainError, type DomainErrorCode } from '../../src/domain/errors.ts'
import type { Client, ClientSecret, Resource, Session, StoredKey, StoredSession, User } from '../../src/domain/model.ts'
import type { RevokedToken } from '../../src/domain/ports/revocations.ts'
import type { Seed, Store } from '../../src/domain/ports/store.ts'
import type { NewUser } from '../../src/domain/ports/users.ts'

/** The number of rounds of each race. Few by default: the soak sets more. */
export const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 5)

export const NOW = Date.UTC(2026, 0, 1, 12)

/** A `rev` that nothing is newer than. */
export const LATEST = Number.MAX_SAFE_INTEGER

export const CLIENT: Client = {
  ...CLIENT_DEFAULTS,
  id: 'app',
  name: 'An app',
  kind: 'public',
  firstParty: true,
  grantTypes: ['password', 'refresh_token'],
  scopes: ['profile', 'things:read'],
  defaultScopes: ['profile'],
  sessionIdleTtl: 3600,
  sessionAbsoluteTtl: 86_400,
  jwks: null,
  disabledAt: null,
  createdAt: NOW,
  updatedAt: NOW
}

export const newKey = (kid: string, state: StoredKey['state'], createdAt = NOW): StoredKey => ({
  kid,
  alg: 'ES256',
  publicJwk: { crv: 'P-256', kty: 'EC', x: `${kid}-x`, y: `${kid}-y` },
  state,
  sealedPrivateKey: ['next', 'signing'].includes(state) ? `sealed ${kid}` : null,
  createdAt,
  signsSinceAt: state === 'next' ? null : createdAt + 1,
  verifiesUntilAt: ['verifying', 'retired'].includes(state) ? NOW + 1000 : null,
  retiredAt: state === 'retired' ? NOW : null
})

export const KEYS = {
  signing: newKey('signing', 'signing', NOW - 2000),
  next: newKey('next', 'next', NOW - 1000),
  verifying: newKey('verifying', 'verifying', NOW - 3000),
  retired: newKey('retired', 'retired', NOW - 4000)
}

export const SEED: Seed = {
  now: NOW,
  resources: [
    { id: 'latchkey', identifier: null, name: 'Latchkey' },
    { id: 'things', identifier: 'https://things.example', name: 'Things' }
  ],
  scopes: [
    { name: 'profile', description: 'See yourself', resourceId: 'latchkey' },
    { name: 'users:read', description: 'See everybody', resourceId: 'latchkey' },
    { name: 'things:read', description: 'See things', resourceId: 'things' }
  ],
  roles: [
    { name: 'admin', description: 'May do everything', scopes: ['profile', 'things:read', 'users:read'] },
    { name: 'user', description: 'May do little', scopes: ['profile'] },
    { name: 'reader', description: 'May see things', scopes: ['things:read', 'profile'] },
    { name: 'nobody', description: 'May do nothing', scopes: [] }
  ],
  clients: [
    CLIENT,
    { ...CLIENT, id: 'off', disabledAt: NOW },
    { ...CLIENT, id: 'bare', scopes: [], defaultScopes: [], grantTypes: [] }
  ],
  keys: [KEYS.signing, KEYS.next, KEYS.verifying, KEYS.retired],
  refreshKey: { id: 'first', sealedKey: 'sealed first', createdAt: NOW },
  sealed: [{ name: 'canary', value: 'sealed canary' }]
}

let names = 0
/** Returns a name that no other test uses. */
export const unique = (text: string): string => `${text}${++names}`

/** Returns the caller of a request with an access token of this user. */
export const asCaller = (id: string): Caller => ({
  kind: 'user',
  id,
  clientId: CLIENT.id,
  sid: randomUUIDv7(),
  address: '203.0.113.7',
  userAgent: 'test/1',
  requestId: 'request'
})

export const newUser = (more: Partial<NewUser> = {}): NewUser => {
  const username = more.username ?? unique('User')
  return {
    id: randomUUIDv7(),
    username,
    usernameKey: username.toLowerCase(),
    lookAlike: username.toLowerCase(),
    mixesScripts: false,
    email: null,
    emailKey: more.email?.toLowerCase() ?? null,
    fullName: null,
    roles: [],
    passwordHash: `hash of ${username}`,
    now: NOW,
    ...more
  }
}

/** Returns the user that the store returns for a new user. */
export const asUser = (user: NewUser): User => ({
  id: user.id,
  username: user.username,
  email: user.email,
  fullName: user.fullName,
  disabledAt: null,
  roles: user.roles,
  createdAt: user.now,
  updatedAt: user.now
})

/** Adds a user, who has the roles `reader` and `user` unless others are given. */
export async function addUser(store: Store, more: Partial<NewUser> = {}): Promise<NewUser> {
  const user = newUser({ roles: ['reader', 'user'], ...more })
  await store.users.create(OPERATOR, user)
  return user
}

export const newSession = (userId: string, more: Partial<Session> = {}): Session => ({
  id: randomUUIDv7(),
  userId,
  clientId: CLIENT.id,
  scopes: ['profile', 'things:read'],
  amr: ['pwd', 'otp'],
  authAt: NOW - 1,
  createdAt: NOW,
  lastUsedAt: NOW,
  idleExpiresAt: NOW + 3_600_000,
  expiresAt: NOW + 86_400_000,
  address: '203.0.113.7',
  userAgent: 'test/1',
  salt: 'c2FsdA',
  loginId: null,
  ...more
})

/** Opens a session. By default the user must have the first `authVersion`, and the rights that the client lost are ignored. */
export const openSession = (store: Store, session: Session, { authVersion = 1, rev = LATEST } = {}): Promise<boolean> =>
  store.sessions.open(OPERATOR, { session, authVersion, rev })

/** Returns a session in any state; null when there is no such session. */
export async function sessionOf(store: Store, id: string): Promise<StoredSession | null> {
  const key = await store.refreshKeys.current()
  return (await store.sessions.presented(id, key?.id ?? ''))?.session ?? null
}

/** Adds `introspector` and `identifier` to a reference of a token that nobody introspects. */
export const notIntrospected = <T>(token: T) => ({ ...token, introspector: null, identifier: '' })

export async function addSession(store: Store, userId: string, more: Partial<Session> = {}): Promise<Session> {
  const session = newSession(userId, more)
  await openSession(store, session)
  return session
}

export const newSecret = (hash: string, more: Partial<ClientSecret> = {}): ClientSecret => ({
  id: randomUUIDv7(),
  hash,
  createdAt: NOW,
  expiresAt: null,
  lastUsedAt: null,
  ...more
})

/** Adds a confidential client without a secret. */
export async function addClient(store: Store, more: Partial<Client> = {}): Promise<Client> {
  const client: Client = { ...CLIENT, kind: 'confidential', id: unique('client'), ...more }
  await store.clients.create(OPERATOR, { client, secret: null })
  return client
}

export const newResource = (scopes: string[] = [], more: Partial<Resource> = {}): Resource => {
  const id = more.id ?? unique('resource')
  const named = scopes.map((name) => ({ name: `${id}:${name}`, description: `to ${name}` }))
  return { id, identifier: `https://${id}.example`, name: id, scopes: named, introspectionClients: [], ...more }
}

export async function addResource(store: Store, scopes: string[] = [], more: Partial<Resource> = {}) {
  const resource = newResource(scopes, more)
  await store.resources.create(OPERATOR, { ...resource, now: NOW })
  return resource
}

/** Returns a token of the client `app` to revoke, in no session and without a limit. */
export const newRevoked = (jti: string, more: Partial<RevokedToken> = {}): RevokedToken => ({
  jti,
  userId: null,
  sid: null,
  aud: 'https://id.example.com',
  expiresAt: NOW + 300_000,
  now: NOW,
  quota: { writer: 'client app', burst: 1_000_000, interval: 1 },
  ...more
})

/** Returns the entries of the revocation log after a number. */
export const entriesAfter = async (store: Store, after: number) =>
  (await store.revocations.since(after, 10_000)).entries.map(({ kind, id }) => ({ kind, id }))

export const refusedAs = (code: DomainErrorCode) => ({ constructor: DomainError, code })

/** Counts how calls ended: as `done`, or by the code of their error. */
export async function outcomes(calls: Promise<unknown>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const result of await Promise.allSettled(calls)) {
    const name = result.status === 'fulfilled' ? 'done' : ((result.reason as DomainError).code ?? String(result.reason))
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}
