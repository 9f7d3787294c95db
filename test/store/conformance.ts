import { randomUUIDv7 } from 'node:crypto'
import { setImmediate as nextTick } from 'node:timers/promises'
import type { Test } from 'tap'
import { DomainError, type DomainErrorCode, SetupError } from '../../src/domain/errors.ts'
import type { Client, ClientSecret, Resource, Session, StoredKey, User } from '../../src/domain/model.ts'
import type { NewUser, Seed, Store } from '../../src/domain/ports.ts'
import type { Open, Opened } from './open.ts'

type Scope = Resource['scopes'][number]

/** How often a race is run; those that need a database each time, less. */
const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 50)
const DATABASES = Math.ceil(ROUNDS / 50)

const NOW = Date.UTC(2026, 0, 1, 12)

const CLIENT: Client = {
  id: 'app',
  name: 'An app',
  kind: 'public',
  firstParty: true,
  grantTypes: ['password', 'refresh_token'],
  scopes: ['profile', 'things:read'],
  defaultScopes: ['profile'],
  sessionIdleTtl: 3600,
  sessionAbsoluteTtl: 86_400,
  resources: [],
  redirectUris: [],
  jwks: null,
  accessTokenTtl: null,
  disabledAt: null,
  createdAt: NOW,
  updatedAt: NOW
}

/** Of who has read everything. */
const LATEST = Number.MAX_SAFE_INTEGER

const newSecret = (hash: string, more: Partial<ClientSecret> = {}): ClientSecret => ({
  id: randomUUIDv7(),
  hash,
  createdAt: NOW,
  expiresAt: null,
  lastUsedAt: null,
  ...more
})

const key = (kid: string, state: StoredKey['state'], createdAt: number): StoredKey => ({
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

const KEYS = {
  signing: key('signing', 'signing', NOW - 2000),
  next: key('next', 'next', NOW - 1000),
  verifying: key('verifying', 'verifying', NOW - 3000),
  retired: key('retired', 'retired', NOW - 4000)
}

const SEED: Seed = {
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
    { name: 'admin', description: 'May do everything', scopes: ['profile', 'users:read', 'things:read'] },
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
/** A name that no other test uses. */
const unique = (text: string): string => `${text}${++names}`

const newUser = (username: string, more: Partial<NewUser> = {}): NewUser => ({
  id: randomUUIDv7(),
  username,
  usernameKey: username.toLowerCase(),
  email: null,
  emailKey: null,
  fullName: null,
  roles: [],
  passwordHash: `hash of ${username}`,
  now: NOW,
  ...more
})

const withEmail = (username: string, email: string): NewUser =>
  newUser(username, { email, emailKey: email.toLowerCase() })

const asUser = (user: NewUser): User => ({
  id: user.id,
  username: user.username,
  email: user.email,
  fullName: user.fullName,
  disabledAt: null,
  roles: user.roles,
  createdAt: user.now,
  updatedAt: user.now
})

const newSession = (userId: string, more: Partial<Session> = {}): Session => ({
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
  ...more
})

const refusedAs = (code: DomainErrorCode) => ({ constructor: DomainError, code })

/** What of many calls became, in numbers. */
async function outcomes(calls: Promise<unknown>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const result of await Promise.allSettled(calls)) {
    const name = result.status === 'fulfilled' ? 'done' : ((result.reason as DomainError).code ?? String(result.reason))
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

/** What every database must do: each method of the port and each sentence of its contract. */
export function conformance(t: Test, open: Open): void {
  async function migrated(t: Test): Promise<Opened> {
    const opened = await open(t, false)
    await opened.store.migrate()
    return opened
  }

  async function seed(opened: Opened): Promise<Opened> {
    await opened.store.migrate()
    await opened.store.bootstrap(SEED, null)
    return opened
  }

  async function withAlice(opened: Opened): Promise<Opened & { alice: NewUser }> {
    const alice = newUser(unique('Alice'), { roles: ['reader', 'user'] })
    await opened.store.users.create(alice, null)
    return { ...opened, alice }
  }

  /** A database of its own with the seed and one user. */
  const seeded = async (t: Test) => withAlice(await seed(await open(t, false)))

  /** One more user in the database of all tests that change nothing but their own users. */
  let common: Promise<Opened> | undefined
  const shared = async () => withAlice(await (common ??= open(t, true).then(seed)))

  const others = (opened: Opened, count: number): Store[] => Array.from({ length: count }, () => opened.another())

  t.test('an empty database has no schema', async (t) => {
    const { store } = await open(t, false)
    t.equal(await store.schema(), null)
    t.equal(await store.schema(), null)
  })

  t.test('migrate brings an empty database to the version of the program', async (t) => {
    const { store, another } = await migrated(t)
    t.ok(Number.isInteger(store.version) && store.version > 0)
    const schema = await store.schema()
    t.equal(schema?.version, store.version)
    t.ok((schema?.compatibleFrom as number) >= 1 && (schema?.compatibleFrom as number) <= store.version)
    t.strictSame(await another().schema(), schema)
  })

  t.test('migrate changes nothing where all is done', async (t) => {
    const { store, another, alice } = await seeded(t)
    const before = await store.schema()
    await store.migrate()
    await another().migrate()
    t.strictSame(await store.schema(), before)
    t.strictSame(await store.users.get(alice.id), asUser({ ...alice }))
  })

  t.test('of concurrent migrations one does it and the others find it done', async (t) => {
    for (let round = 0; round < 2 * DATABASES; round++) {
      const opened = await open(t, false)
      const stores = others(opened, 5)
      t.strictSame(await outcomes([...stores, stores[0] as Store].map((store) => store.migrate())), { done: 6 })
      t.equal((await opened.store.schema())?.version, opened.store.version)
      t.strictSame(await opened.store.bootstrapped(), { seeded: false, admin: false })
      t.strictSame(await opened.sql('select name, version from invariants order by name'), [
        { name: 'admins', version: 0 },
        { name: 'bootstrap', version: 0 },
        { name: 'keys', version: 0 },
        { name: 'subjects', version: 0 }
      ])
    }
  })

  t.test('the tables of another program are refused and left alone', async (t) => {
    const { store, sql } = await open(t, false)
    await sql('create table guests (name text)', "insert into guests values ('bob')")
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
    t.strictSame(await sql('select * from guests'), [{ name: 'bob' }])
    await t.rejects(sql('select * from invariants'), 'nothing of ours was put beside them')
  })

  t.test('a schema_version of another program is refused too', async (t) => {
    const { store, sql } = await open(t, false)
    await sql('create table schema_version (installed_rank integer)', 'insert into schema_version values (1)')
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
  })

  t.test('a schema without its version is refused', async (t) => {
    const { store, sql } = await migrated(t)
    await sql('delete from schema_version')
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
  })

  t.test('a newer schema is told and not touched', async (t) => {
    const { store, sql } = await migrated(t)
    await sql('update schema_version set version = 99, compatible_from = 98')
    t.strictSame(await store.schema(), { version: 99, compatibleFrom: 98 })
    await store.migrate()
    t.strictSame(await store.schema(), { version: 99, compatibleFrom: 98 })
  })

  t.test('bootstrap puts in seed and admin, once', async (t) => {
    const { store, another } = await migrated(t)
    const admin = newUser('Admin', { roles: ['admin'] })
    t.strictSame(await store.bootstrapped(), { seeded: false, admin: false })
    t.strictSame(await store.bootstrap(SEED, admin), { seeded: true, adminCreated: true })
    t.strictSame(await another().bootstrapped(), { seeded: true, admin: true })
    t.strictSame(await store.users.list({ after: null, limit: 10 }, {}), [asUser(admin)])
    t.strictSame(await another().refreshKeys.current(), SEED.refreshKey)

    const other = { ...SEED, sealed: [{ name: 'other', value: 'other' }] }
    t.strictSame(await another().bootstrap(other, newUser('second', { roles: ['admin'] })), {
      seeded: false,
      adminCreated: false
    })
    t.equal(await store.sealed.get('other'), null)
    t.strictSame(await store.users.list({ after: null, limit: 10 }, {}), [asUser(admin)])
  })

  t.test('bootstrap makes an admin later when there is none', async (t) => {
    const { store } = await seeded(t)
    t.strictSame(await store.bootstrapped(), { seeded: true, admin: false })
    const admin = newUser('admin', { roles: ['admin'] })
    t.strictSame(await store.bootstrap(SEED, admin), { seeded: false, adminCreated: true })
    t.strictSame(await store.bootstrap(SEED, newUser('second', { roles: ['admin'] })), {
      seeded: false,
      adminCreated: false
    })
    t.strictSame(await store.bootstrapped(), { seeded: true, admin: true })
    t.strictSame(await store.users.get(admin.id), asUser(admin))
  })

  for (const [what, name] of [
    ['the same name', () => 'admin'],
    ['another name', (index: number) => `admin${index}`]
  ] as const) {
    t.test(`of eight first starts with ${what} at once one seeds and one makes the admin`, async (t) => {
      for (let round = 0; round < DATABASES; round++) {
        const opened = await migrated(t)
        const results = await Promise.all(
          others(opened, 8).map((store, index) => store.bootstrap(SEED, newUser(name(index), { roles: ['admin'] })))
        )
        t.equal(results.filter((result) => result.seeded).length, 1)
        t.equal(results.filter((result) => result.adminCreated).length, 1)
        t.equal((await opened.store.users.list({ after: null, limit: 100 }, {})).length, 1)
        t.equal((await opened.store.keys.list()).length, 3)
      }
    })
  }

  t.test('of eight later starts at once one makes the admin', async (t) => {
    for (let round = 0; round < DATABASES; round++) {
      const opened = await migrated(t)
      await opened.store.bootstrap(SEED, null)
      const results = await Promise.all(
        others(opened, 8).map((store, index) => store.bootstrap(SEED, newUser(`admin${index}`, { roles: ['admin'] })))
      )
      t.equal(results.filter((result) => result.seeded).length, 0)
      t.equal(results.filter((result) => result.adminCreated).length, 1)
      t.equal((await opened.store.users.list({ after: null, limit: 100 }, {})).length, 1)
    }
  })

  t.test('a bootstrap that fails leaves nothing', async (t) => {
    const { store } = await migrated(t)
    const broken: Seed = { ...SEED, sealed: [...SEED.sealed, ...SEED.sealed] }
    await t.rejects(store.bootstrap(broken, newUser('admin', { roles: ['admin'] })), refusedAs('conflict'))
    t.strictSame(await store.bootstrapped(), { seeded: false, admin: false })
    t.strictSame(await store.scopes.list({ after: null, limit: 100 }), [])
    t.strictSame(await store.keys.list(), [])
    t.strictSame(await store.bootstrap(SEED, null), { seeded: true, adminCreated: false })
  })

  t.test('an admin whose name is taken is a conflict, and the seed is not put in without it', async (t) => {
    const { store } = await migrated(t)
    await store.users.create(newUser('admin'), null)
    await t.rejects(store.bootstrap(SEED, newUser('ADMIN', { roles: ['admin'] })), refusedAs('conflict'))
    t.strictSame(await store.bootstrapped(), { seeded: false, admin: false })
  })

  t.test('a user comes back as created, without the password', async (t) => {
    const { store } = await shared()
    const email = `${unique('Bob')}@Example.com`
    const bob = newUser(unique('Böb'), {
      email,
      emailKey: email.toLowerCase(),
      fullName: '👩‍🚀 O’Neil "x" \\ \'',
      roles: ['admin', 'reader', 'user'],
      now: NOW + 5
    })
    await store.users.create(bob, null)
    t.strictSame(await store.users.get(bob.id), asUser(bob))
    t.equal(await store.users.get(randomUUIDv7()), null)
    t.equal(await store.users.get(bob.username), null)
  })

  t.test('roles come in one order however they were given', async (t) => {
    const { store } = await shared()
    const bob = newUser(unique('bob'), { roles: ['user', 'admin', 'reader'] })
    await store.users.create(bob, null)
    t.strictSame((await store.users.get(bob.id))?.roles, ['admin', 'reader', 'user'])
  })

  t.test('a username or an e-mail is taken once, in its canonical form', async (t) => {
    const { store, alice } = await shared()
    const email = `${unique('Bob')}@example.com`
    await store.users.create(withEmail(unique('bob'), email), null)
    const refused = [
      newUser(alice.username.toUpperCase(), { roles: ['user'] }),
      withEmail(unique('carol'), email.toUpperCase()),
      { ...withEmail(unique('dave'), email.toLowerCase()), roles: ['user'] }
    ]
    for (const user of refused) {
      await t.rejects(store.users.create(user, null), refusedAs('conflict'))
      t.equal(await store.users.get(user.id), null)
      const { id } = (await store.users.credentials(user.usernameKey))?.user ?? {}
      t.equal(id, user === refused[0] ? alice.id : undefined)
    }
    for (const user of [newUser(unique('erin')), newUser(unique('frank'))]) await store.users.create(user, null)
    t.pass('any number may have no e-mail')
  })

  t.test('a user with a role that does not exist is refused whole', async (t) => {
    const { store } = await shared()
    const user = newUser(unique('user'), { roles: ['user', 'unknown'] })
    await t.rejects(store.users.create(user, null))
    t.equal(await store.users.get(user.id), null)
    t.equal(await store.users.credentials(user.usernameKey), null)
    await store.users.create({ ...user, roles: ['user'] }, null)
  })

  t.test('of eight who take one name at once one gets it', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    for (let round = 0; round < 3 * DATABASES; round++) {
      const [name, email] = [unique('name'), `${unique('e')}@example.com`]
      const named = Array.from({ length: 8 }, () => newUser(name, { roles: ['user'] }))
      const mailed = Array.from({ length: 8 }, () => withEmail(unique('name'), email))
      for (const group of [named, mailed]) {
        const calls = group.map((user, index) => (stores[index % 4] as Store).users.create(user, null))
        t.strictSame(await outcomes(calls), { done: 1, conflict: 7 })
        const there = await Promise.all(group.map((user) => opened.store.users.get(user.id)))
        t.equal(there.filter((user) => user !== null).length, 1)
      }
    }
  })

  t.test('credentials are found by the canonical name', async (t) => {
    const { store, alice } = await shared()
    t.strictSame(await store.users.credentials(alice.usernameKey), {
      user: asUser(alice),
      passwordHash: alice.passwordHash,
      authVersion: 1
    })
    t.equal(await store.users.credentials(alice.username), null)
    t.equal(await store.users.credentials(unique('nobody')), null)
    t.equal(await store.users.credentials("' or 1=1 --"), null)
  })

  t.test('credentials tell that a user is disabled, and the raised version', async (t) => {
    const { store, sql, alice } = await shared()
    await sql(`update users set disabled_at = ${NOW + 9}, auth_version = auth_version + 1 where id = '${alice.id}'`)
    t.strictSame(await store.users.credentials(alice.usernameKey), {
      user: { ...asUser(alice), disabledAt: NOW + 9 },
      passwordHash: alice.passwordHash,
      authVersion: 2
    })
  })

  t.test('users are listed by id, page by page', async (t) => {
    const { store } = await migrated(t)
    const ordered = Array.from({ length: 7 }, () => randomUUIDv7()).toSorted()
    const users = ordered.map((id, index) => newUser(`user${index}`, { id }))
    for (const user of users.toReversed()) await store.users.create(user, null)
    const ids = async (after: string | null, limit: number) =>
      (await store.users.list({ after, limit }, {})).map((user) => user.id)
    const all = users.map((user) => user.id)

    t.strictSame(await ids(null, 10), all)
    t.strictSame(await ids(null, 3), all.slice(0, 3))
    t.strictSame(await ids(all[2] as string, 3), all.slice(3, 6))
    t.strictSame(await ids(all[5] as string, 3), all.slice(6))
    t.strictSame(await ids(all[6] as string, 3), [])
    t.strictSame(await ids('00000000-0000-7000-8000-000000000000', 2), all.slice(0, 2), 'after an id that nobody has')
    t.strictSame(await ids('ffffffff-ffff-7fff-bfff-ffffffffffff', 2), [])
    t.strictSame(await store.users.list({ after: null, limit: 1 }, {}), [asUser(users[0] as NewUser)])
  })

  t.test('update changes what is given, and null empties it', async (t) => {
    const { store } = await shared()
    const bob = { ...withEmail(unique('bob'), 'b@example.com'), fullName: 'Bob', roles: ['user'] }
    await store.users.create(bob, null)
    let expected = asUser(bob)
    const steps: [Parameters<Store['users']['change']>[1], Partial<User>][] = [
      [{ fullName: 'Bob B.' }, { fullName: 'Bob B.' }],
      [{ email: 'C@example.com', emailKey: 'c@example.com' }, { email: 'C@example.com' }],
      [{ fullName: null }, { fullName: null }],
      [{ email: null, emailKey: null }, { email: null }],
      [
        { email: 'd@example.com', emailKey: 'd@example.com', fullName: 'D' },
        { email: 'd@example.com', fullName: 'D' }
      ],
      [{ email: 'D@example.com', emailKey: 'd@example.com' }, { email: 'D@example.com' }],
      [{}, {}]
    ]
    for (const [index, [changes, result]] of steps.entries()) {
      const updatedAt = NOW + 1 + index
      expected = { ...expected, ...result, updatedAt }
      t.strictSame(await store.users.change(bob.id, changes, null, updatedAt), expected)
      t.strictSame(await store.users.get(bob.id), expected)
    }
  })

  t.test('an e-mail that is free again can be taken', async (t) => {
    const { store, alice } = await shared()
    const bob = withEmail(unique('bob'), 'taken@example.com')
    await store.users.create(bob, null)
    await store.users.change(bob.id, { email: null, emailKey: null }, null, NOW)
    const given = { email: 'Taken@example.com', emailKey: 'taken@example.com' }
    t.equal((await store.users.change(alice.id, given, null, NOW))?.email, 'Taken@example.com')
  })

  t.test('update of an unknown user is null, and of a taken e-mail a conflict that changes nothing', async (t) => {
    const { store, alice } = await shared()
    await store.users.create(withEmail(unique('bob'), 'bob@example.com'), null)
    t.equal(await store.users.change(randomUUIDv7(), { fullName: 'x' }, null, NOW), null)
    await t.rejects(
      store.users.change(
        alice.id,
        { email: 'Bob@example.com', emailKey: 'bob@example.com', fullName: 'x' },
        null,
        NOW + 1
      ),
      refusedAs('conflict')
    )
    t.strictSame(await store.users.get(alice.id), asUser(alice))
  })

  t.test('a hash is replaced only if it is still the one', async (t) => {
    const { store, alice } = await shared()
    const { passwordHash: old } = alice
    const bob = newUser(unique('bob'), { passwordHash: old })
    const hash = async (user = alice) => (await store.users.credentials(user.usernameKey))?.passwordHash
    await store.users.create(bob, null)
    await store.users.replaceHash(alice.id, 'another hash', 'new')
    t.equal(await hash(), old)
    await store.users.replaceHash(alice.id, old, 'new')
    t.equal(await hash(), 'new')
    await store.users.replaceHash(alice.id, old, 'newer')
    t.equal(await hash(), 'new')
    await store.users.replaceHash(randomUUIDv7(), 'new', 'newer')
    t.equal(await hash(bob), old)
    t.equal((await store.users.credentials(alice.usernameKey))?.authVersion, 1, 'the password is the same')
  })

  t.test('a user may what the roles allow now, each scope once', async (t) => {
    const { store, sql, alice } = await seeded(t)
    const [nobody, nothing] = [newUser('nobody', { roles: ['nobody'] }), newUser('nothing')]
    await store.users.create(nobody, null)
    await store.users.create(nothing, null)
    t.strictSame((await store.users.scopes(alice.id))?.toSorted(), ['profile', 'things:read'])
    t.strictSame(await store.users.scopes(nobody.id), [])
    t.strictSame(await store.users.scopes(nothing.id), [])
    t.equal(await store.users.scopes(randomUUIDv7()), null)
    await sql(`delete from user_roles where role = 'reader'`)
    t.strictSame(await store.users.scopes(alice.id), ['profile'])
    await sql(`insert into role_scopes values ('user', 'users:read')`)
    t.strictSame((await store.users.scopes(alice.id))?.toSorted(), ['profile', 'users:read'])
  })

  t.test('a client comes back as seeded, also one that is disabled or has no scopes', async (t) => {
    const { store } = await shared()
    t.strictSame(await store.clients.get('app'), CLIENT)
    t.strictSame(await store.clients.get('off'), { ...CLIENT, id: 'off', disabledAt: NOW })
    t.strictSame(await store.clients.get('bare'), SEED.clients[2])
    t.equal(await store.clients.get('APP'), null)
    t.equal(await store.clients.get('unknown'), null)
  })

  t.test('scopes are listed, and found by name as far as they are registered', async (t) => {
    const { store } = await shared()
    const registered = SEED.scopes.map((scope) => ({
      ...scope,
      identifier: scope.resourceId === 'things' ? 'https://things.example' : null
    }))
    const named = (...names: string[]) => registered.filter((scope) => names.includes(scope.name))
    const byName = <T extends { name: string }>(list: T[]) => list.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    t.strictSame(byName(await store.scopes.list({ after: null, limit: 100 })), byName(registered))
    t.strictSame(await store.scopes.find([]), [])
    t.strictSame(await store.scopes.find(['profile']), named('profile'))
    t.strictSame(await store.scopes.find(['profile', 'profile']), named('profile'))
    t.strictSame(
      byName(await store.scopes.find(['things:read', 'none', 'profile', 'PROFILE'])),
      byName(named('profile', 'things:read'))
    )
    t.strictSame(await store.scopes.find(Array.from({ length: 1000 }, (_, index) => `x:${index}`)), [])
  })

  const sessionsIn = ({ sql }: Opened, user: string) => sql(`select * from sessions where user_id = '${user}'`)

  t.test('no session is opened for a login from before something was taken from its client', async (t) => {
    const { store, alice } = await shared()
    const client: Client = { ...CLIENT, id: unique('client') }
    await store.clients.create(client, null, null)
    const rev = await store.revocations.seq()
    const open = (known: number) => store.sessions.open(newSession(alice.id, { clientId: client.id }), 1, known)
    t.equal(await open(rev), true)
    await store.clients.change(client.id, { grantTypes: ['password'] }, null, NOW)
    await store.clients.change(client.id, { grantTypes: client.grantTypes }, null, NOW)
    t.strictSame([await open(rev), await open(await store.revocations.seq())], [false, true])
  })

  t.test('a session is opened as given', async (t) => {
    const opened = await shared()
    const session = newSession(opened.alice.id)
    t.equal(await opened.store.sessions.open(session, 1, LATEST), true)
    t.strictSame(await sessionsIn(opened, opened.alice.id), [
      {
        id: session.id,
        user_id: opened.alice.id,
        client_id: 'app',
        scopes: 'profile things:read',
        amr: 'pwd otp',
        auth_at: NOW - 1,
        created_at: NOW,
        idle_expires_at: NOW + 3_600_000,
        expires_at: NOW + 86_400_000,
        ended_at: null,
        address: '203.0.113.7',
        user_agent: 'test/1',
        counter: 0,
        salt: 'c2FsdA',
        rotated_at: null
      }
    ])
    t.strictSame(await opened.store.sessions.get(session.id), { ...session, counter: 0, endedAt: null })
    const bare = newSession(opened.alice.id, { address: null, userAgent: null, salt: null })
    t.equal(
      await opened.store.sessions.open(bare, 1, LATEST),
      true,
      'a user may have many, and nothing need be known of it'
    )
    t.equal((await sessionsIn(opened, opened.alice.id)).length, 2)
    await t.rejects(opened.store.sessions.open(session, 1, LATEST), refusedAs('conflict'))
  })

  t.test('no session is opened when user, version or client is not as it was checked', async (t) => {
    const opened = await shared()
    const { store, sql, alice } = opened
    t.equal(await store.sessions.open(newSession(alice.id), 2, LATEST), false, 'a version to come')
    t.equal(await store.sessions.open(newSession(alice.id), 0, LATEST), false, 'a version before')
    t.equal(await store.sessions.open(newSession(alice.id, { clientId: 'off' }), 1, LATEST), false, 'a disabled client')
    t.equal(
      await store.sessions.open(newSession(alice.id, { clientId: 'unknown' }), 1, LATEST),
      false,
      'an unknown client'
    )
    t.equal(await store.sessions.open(newSession(randomUUIDv7()), 1, LATEST), false, 'an unknown user')
    await sql(`update users set disabled_at = ${NOW} where id = '${alice.id}'`)
    t.equal(await store.sessions.open(newSession(alice.id), 1, LATEST), false, 'a disabled user')
    await sql(`update users set disabled_at = null, auth_version = 2 where id = '${alice.id}'`)
    t.equal(await store.sessions.open(newSession(alice.id), 1, LATEST), false, 'a new password')
    t.strictSame(await sessionsIn(opened, alice.id), [])
    t.equal(await store.sessions.open(newSession(alice.id), 2, LATEST), true)
  })

  for (const [what, change] of [
    ['disabling', `disabled_at = ${NOW}, auth_version = auth_version + 1`],
    ['new password', 'auth_version = auth_version + 1']
  ] as const) {
    t.test(`no login that is under way outlives a ${what}`, async (t) => {
      const opened = await shared()
      const stores = others(opened, 2)
      const left: unknown[] = []
      let opens = 0
      for (let round = 0; round < ROUNDS; round++) {
        const user = newUser(unique('user'), { roles: ['user'] })
        await opened.store.users.create(user, null)
        const disable = () =>
          opened.sql(
            `update users set ${change} where id = '${user.id}'`,
            `update sessions set ended_at = ${NOW} where user_id = '${user.id}' and ended_at is null`
          )
        const logins = () => stores.map((store) => store.sessions.open(newSession(user.id), 1, LATEST))
        const pause = () => new Promise((resolve) => setTimeout(resolve, round % 8))
        const [results] = await Promise.all([
          pause().then(() => Promise.all(logins())),
          round % 2 === 0 ? disable() : pause().then(disable)
        ])
        const rows = await sessionsIn(opened, user.id)
        opens += rows.length
        if (rows.length !== results.filter(Boolean).length) left.push({ round, rows, results })
        left.push(...rows.filter((row) => row.ended_at === null))
      }
      t.strictSame(left, [])
      t.comment(`${opens} of ${2 * ROUNDS} logins came first`)
    })
  }

  const LEEWAY = 10_000
  /** A session of a new user. */
  async function withSession(more: Partial<Session> = {}) {
    const opened = await shared()
    const session = newSession(opened.alice.id, more)
    await opened.store.sessions.open(session, 1, LATEST)
    const rotate = (counter: number, now: number, leeway = LEEWAY, client = CLIENT) =>
      opened.store.sessions.rotate(session.id, client, counter, leeway, now)
    const row = () => opened.store.sessions.get(session.id)
    return { ...opened, session, rotate, row }
  }
  /** The entries of the log after a number. */
  const logged = async (store: Store, after: number) =>
    (await store.revocations.since(after, 1000)).entries.map(({ kind, id }) => ({ kind, id }))

  t.test('rotate with the current counter renews the session', async (t) => {
    const { store, session, rotate, row } = await withSession()
    const before = await store.revocations.seq()
    t.equal(await rotate(0, NOW + 5), 'rotated')
    t.strictSame(await row(), {
      ...session,
      counter: 1,
      endedAt: null,
      lastUsedAt: NOW + 5,
      idleExpiresAt: NOW + 5 + 3_600_000
    })
    t.equal(await rotate(1, NOW + 6, 0), 'rotated', 'without a leeway too')
    t.equal((await row())?.counter, 2)
    t.strictSame(await logged(store, before), [])
  })

  t.test('rotate with the counter before is retried inside the leeway, and changes nothing', async (t) => {
    const { store, rotate, row } = await withSession()
    const before = await store.revocations.seq()
    await rotate(0, NOW)
    const renewed = await row()
    for (const now of [NOW, NOW - 1, NOW + LEEWAY - 1]) t.equal(await rotate(0, now), 'retried')
    t.strictSame(await row(), renewed)
    t.equal(await rotate(1, NOW + LEEWAY - 1), 'rotated')
    t.equal(await rotate(1, NOW + 2 * LEEWAY - 2), 'retried', 'the leeway begins with each renewal')
    t.equal((await row())?.counter, 2)
    t.strictSame(await logged(store, before), [])
  })

  for (const [what, { renewals, counter, after, leeway }] of Object.entries({
    'the counter before, after the leeway': { renewals: 1, counter: 0, after: LEEWAY, leeway: LEEWAY },
    'the counter before, without a leeway': { renewals: 1, counter: 0, after: 0, leeway: 0 },
    'the counter before, without a leeway, by a clock that is behind': {
      renewals: 1,
      counter: 0,
      after: -5,
      leeway: 0
    },
    'an older counter, inside the leeway': { renewals: 2, counter: 0, after: 0, leeway: LEEWAY },
    'a counter from a hundred renewals ago': { renewals: 100, counter: 0, after: 1, leeway: LEEWAY }
  })) {
    t.test(`rotate with ${what} is reused: that session has ended, and no other`, async (t) => {
      const { store, alice, session, rotate, row } = await withSession()
      const other = newSession(alice.id)
      await store.sessions.open(other, 1, LATEST)
      for (let index = 0; index < renewals; index++) await rotate(index, NOW)
      const renewed = await row()
      const [before, now] = [await store.revocations.seq(), NOW + after]
      t.equal(await rotate(counter, now, leeway), 'reused')
      t.strictSame(await row(), { ...renewed, endedAt: now, idleExpiresAt: now })
      t.strictSame(await logged(store, before), [{ kind: 'session', id: session.id }])
      t.strictSame(await store.sessions.get(other.id), { ...other, counter: 0, endedAt: null })

      t.equal(await rotate(counter, now, leeway), 'unknown', 'it ends once')
      t.equal(await rotate(renewals, now, leeway), 'unknown', 'and is renewed no more')
      t.equal((await logged(store, before)).length, 1)
    })
  }

  t.test('rotate is unknown, and changes nothing, for what must not renew', async (t) => {
    const { store, session, rotate, row } = await withSession({ expiresAt: NOW + 4_000_000 })
    const before = await store.revocations.seq()
    await rotate(0, NOW)
    await rotate(1, NOW)
    const there = await row()
    const off = { ...CLIENT, id: 'off' }
    for (const counter of [0, 1, 2, 3]) t.equal(await rotate(counter, NOW, LEEWAY, off), 'unknown', 'another client')
    for (const counter of [3, 4, 2 ** 31 - 1]) t.equal(await rotate(counter, NOW), 'unknown', 'a counter ahead')
    for (const counter of [0, 1, 2]) t.equal(await rotate(counter, NOW + 3_600_000), 'unknown', 'idle for too long')
    t.equal(await store.sessions.rotate(randomUUIDv7(), CLIENT, 0, LEEWAY, NOW), 'unknown', 'no session')
    t.strictSame(await row(), there)

    t.equal(await rotate(2, NOW + 3_599_999), 'rotated')
    t.equal((await row())?.idleExpiresAt, NOW + 4_000_000, 'idle time ends with the absolute one')
    t.equal(await rotate(3, NOW + 4_000_000), 'unknown', 'the absolute time is over')
    t.equal(await rotate(3, NOW + 3_999_999), 'rotated')
    await store.sessions.end({ id: session.id }, NOW)
    const ended = await row()
    const after = await store.revocations.seq()
    for (const counter of [0, 3, 4, 5]) t.equal(await rotate(counter, NOW), 'unknown', 'ended')
    t.strictSame(await row(), ended)
    t.strictSame(await logged(store, before), [{ kind: 'session', id: session.id }])
    t.equal(await store.revocations.seq(), after)
  })

  t.test('of eight renewals at once one is rotated and the others retried, or one of them reused', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    for (let round = 0; round < ROUNDS; round++) {
      const leeway = round % 2 === 0 ? LEEWAY : 0
      const session = newSession(opened.alice.id)
      await opened.store.sessions.open(session, 1, LATEST)
      const counts: Record<string, number> = {}
      const renewals = Array.from({ length: 8 }, (_, index) =>
        (stores[index % 4] as Store).sessions.rotate(session.id, CLIENT, 0, leeway, NOW)
      )
      for (const rotation of await Promise.all(renewals)) counts[rotation] = (counts[rotation] ?? 0) + 1
      const expected = leeway === 0 ? { rotated: 1, reused: 1, unknown: 6 } : { rotated: 1, retried: 7 }
      const { counter, endedAt } = (await opened.store.sessions.get(session.id)) ?? {}
      const end = leeway === 0 ? NOW : null
      if (
        JSON.stringify([Object.entries(counts).sort(), counter, endedAt]) !==
        JSON.stringify([Object.entries(expected).sort(), 1, end])
      )
        t.strictSame([counts, counter, endedAt], [expected, 1, end], `round ${round}`)
    }
  })

  t.test('the living sessions of a user are listed by id, page by page', async (t) => {
    const { store, alice } = await shared()
    const { alice: bob } = await shared()
    const ids = Array.from({ length: 6 }, () => randomUUIDv7()).toSorted() as [string, ...string[]]
    const sessions = ids.map((id, index) => newSession(alice.id, { id, idleExpiresAt: NOW + 1000 * (index + 1) }))
    for (const session of [...sessions.toReversed(), newSession(bob.id)]) await store.sessions.open(session, 1, LATEST)
    const list = async (after: string | null, limit: number, now = NOW) =>
      (await store.sessions.list(alice.id, { after, limit }, now)).map(({ id }) => id)
    t.strictSame(await list(null, 10), ids)
    t.strictSame(await list(null, 2), ids.slice(0, 2))
    t.strictSame(await list(ids[1] as string, 2), ids.slice(2, 4))
    t.strictSame(await list(ids[5] as string, 2), [])
    t.strictSame(await list(null, 10, NOW + 1999), ids.slice(1), 'what was idle for too long is not there')
    t.strictSame(await list(null, 10, NOW + 2000), ids.slice(2))
    await store.sessions.end({ id: ids[3] as string }, NOW)
    t.strictSame(await list(null, 10), ids.toSpliced(3, 1))
    t.strictSame(await store.sessions.list(alice.id, { after: null, limit: 1 }, NOW), [
      { ...sessions[0], counter: 0, endedAt: null }
    ])
    t.strictSame(await store.sessions.list(randomUUIDv7(), { after: null, limit: 10 }, NOW), [])
  })

  t.test('end ends the living sessions for which all is true, tells how many, and logs each', async (t) => {
    const { store, alice } = await seeded(t)
    const bob = newUser('bob')
    await store.users.create(bob, null)
    await store.clients.create({ ...CLIENT, id: 'other' }, null, null)
    const owners: [string, string][] = [
      [alice.id, 'app'],
      [alice.id, 'app'],
      [alice.id, 'app'],
      [alice.id, 'other'],
      [bob.id, 'app'],
      [bob.id, 'other'],
      [bob.id, 'other']
    ]
    const sessions = owners.map(([userId, clientId]) => newSession(userId, { clientId }))
    const idle = newSession(alice.id, { idleExpiresAt: NOW - 60_000 })
    for (const session of [...sessions, idle]) await store.sessions.open(session, 1, LATEST)
    const ids = sessions.map(({ id }) => id)
    const now = NOW + 1
    const alive = new Set(ids)
    const steps: [Parameters<Store['sessions']['end']>[0], number[]][] = [
      [{ id: ids[0] as string, userId: bob.id }, []],
      [{ id: randomUUIDv7() }, []],
      [{ id: idle.id }, []],
      [{ id: ids[0] as string, clientId: 'other' }, []],
      [{ id: ids[0] as string, userId: alice.id }, [0]],
      [{ id: ids[0] as string }, []],
      [{ userId: alice.id, except: ids[1] as string }, [2, 3]],
      [{ userId: alice.id, except: null }, [1]],
      [{ userId: alice.id }, []],
      [{ clientId: 'other', except: ids[5] as string }, [6]],
      [{ clientId: 'other' }, [5]],
      [{ userId: bob.id }, [4]]
    ]
    for (const [which, gone] of steps) {
      const before = await store.revocations.seq()
      t.equal(await store.sessions.end(which, now), gone.length, JSON.stringify(which))
      const entries = gone.map((index) => ({ kind: 'session', id: ids[index] as string }))
      t.strictSame(
        await logged(store, before),
        entries.toSorted((a, b) => (a.id < b.id ? -1 : 1))
      )
      for (const { id } of entries) alive.delete(id)
      for (const session of sessions) {
        const { id } = session
        const expected = alive.has(id)
          ? { ...session, counter: 0, endedAt: null }
          : { ...session, counter: 0, endedAt: now, idleExpiresAt: now }
        t.strictSame(await store.sessions.get(id), expected)
      }
    }
    t.strictSame(await store.sessions.get(idle.id), { ...idle, counter: 0, endedAt: null })
  })

  t.test('sessions that many end and renew at once end once, and nobody waits in a circle', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4) as [Store, Store, Store, Store]
    for (let round = 0; round < ROUNDS; round++) {
      const user = newUser(unique('user'))
      await opened.store.users.create(user, null)
      const client = { ...CLIENT, id: unique('client') }
      await opened.store.clients.create(client, null, null)
      const sessions = Array.from({ length: 8 }, () => newSession(user.id, { clientId: client.id }))
      // Not in the order of their ids.
      for (const session of sessions.toSorted(() => Math.random() - 0.5))
        await opened.store.sessions.open(session, 1, LATEST)
      const before = await opened.store.revocations.seq()
      const calls = [
        stores[0].sessions.end({ userId: user.id }, NOW),
        round % 2 === 0
          ? stores[1].users.setPassword(user.id, { hash: 'x', from: null, keep: null }, NOW)
          : stores[1].users.delete(user.id, NOW),
        stores[2].sessions.end({ clientId: client.id }, NOW),
        stores[3].clients.change(client.id, { disabled: true }, null, NOW),
        ...sessions.map(({ id }, index) =>
          (stores[index % 4] as Store).sessions.rotate(id, client, index % 2 === 0 ? 0 : 1, 0, NOW)
        )
      ]
      const counts = await outcomes(calls)
      if (counts.done !== calls.length) t.strictSame(counts, { done: calls.length }, `round ${round}`)
      const left = await opened.store.sessions.list(user.id, { after: null, limit: 10 }, NOW)
      const ended = (await logged(opened.store, before)).filter(({ kind }) => kind === 'session').map(({ id }) => id)
      if (left.length > 0 || new Set(ended).size !== ended.length) t.fail(`round ${round}: ${left.length}, ${ended}`)
    }
  })

  t.test('the log tells its entries after a number, at most as many as asked, and its ends', async (t) => {
    const { store, another, sql } = await seeded(t)
    const since = (after: number, limit = 100) => store.revocations.since(after, limit)
    t.strictSame(await since(0), { entries: [], seq: 0, oldest: 0 }, 'of an empty log')
    t.strictSame(await since(7), { entries: [], seq: 0, oldest: 0 })
    for (const jti of ['a', 'b', 'c', 'd']) await another().revocations.revokeToken(jti, NOW)
    const entries = ['a', 'b', 'c', 'd'].map((id, index) => ({ seq: index + 1, kind: 'token', id }))
    const ends = { seq: 4, oldest: 0 }
    t.strictSame(await since(0), { entries, ...ends })
    t.strictSame(await since(0, 3), { entries: entries.slice(0, 3), ...ends })
    t.strictSame(await since(2), { entries: entries.slice(2), ...ends })
    t.strictSame(await since(2, 1), { entries: entries.slice(2, 3), ...ends })
    t.strictSame(await since(4), { entries: [], ...ends })
    for (const after of [5, 5_000_000_000, 999_999_999_999_999])
      t.strictSame(await since(after), { entries, ...ends }, `all after ${after}, which is not there yet`)
    t.equal(await store.revocations.seq(), 4)

    await sql('delete from revocations where seq in (1, 3)')
    const kept = entries.filter(({ seq }) => seq === 2 || seq === 4)
    for (const after of [0, 1]) t.strictSame(await since(after), { entries: kept, seq: 4, oldest: 1 }, 'with gaps')
    t.strictSame(await since(2), { entries: kept.slice(1), seq: 4, oldest: 1 })
    await sql('delete from revocations')
    for (const after of [0, 4, 5])
      t.strictSame(await since(after), { entries: [], seq: 4, oldest: 4 }, 'with none left')
  })

  t.test('what the log tells was so at one instant, whatever is written and removed meanwhile', async (t) => {
    const { store, another, sql } = await seeded(t)
    const writer = another()
    let over = false
    const writing = (async () => {
      for (let round = 1; round <= ROUNDS; round++) {
        await writer.revocations.revokeToken(unique('jti'), NOW)
        if (round % 5 === 0) await sql(`delete from revocations where seq <= ${round - 2}`)
      }
      over = true
    })()
    while (!over) {
      const { entries, seq, oldest } = await store.revocations.since(0, 1000)
      const numbers = entries.map((entry) => entry.seq)
      const dense = Array.from({ length: seq - oldest }, (_, index) => oldest + 1 + index)
      if (numbers.join() !== dense.join()) t.strictSame(numbers, dense)
      await nextTick()
    }
    await writing
  })

  t.test('a token is revoked once, however often, by however many', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    const jti = unique('jti')
    const ref = { kid: 'signing', sid: null, sub: 'app', clientId: 'app' }
    const revoked = async (id: string) => (await opened.store.state({ ...ref, jti: id })).revoked
    t.equal(await revoked(jti), false)
    const before = await opened.store.revocations.seq()
    await opened.store.revocations.revokeToken(jti, NOW)
    await opened.store.revocations.revokeToken(jti, NOW + 1)
    t.strictSame([await revoked(jti), await revoked(`${jti}x`)], [true, false])
    t.strictSame(await logged(opened.store, before), [{ kind: 'token', id: jti }])

    const start = await opened.store.revocations.seq()
    const expected: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const id = unique('jti')
      expected.push(id)
      const counts = await outcomes(stores.map((store) => store.revocations.revokeToken(id, NOW)))
      const { done = 0, conflict = 0 } = counts
      if (done < 1 || done + conflict !== 4) t.strictSame(counts, { done: 4 })
      if (!(await revoked(id))) t.fail(`round ${round}: not revoked`)
    }
    const { entries } = await opened.store.revocations.since(start, 10_000)
    t.strictSame(
      entries,
      expected.map((id, index) => ({ seq: start + 1 + index, kind: 'token', id })),
      'what lost left no gap'
    )
  })

  t.test('there is one current refresh key, and it is found by its id', async (t) => {
    const { store, another } = await migrated(t)
    const keys = ['a', 'b', 'c', 'd'].map((id) => ({ id, sealedKey: `sealed ${id}`, createdAt: NOW }))
    t.equal(await store.refreshKeys.current(), null)
    t.equal(await store.refreshKeys.find('a'), null)
    t.strictSame(await outcomes(keys.map((key) => another().refreshKeys.create(key))), { done: 4 })
    const current = await store.refreshKeys.current()
    t.strictSame(
      keys.filter(({ id }) => id === current?.id),
      [current]
    )
    for (const key of keys) t.strictSame(await store.refreshKeys.find(key.id), key.id === current?.id ? key : null)
    await store.refreshKeys.create({ id: 'e', sealedKey: 'sealed e', createdAt: NOW })
    t.strictSame(await store.refreshKeys.current(), current)
  })

  t.test('a client comes back as created, with the hashes of its secrets apart', async (t) => {
    const { store } = await shared()
    const machine: Client = {
      ...CLIENT,
      id: unique('machine'),
      name: 'A machine',
      kind: 'confidential',
      grantTypes: []
    }
    const page: Client = { ...CLIENT, id: unique('page'), scopes: ['profile'], defaultScopes: [] }
    await store.clients.create(machine, newSecret('hash of a secret'), null)
    await store.clients.create(page, null, null)
    t.strictSame(await store.clients.get(machine.id), machine)
    t.strictSame(await store.clients.get(page.id), page)
    t.strictSame(
      (await store.clients.secrets(machine.id, NOW)).map(({ hash }) => hash),
      ['hash of a secret']
    )
    t.strictSame(await store.clients.secrets(page.id, NOW), [])
    t.strictSame(await store.clients.secrets('unknown', NOW), [])
  })

  t.test('a client whose id is taken, or with an unknown scope, is refused whole', async (t) => {
    const { store } = await shared()
    const client: Client = { ...CLIENT, id: unique('client'), kind: 'confidential' }
    await store.clients.create(client, null, null)
    const again = store.clients.create({ ...client, name: 'x' }, newSecret('x'), null)
    await t.rejects(again, refusedAs('conflict'))
    t.strictSame(await store.clients.get(client.id), client)
    t.strictSame(await store.clients.secrets(client.id, NOW), [])
    const broken = { ...CLIENT, id: unique('client'), scopes: ['profile', 'none'] }
    await t.rejects(store.clients.create(broken, newSecret('x'), null), refusedAs('invalid'))
    t.equal(await store.clients.get(broken.id), null)
  })

  t.test('clients are listed by id, page by page', async (t) => {
    const { store } = await seeded(t)
    const list = async (after: string | null, limit: number) =>
      (await store.clients.list({ after, limit })).map(({ id }) => id)
    t.strictSame(await list(null, 10), ['app', 'bare', 'off'])
    t.strictSame(await list(null, 2), ['app', 'bare'])
    t.strictSame(await list('bare', 2), ['off'])
    t.strictSame(await list('off', 2), [])
    t.strictSame(await store.clients.list({ after: null, limit: 1 }), [CLIENT])
  })

  t.test('a client that is disabled loses its sessions, and gets none back when it is enabled', async (t) => {
    const { store, alice } = await shared()
    const client: Client = { ...CLIENT, id: unique('client') }
    await store.clients.create(client, null, null)
    const [own, other] = [newSession(alice.id, { clientId: client.id }), newSession(alice.id)]
    for (const session of [own, other]) await store.sessions.open(session, 1, LATEST)
    const before = await store.revocations.seq()
    const disabled = { ...client, disabledAt: NOW + 7, updatedAt: NOW + 7 }
    t.strictSame(await store.clients.change(client.id, { disabled: true }, null, NOW + 7), disabled)
    t.strictSame(await store.clients.get(client.id), disabled)
    t.equal(await store.sessions.open(newSession(alice.id, { clientId: client.id }), 1, LATEST), false)
    t.strictSame(await logged(store, before), [{ kind: 'client', id: client.id }])
    const again = await store.clients.change(client.id, { disabled: true }, null, NOW + 8)
    t.strictSame(again, { ...disabled, updatedAt: NOW + 8 }, 'it is so already')
    const enabled = { ...client, updatedAt: NOW + 9 }
    t.strictSame(await store.clients.change(client.id, { disabled: false }, null, NOW + 9), enabled)
    t.strictSame(await store.clients.get(client.id), enabled)
    t.strictSame(await store.sessions.get(own.id), { ...own, counter: 0, endedAt: NOW + 7, idleExpiresAt: NOW + 7 })
    t.strictSame(await store.sessions.get(other.id), { ...other, counter: 0, endedAt: null })
    t.equal((await logged(store, before)).length, 1, 'nothing more was taken away')
    t.equal(await store.clients.change('unknown', { disabled: true }, null, NOW), null)
  })

  /** A client with that many secrets, and its view from the store. */
  async function withClient(opened: Opened, more: Partial<Client> = {}): Promise<Client> {
    const client: Client = { ...CLIENT, kind: 'confidential', id: unique('client'), ...more }
    await opened.store.clients.create(client, null, null)
    return client
  }
  const plenty = { othersEndAt: null, most: 100 }

  t.test(
    'credentials are those of the clients that exist, with the secrets that are good, and the log’s number',
    async (t) => {
      const opened = await shared()
      const { store } = opened
      const [one, two] = [
        await withClient(opened),
        await withClient(opened, { disabledAt: NOW, scopes: [], defaultScopes: [] })
      ]
      const secrets = [
        newSecret('a', { createdAt: NOW - 1 }),
        newSecret('b', { expiresAt: NOW + 1 }),
        newSecret('c', { expiresAt: NOW + 2 })
      ]
      for (const secret of secrets) await store.clients.addSecret(one.id, secret, plenty, null)
      const seen = async (now: number, ...ids: string[]) =>
        (await store.clients.credentials(ids, now)).map(({ client, secrets }) => [
          client.id,
          secrets.map(({ hash }) => hash).toSorted()
        ])
      t.strictSame(await seen(NOW, one.id, two.id, 'none'), [
        [one.id, ['a', 'b', 'c']],
        [two.id, []]
      ])
      t.strictSame(await seen(NOW, two.id, one.id), [
        [two.id, []],
        [one.id, ['a', 'b', 'c']]
      ])
      t.strictSame(await seen(NOW, 'none'), [])
      t.strictSame(await seen(NOW + 1, one.id), [[one.id, ['a', 'c']]], 'not good at its end')
      t.strictSame(await seen(NOW + 2, one.id), [[one.id, ['a']]])
      t.strictSame(
        (await store.clients.secrets(one.id, NOW + 1)).map(({ hash }) => hash),
        ['a', 'c']
      )
      const [found] = await store.clients.credentials([one.id], NOW + 2)
      const rev = await store.revocations.seq()
      t.strictSame(found, { client: { ...one, updatedAt: NOW }, secrets: [secrets[0]], rev })
      await store.revocations.revokeToken(unique('token'), NOW)
      t.equal((await store.clients.credentials([one.id], NOW))[0]?.rev, rev + 1)
      t.strictSame((await store.clients.credentials([two.id], NOW))[0]?.client, two, 'whatever its state is')
    }
  )

  t.test('a client changes in what is given, and comes back whole', async (t) => {
    const opened = await shared()
    const { store } = opened
    let client = await withClient(opened)
    const steps: Parameters<Store['clients']['change']>[1][] = [
      { name: 'Another' },
      { firstParty: false },
      { grantTypes: ['client_credentials'] },
      { scopes: ['profile', 'users:read'], defaultScopes: ['users:read'] },
      { defaultScopes: [] },
      { resources: ['things', 'latchkey'] },
      { redirectUris: ['https://a.example/', 'com.example:/b'] },
      { jwks: [{ kty: 'EC', alg: 'ES256', kid: 'a', crv: 'P-256', x: 'x', y: 'y' }] },
      { accessTokenTtl: 60 },
      { sessionIdleTtl: 1, sessionAbsoluteTtl: 31_536_000 },
      { jwks: null, accessTokenTtl: null, resources: [], redirectUris: [] },
      {}
    ]
    for (const [index, changes] of steps.entries()) {
      client = { ...client, ...changes, updatedAt: NOW + index }
      t.strictSame(await store.clients.change(client.id, changes, null, NOW + index), client, JSON.stringify(changes))
      t.strictSame(await store.clients.get(client.id), client)
    }
    for (const changes of [{ scopes: ['none'] }, { resources: ['things', 'none'] }, { name: 'x', scopes: ['none'] }])
      await t.rejects(store.clients.change(client.id, changes, null, NOW + 99), refusedAs('invalid'))
    t.strictSame(await store.clients.get(client.id), client, 'a refusal changes nothing')
    t.equal(await store.clients.change('unknown', { name: 'x' }, null, NOW), null)
  })

  t.test('who gives a client something has all scopes of it that users can have', async (t) => {
    const opened = await seeded(t)
    const { store, alice } = opened
    // Alice has profile and things:read.
    await opened.sql("insert into scopes values ('tokens:introspect', '', 'latchkey')")
    const mine: Client = {
      ...CLIENT,
      id: unique('mine'),
      kind: 'confidential',
      scopes: ['profile', 'tokens:introspect'],
      defaultScopes: []
    }
    await store.clients.create(mine, null, alice.id)
    const more = await withClient(opened, { scopes: ['profile', 'users:read'] })
    const refused: (() => Promise<unknown>)[] = [
      () => store.clients.create({ ...more, id: 'x' }, newSecret('x'), alice.id),
      () => store.clients.change(more.id, { name: 'x' }, alice.id, NOW + 1),
      () => store.clients.change(more.id, { disabled: false }, alice.id, NOW + 1),
      () => store.clients.change(mine.id, { scopes: ['users:read'] }, alice.id, NOW + 1),
      () => store.clients.addSecret(more.id, newSecret('x'), plenty, alice.id),
      () => store.clients.addSecret(mine.id, newSecret('x'), plenty, randomUUIDv7())
    ]
    for (const call of refused) await t.rejects(call(), refusedAs('forbidden'), String(call))
    t.strictSame([await store.clients.get(more.id), await store.clients.get(mine.id)], [more, mine])
    t.equal(await store.clients.get('x'), null)
    t.strictSame(await store.clients.secrets(more.id, NOW), [])
    t.ok(await store.clients.addSecret(mine.id, newSecret('y'), plenty, alice.id))
    t.match(await store.clients.change(more.id, { disabled: true }, alice.id, NOW + 1), { disabledAt: NOW + 1 })
    t.match(await store.clients.change(more.id, { scopes: ['profile'] }, alice.id, NOW + 1), { scopes: ['profile'] })
  })

  t.test('what takes something from a client is logged and held against its tokens, and nothing else is', async (t) => {
    const opened = await shared()
    const { store } = opened
    const { id } = await withClient(opened, {
      scopes: ['profile', 'users:read'],
      grantTypes: ['password', 'refresh_token']
    })
    const entry = { kind: 'client', id }
    const change = (changes: Parameters<Store['clients']['change']>[1]) => () =>
      store.clients.change(id, changes, null, NOW)
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a name', change({ name: 'x' }), []],
      ['one more scope', change({ scopes: ['profile', 'users:read', 'things:read'] }), []],
      ['one scope less', change({ scopes: ['profile', 'users:read'] }), [entry]],
      ['a resource in place of all', change({ resources: ['latchkey'] }), [entry]],
      ['one more resource', change({ resources: ['things', 'latchkey'] }), []],
      ['one resource less', change({ resources: ['things'] }), [entry]],
      ['all resources', change({ resources: [] }), []],
      ['one more grant', change({ grantTypes: ['password', 'client_credentials', 'refresh_token'] }), []],
      ['one grant less', change({ grantTypes: ['client_credentials', 'refresh_token'] }), [entry]],
      ['first party no more', change({ firstParty: false }), [entry]],
      ['first party', change({ firstParty: true }), []],
      ['a secret', () => store.clients.addSecret(id, newSecret('x'), plenty, null), []],
      ['lifetimes', change({ accessTokenTtl: 1, sessionIdleTtl: 1, sessionAbsoluteTtl: 1 }), []],
      ['disabling', change({ disabled: true, scopes: ['profile'] }), [entry]],
      ['disabling one who is', change({ disabled: true }), []],
      ['enabling', change({ disabled: false }), []],
      ['a deletion', () => store.clients.delete(id, NOW), [entry]],
      ['a deletion of nothing', () => store.clients.delete(id, NOW), []],
      ['another of its id', () => store.clients.create({ ...CLIENT, id }, null, null), []]
    ]
    const revokedSeq = async () =>
      (await store.state({ kid: '', jti: '', sid: null, sub: '', clientId: id })).client?.revokedSeq
    for (const [what, run, expected] of steps) {
      const [before, held] = [await store.revocations.seq(), await revokedSeq()]
      await run()
      t.strictSame(await logged(store, before), expected, what)
      const now = expected.length > 0 ? await store.revocations.seq() : held
      if (!what.startsWith('a deletion') && held !== undefined) t.equal(await revokedSeq(), now, what)
    }
    t.equal(await revokedSeq(), await store.revocations.seq(), 'tokens of one that is gone are none of the next')
  })

  t.test('a deleted client is gone with its sessions, secrets and assertions, and is asked no more', async (t) => {
    const opened = await shared()
    const { store, alice, sql } = opened
    const { id } = await withClient(opened)
    await store.clients.addSecret(id, newSecret('x'), plenty, null)
    await store.clients.useAssertion(id, 'a', NOW)
    const session = newSession(alice.id, { clientId: id })
    await store.sessions.open(session, 1, LATEST)
    const resource = unique('r')
    const made = { id: resource, identifier: `urn:${resource}`, name: 'x', scopes: [], introspectionClients: [id] }
    await store.resources.create(made, NOW)
    t.equal(await store.clients.delete(id, NOW), true)
    t.equal(await store.clients.get(id), null)
    t.equal((await store.sessions.get(session.id))?.endedAt ?? 'gone', 'gone')
    for (const table of ['client_secrets', 'client_assertions', 'client_scopes', 'introspection_clients'])
      t.strictSame(await sql(`select client_id from ${table} where client_id = '${id}'`), [], table)
    t.strictSame((await store.resources.get(resource))?.introspectionClients, [])
    t.equal(await store.clients.delete(id, NOW), false)
  })

  t.test('secrets are added up to as many as allowed, and the others get an end', async (t) => {
    const opened = await shared()
    const { store } = opened
    const { id } = await withClient(opened)
    const add = (secret: ClientSecret, othersEndAt: number | null = null, most = 3) =>
      store.clients.addSecret(id, secret, { othersEndAt, most }, null)
    const [a, b, c] = [
      newSecret('a'),
      newSecret('b', { createdAt: NOW + 1, expiresAt: NOW + 5 }),
      newSecret('c', { createdAt: NOW + 2 })
    ]
    t.strictSame([await add(a), await add(b), await add(c, NOW + 10)], [true, true, true])
    t.strictSame(await store.clients.secrets(id, NOW), [{ ...a, expiresAt: NOW + 10 }, b, c])
    await t.rejects(add(newSecret('d'), NOW + 3), refusedAs('conflict'))
    t.strictSame(await store.clients.secrets(id, NOW), [{ ...a, expiresAt: NOW + 10 }, b, c], 'a refusal ends nothing')
    const e = newSecret('e', { createdAt: NOW + 5 })
    t.equal(await add(e), true, 'one that is over makes room')
    const f = newSecret('f', { createdAt: NOW + 6 })
    t.equal(await add(f, NOW + 6), true, 'those that end at once do too')
    t.strictSame(await store.clients.secrets(id, NOW), [f])
    t.equal(await store.clients.addSecret('unknown', newSecret('x'), plenty, null), false)

    await store.clients.secretUsed(f.id, NOW + 7)
    t.strictSame(await store.clients.secrets(id, NOW), [{ ...f, lastUsedAt: NOW + 7 }])
    const other = await withClient(opened)
    t.equal(await store.clients.deleteSecret(other.id, f.id), false, 'not under another client')
    t.equal(await store.clients.deleteSecret(id, randomUUIDv7()), false)
    t.equal(await store.clients.deleteSecret(id, f.id), true)
    t.equal(await store.clients.deleteSecret(id, f.id), false)
    await store.clients.secretUsed(f.id, NOW)
    t.strictSame(await store.clients.secrets(id, NOW), [])
  })

  t.test('of many secrets that are added at once as many get in as there is room for', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    for (let round = 0; round < ROUNDS; round++) {
      const { id } = await withClient(opened)
      const calls = Array.from({ length: 8 }, (_, index) =>
        (stores[index % 4] as Store).clients.addSecret(id, newSecret(`${index}`), { othersEndAt: null, most: 3 }, null)
      )
      const counts = await outcomes(calls)
      const stored = (await opened.store.clients.secrets(id, NOW)).length
      if (counts.done !== 3 || counts.conflict !== 5 || stored !== 3)
        t.strictSame([counts, stored], [{ done: 3, conflict: 5 }, 3], `round ${round}`)
    }
  })

  t.test('an assertion is used once by its client, however many try at once', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    const [{ id }, other] = [await withClient(opened), await withClient(opened)]
    for (let round = 0; round < ROUNDS; round++) {
      const calls = Array.from({ length: 8 }, (_, index) =>
        (stores[index % 4] as Store).clients.useAssertion(id, `jti ${round}`, NOW + index)
      )
      const firsts = (await Promise.all(calls)).filter(Boolean).length
      if (firsts !== 1) t.equal(firsts, 1, `round ${round}`)
    }
    t.equal(await opened.store.clients.useAssertion(other.id, 'jti 0', NOW), true, 'another’s is another')
    t.equal(await opened.store.clients.useAssertion(other.id, 'jti 0', NOW), false)
  })

  t.test('changes of one client at once happen one after the other, and lose nothing', async (t) => {
    const opened = await shared()
    const stores = others(opened, 4)
    for (let round = 0; round < ROUNDS; round++) {
      const { id } = await withClient(opened)
      const before = await opened.store.revocations.seq()
      const changes: Parameters<Store['clients']['change']>[1][] = [
        { name: `name ${round}` },
        { scopes: ['things:read'], defaultScopes: [] },
        { firstParty: false },
        { grantTypes: ['refresh_token'] },
        { resources: ['things'] },
        { accessTokenTtl: 60 },
        { disabled: true },
        { redirectUris: ['https://a.example/'] }
      ]
      const calls = changes.map((each, index) => (stores[index % 4] as Store).clients.change(id, each, null, NOW))
      const counts = await outcomes(calls)
      const { disabledAt, ...after } = (await opened.store.clients.get(id)) as Client
      const expected = Object.assign({}, ...changes, { disabledAt: NOW })
      const entries = await logged(opened.store, before)
      if (counts.done !== 8 || entries.length !== 5)
        t.strictSame([counts, entries.length], [{ done: 8 }, 5], `round ${round}`)
      t.match({ ...after, disabledAt, disabled: true }, expected)
    }
  })

  const newResource = (scopes: string[] = [], more: Partial<Resource> = {}): Resource => {
    const id = unique('resource')
    const named = scopes.map((name) => ({ name: `${id}:${name}`, description: `to ${name}` }))
    return { id, identifier: `https://${id}.example`, name: id, scopes: named, introspectionClients: [], ...more }
  }

  t.test('a resource comes back as created; the role admin has its scopes', async (t) => {
    const { store } = await shared()
    const resource = newResource(['a', 'b'], { introspectionClients: ['app', 'bare'] })
    await store.resources.create(resource, NOW)
    t.strictSame(await store.resources.get(resource.id), resource)
    t.equal(await store.resources.get('none'), null)
    const scopes = resource.scopes.map(({ name }) => name)
    t.strictSame(
      (await store.roles.get('admin'))?.scopes.filter((name) => scopes.includes(name)),
      scopes
    )
    t.strictSame((await store.roles.get('nobody'))?.scopes, [])
    t.strictSame(await store.scopes.find([scopes[0] as string]), [
      { ...resource.scopes[0], resourceId: resource.id, identifier: resource.identifier }
    ])
    t.strictSame(
      [
        await store.resources.known(resource.identifier as string),
        await store.resources.known(resource.id),
        await store.resources.known('')
      ],
      [true, false, false]
    )
    const may = (client: string, identifier: string | null) => store.resources.mayIntrospect(client, identifier)
    t.strictSame(
      [
        await may('app', resource.identifier),
        await may('off', resource.identifier),
        await may('app', null),
        await may('app', 'https://things.example'),
        await may('none', resource.identifier)
      ],
      [true, false, false, false, false]
    )
    await store.resources.change('latchkey', { introspectionClients: ['off'] }, NOW)
    t.strictSame(
      [await may('off', null), await may('app', null), await may('off', resource.identifier)],
      [true, false, false]
    )
    await store.resources.change('latchkey', { introspectionClients: [] }, NOW)
  })

  t.test(
    'a resource whose id, identifier or scope is taken, or with an unknown client, is refused whole',
    async (t) => {
      const { store } = await shared()
      const resource = newResource(['a'])
      await store.resources.create(resource, NOW)
      for (const [code, more] of [
        ['conflict', { id: resource.id }],
        ['conflict', { identifier: resource.identifier }],
        ['conflict', { scopes: [{ name: unique('new'), description: '' }, ...resource.scopes] }],
        ['invalid', { introspectionClients: ['app', 'none'] }]
      ] as const) {
        const other = { ...newResource(['a']), ...more } as Resource
        await t.rejects(store.resources.create(other, NOW), refusedAs(code), JSON.stringify(more))
        t.strictSame(await store.resources.get(other.id), other.id === resource.id ? resource : null)
        if (more !== undefined && !('scopes' in more))
          t.strictSame(await store.scopes.find(other.scopes.map(({ name }) => name)), [])
      }
    }
  )

  t.test('resources are listed by id, page by page', async (t) => {
    const { store } = await seeded(t)
    const more = newResource(['a'])
    await store.resources.create(more, NOW)
    const list = async (after: string | null, limit: number) =>
      (await store.resources.list({ after, limit })).map(({ id }) => id)
    t.strictSame(await list(null, 10), ['latchkey', more.id, 'things'])
    t.strictSame(await list(null, 2), ['latchkey', more.id])
    t.strictSame(await list(more.id, 2), ['things'])
    t.strictSame(await list('things', 2), [])
    t.strictSame((await store.resources.list({ after: 'latchkey', limit: 1 }))[0], more)
  })

  t.test('a resource changes in what is given; a scope that goes is taken from all, and the log says so', async (t) => {
    const { store } = await shared()
    const resource = newResource(['a', 'b', 'c'])
    await store.resources.create(resource, NOW)
    const [a, b, c] = resource.scopes as [Scope, Scope, Scope]
    const [client, role] = [unique('client'), unique('role')]
    await store.clients.create({ ...CLIENT, id: client, scopes: [a.name, b.name], defaultScopes: [b.name] }, null, null)
    await store.roles.create({ name: role, description: '', scopes: [b.name] }, null, NOW)
    const before = await store.revocations.seq()
    const change = (changes: Parameters<Store['resources']['change']>[1]) =>
      store.resources.change(resource.id, changes, NOW)
    t.strictSame(await change({ name: 'x' }), { ...resource, name: 'x' })
    t.strictSame(await change({ introspectionClients: ['off', 'app'] }), {
      ...resource,
      name: 'x',
      introspectionClients: ['app', 'off']
    })
    t.strictSame(await change({ introspectionClients: [] }), { ...resource, name: 'x' })
    const d = { name: `${resource.id}:d`, description: 'new' }
    const added = await change({ scopes: (found) => [...found, d] })
    t.strictSame(added?.scopes, [...resource.scopes, d])
    t.ok((await store.roles.get('admin'))?.scopes.includes(d.name))
    t.strictSame((await change({ scopes: () => [{ ...a, description: 'y' }, b, c, d] }))?.scopes[0], {
      ...a,
      description: 'y'
    })
    t.strictSame(await logged(store, before), [])

    t.strictSame((await change({ scopes: (found) => found.filter(({ name }) => name !== b.name) }))?.scopes.length, 3)
    const entries = (await logged(store, before)).map((entry) => `${entry.kind} ${entry.id}`)
    t.strictSame(entries.toSorted(), [`client ${client}`, 'role admin', `role ${role}`])
    t.strictSame((await store.roles.get(role))?.scopes, [])
    t.match(await store.clients.get(client), { scopes: [a.name], defaultScopes: [] })
    t.strictSame(await store.scopes.find([b.name]), [])

    const taken = { name: 'profile', description: '' }
    await t.rejects(change({ name: 'z', scopes: () => [taken] }), refusedAs('conflict'))
    await t.rejects(change({ name: 'z', introspectionClients: ['none'] }), refusedAs('invalid'))
    const undecided = change({
      name: 'z',
      scopes: () => {
        throw new Error('undecided')
      }
    })
    await t.rejects(undecided, { message: 'undecided' })
    t.match(await store.resources.get(resource.id), { name: 'x', introspectionClients: [], scopes: { length: 3 } })
    t.equal(await store.resources.change('none', { name: 'x' }, NOW), null)
  })

  t.test('a resource is deleted with its scopes, but for one that a client names', async (t) => {
    const { store } = await shared()
    const [resource, alike] = [newResource(['a', 'b']), newResource([])]
    alike.id = resource.id.replace('resource', 'resour_e')
    for (const each of [resource, alike]) await store.resources.create(each, NOW)
    const client = unique('client')
    const scopes = resource.scopes.map(({ name }) => name)
    await store.clients.create(
      { ...CLIENT, id: client, scopes, defaultScopes: [], resources: ['things', resource.id] },
      null,
      null
    )
    const before = await store.revocations.seq()
    await t.rejects(store.resources.delete(resource.id, NOW), refusedAs('conflict'))
    t.strictSame(await store.resources.get(resource.id), resource)
    t.equal(await store.resources.delete(alike.id, NOW), true, 'one that is called nearly so')
    await store.clients.change(client, { resources: ['things'] }, null, NOW)
    t.equal(await store.resources.delete(resource.id, NOW), true)
    t.equal(await store.resources.delete(resource.id, NOW), false)
    t.equal(await store.resources.get(resource.id), null)
    t.strictSame(await store.scopes.find(scopes), [])
    t.strictSame((await store.clients.get(client))?.scopes, [])
    const entries = (await logged(store, before)).map((entry) => `${entry.kind} ${entry.id}`)
    t.strictSame(entries.toSorted(), [`client ${client}`, `client ${client}`, 'role admin'])
  })

  t.test(
    'scopes that come and go while roles and clients are being given them are in nobody’s hands after',
    async (t) => {
      const opened = await shared()
      const { store, sql } = opened
      const stores = others(opened, 4)
      const resource = newResource(['a', 'b'])
      await store.resources.create(resource, NOW)
      const [a, b] = resource.scopes as [Scope, Scope]
      const [role, client] = [unique('role'), await withClient(opened)]
      await store.roles.create({ name: role, description: '', scopes: [] }, null, NOW)
      const seen: Record<string, number> = {}
      for (let round = 0; round < ROUNDS; round++) {
        const [one, two, three, four] = stores as [Store, Store, Store, Store]
        const calls = [
          one.resources.change(resource.id, { scopes: (found) => found.filter(({ name }) => name !== b.name) }, NOW),
          two.roles.change(role, { scopes: [a.name, b.name] }, null, NOW),
          three.clients.change(client.id, { scopes: [a.name, b.name], defaultScopes: [] }, null, NOW),
          four.resources.change(resource.id, { name: `name ${round}` }, NOW)
        ]
        for (const [name, count] of Object.entries(await outcomes(calls))) seen[name] = (seen[name] ?? 0) + count
        const left = await sql(
          `select scope from role_scopes where scope = '${b.name}' union all select scope from client_scopes where scope = '${b.name}'`
        )
        if (left.length > 0) t.strictSame(left, [], `round ${round}`)
        t.match(await store.resources.get(resource.id), { name: `name ${round}`, scopes: [a] })
        await store.resources.change(resource.id, { scopes: () => [a, b] }, NOW)
        // So that both have something of it now and then.
        if (round % 2 === 0) {
          await store.roles.change(role, { scopes: [a.name, b.name] }, null, NOW)
          await store.clients.change(client.id, { scopes: [a.name, b.name], defaultScopes: [] }, null, NOW)
        }
      }
      const { done = 0, invalid = 0, conflict = 0 } = seen
      t.equal(done + invalid + conflict, 4 * ROUNDS, JSON.stringify(seen))
      t.ok(done >= 2 * ROUNDS, JSON.stringify(seen))
    }
  )

  t.test('a resource that a client is just being given is not deleted under it', async (t) => {
    const opened = await shared()
    const [one, two] = others(opened, 2) as [Store, Store]
    for (let round = 0; round < ROUNDS; round++) {
      const resource = newResource([])
      await opened.store.resources.create(resource, NOW)
      const { id } = await withClient(opened)
      const counts = await outcomes([
        one.resources.delete(resource.id, NOW),
        two.clients.change(id, { resources: [resource.id] }, null, NOW)
      ])
      const [left, client] = [await opened.store.resources.get(resource.id), await opened.store.clients.get(id)]
      const named = client?.resources.length === 1
      if (counts.done !== 1 || named !== (left !== null))
        t.strictSame([counts.done, named], [1, left !== null], `round ${round}`)
    }
  })

  t.test('of a user and a client of one name that are made at once one is made', async (t) => {
    const opened = await shared()
    const stores = others(opened, 2)
    const done = { user: 0, client: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const name = unique('Robot')
      const [one, two] = (round % 2 === 0 ? stores : stores.toReversed()) as [Store, Store]
      const other = newUser(unique('other'))
      if (round % 3 === 0) await one.users.create(other, null)
      const user = (): Promise<unknown> =>
        round % 3 === 0
          ? one.users.change(other.id, { username: name, usernameKey: name.toLowerCase() }, null, NOW)
          : one.users.create(newUser(name), null)
      const counts = await outcomes([user(), two.clients.create({ ...CLIENT, id: name.toUpperCase() }, null, null)])
      const isUser = (await one.users.credentials(name.toLowerCase())) !== null
      const isClient = (await one.clients.get(name.toUpperCase())) !== null
      done[isUser ? 'user' : 'client']++
      if (isUser === isClient || counts.done !== 1 || counts.conflict !== 1)
        t.strictSame([counts, isUser, isClient], [{ done: 1, conflict: 1 }, true, false], `round ${round}`)
    }
    t.equal(done.user + done.client, ROUNDS, JSON.stringify(done))
  })

  t.test('of a first admin and a client of one name that are made at once one is made', async (t) => {
    const opened = await seeded(t)
    const [one, two] = others(opened, 2) as [Store, Store]
    for (let round = 0; round < ROUNDS; round++) {
      const name = unique('Root')
      const counts = await outcomes([
        one.bootstrap(SEED, newUser(name, { roles: ['admin'] })),
        two.clients.create({ ...CLIENT, id: name.toLowerCase() }, null, null)
      ])
      const isUser = (await one.users.credentials(name.toLowerCase())) !== null
      const isClient = (await one.clients.get(name.toLowerCase())) !== null
      if (isUser === isClient || counts.done !== 1 || counts.conflict !== 1)
        t.strictSame([counts, isUser, isClient], [{ done: 1, conflict: 1 }, true, false], `round ${round}`)
      await opened.sql(`delete from users where username_key = '${name.toLowerCase()}'`)
    }
  })

  t.test('what takes something from a user is logged, and nothing else is', async (t) => {
    const opened = await shared()
    const { store, alice } = opened
    const sessions = [newSession(alice.id), newSession(alice.id), newSession(alice.id)] as const
    const idle = newSession(alice.id, { idleExpiresAt: NOW - 120_000 })
    for (const session of [...sessions, idle]) await store.sessions.open(session, 1, LATEST)
    const [first, second, third] = sessions.map(({ id }) => id).toSorted() as [string, string, string]
    const user = { kind: 'user', id: alice.id }
    const change = (changes: Parameters<Store['users']['change']>[1]) => () =>
      store.users.change(alice.id, changes, null, NOW)
    const setPassword = (from: number | null, keep: string | null) => () =>
      store.users.setPassword(alice.id, { hash: 'new', from, keep }, NOW)
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a new name', change({ fullName: 'x' }), []],
      ['one more role', change({ roles: ['nobody', 'reader', 'user'] }), []],
      ['the same roles', change({ roles: ['nobody', 'reader', 'user'] }), []],
      ['enabling one who is', change({ disabled: false }), []],
      ['one role less, another more', change({ roles: ['admin', 'reader', 'user'] }), [user]],
      ['a password when there was another', setPassword(99, null), []],
      [
        'a password that keeps a session',
        setPassword(1, second),
        [first, third].map((id) => ({ kind: 'session', id }))
      ],
      ['a password that ends none', setPassword(2, second), []],
      ['another password', setPassword(null, null), [{ kind: 'session', id: second }]],
      ['disabling', change({ disabled: true, roles: ['user'] }), [user]],
      ['disabling one who is', change({ disabled: true }), []],
      ['enabling', change({ disabled: false }), []],
      ['a deletion', () => store.users.delete(alice.id, NOW), [user]],
      ['a deletion of nobody', () => store.users.delete(alice.id, NOW), []]
    ]
    // The one who stays admin.
    await store.users.create(newUser(unique('admin'), { roles: ['admin'] }), null)
    for (const [what, run, expected] of steps) {
      const before = await store.revocations.seq()
      await run()
      const byId = (a: { id?: string }, b: { id?: string }) => ((a.id as string) < (b.id as string) ? -1 : 1)
      t.strictSame((await logged(store, before)).toSorted(byId), expected, what)
    }
  })

  t.test('what takes something from a role is logged, and nothing else is', async (t) => {
    const { store } = await shared()
    const name = unique('role')
    const role = { kind: 'role', id: name }
    const change = (changes: { description?: string; scopes?: string[] }) => () =>
      store.roles.change(name, changes, null, NOW)
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a new role', () => store.roles.create({ name, description: '', scopes: ['profile'] }, null, NOW), []],
      ['another description', change({ description: 'x' }), []],
      ['one more scope', change({ scopes: ['profile', 'things:read'] }), []],
      ['the same scopes', change({ scopes: ['things:read', 'profile'] }), []],
      ['one scope less, another more', change({ scopes: ['profile', 'users:read'] }), [role]],
      ['no scopes', change({ scopes: [] }), [role]],
      ['still none', change({ scopes: [] }), []],
      ['a deletion', () => store.roles.delete(name, NOW), [role]],
      ['a deletion of nothing', () => store.roles.delete(name, NOW), []]
    ]
    for (const [what, run, expected] of steps) {
      const before = await store.revocations.seq()
      await run()
      t.strictSame(await logged(store, before), expected, what)
    }
  })

  t.test('what is refused or rolled back leaves nothing in the log', async (t) => {
    const { store } = await seeded(t)
    const admin = newUser('admin', { roles: ['admin'] })
    await store.users.create(admin, null)
    const before = await store.revocations.seq()
    await t.rejects(store.users.change(admin.id, { disabled: true }, null, NOW), refusedAs('conflict'))
    await t.rejects(store.users.change(admin.id, { roles: [] }, null, NOW), refusedAs('conflict'))
    await t.rejects(store.users.delete(admin.id, NOW), refusedAs('conflict'))
    t.strictSame(await logged(store, before), [])
    t.equal(await store.revocations.seq(), before)
  })

  t.test('of eight who would sweep at once one does, and nobody before its time is over', async (t) => {
    const opened = await seeded(t)
    const stores = others(opened, 4)
    for (let round = 0; round < ROUNDS; round++) {
      const now = NOW + round * 60_000
      const calls = Array.from({ length: 8 }, (_, index) => (stores[index % 4] as Store).expiry.lead(now, now + 60_000))
      const leaders = (await Promise.all(calls)).filter(Boolean).length
      if (leaders !== 1) t.equal(leaders, 1, `round ${round}`)
      if (await opened.store.expiry.lead(now + 59_999, now + 119_999)) t.fail(`round ${round}: a second one`)
    }
  })

  t.test('prune removes what expired a minute ago, a few hundred rows at once, and nothing that lives', async (t) => {
    const opened = await seeded(t)
    const { store, sql, alice } = opened
    const user = newUser('bob')
    await store.users.create(user, null)
    const kept = [
      newSession(alice.id, { idleExpiresAt: NOW + 1 }),
      newSession(alice.id),
      newSession(alice.id, { idleExpiresAt: NOW + 60_000 })
    ]
    for (const session of kept) await store.sessions.open(session, 1, LATEST)
    const ended = newSession(alice.id)
    await store.sessions.open(ended, 1, LATEST)
    await store.sessions.end({ id: ended.id }, NOW + 1)
    const old = Array.from(
      { length: 1200 },
      (_, index) => `('s${index}', ${NOW - (index % 3)}, '${alice.id}', 'app', '', '', ${NOW}, ${NOW}, ${NOW + 1})`
    )
    await sql(
      `insert into sessions (id, idle_expires_at, user_id, client_id, scopes, amr, auth_at, created_at, expires_at) values ${old.join()}`
    )
    await sql(`insert into revocations values (5000, 'token', 'old', ${NOW})`)
    await sql(`insert into revocations values (5001, 'token', 'new', ${NOW + 1})`)
    await sql(
      `insert into guesses (key, count, last_at, expires_at) values ('old', 1, 0, ${NOW})`,
      `insert into guesses (key, count, last_at, expires_at) values ('new', 1, 0, ${NOW + 1})`
    )
    const at = NOW + 60_000
    t.equal(await store.expiry.prune(at - 3), 0, 'not before the minute is over')
    let removed = 0
    for (let count = 1; count > 0; removed += count) {
      count = await store.expiry.prune(at)
      t.ok(count <= 502, `${count} rows at once`)
    }
    t.equal(removed, 1202)
    for (const session of kept)
      t.strictSame(await store.sessions.get(session.id), { ...session, counter: 0, endedAt: null })
    t.type(await store.sessions.get(ended.id), 'object', 'what ended is kept for a minute too')
    t.strictSame(await sql('select key from guesses'), [{ key: 'new' }])
    t.strictSame(await sql("select id from revocations where id in ('old', 'new')"), [{ id: 'new' }])
    t.equal(await store.expiry.prune(at + 1), 4, 'a session, one that ended, an entry and a guess')
    t.equal(await store.sessions.get(ended.id), null)
    t.strictSame(await logged(store, 0), [{ kind: 'session', id: ended.id }], 'entries are kept for longer')
  })

  t.test('prune removes the assertions and secrets of clients that are over, and no others', async (t) => {
    const opened = await seeded(t)
    const { store, sql } = opened
    const [one, two] = [await withClient(opened), await withClient(opened)]
    await store.clients.useAssertion(one.id, 'same', NOW)
    await store.clients.useAssertion(two.id, 'same', NOW + 1)
    await store.clients.useAssertion(one.id, 'later', NOW + 1)
    for (const [hash, expiresAt] of [
      ['old', NOW],
      ['new', NOW + 1],
      ['lasting', null]
    ] as const)
      await store.clients.addSecret(one.id, newSecret(hash, { createdAt: NOW - 1, expiresAt }), plenty, null)
    t.equal(await store.expiry.prune(NOW + 59_999), 0)
    t.equal(await store.expiry.prune(NOW + 60_000), 2)
    t.equal(await store.clients.useAssertion(two.id, 'same', NOW), false, 'another client’s is another')
    t.equal(await store.clients.useAssertion(one.id, 'later', NOW), false)
    t.strictSame(await sql('select secret_hash from client_secrets order by secret_hash'), [
      { secret_hash: 'lasting' },
      { secret_hash: 'new' }
    ])
    t.equal(await store.expiry.prune(NOW + 60_001), 3)
    t.strictSame(await sql('select secret_hash from client_secrets'), [{ secret_hash: 'lasting' }])
  })

  t.test('instances that prune at once remove everything once', async (t) => {
    const opened = await seeded(t)
    const stores = others(opened, 4)
    const rows = Array.from({ length: 100 }, () => newSession(opened.alice.id, { idleExpiresAt: NOW }))
    for (const session of rows) await opened.store.sessions.open(session, 1, LATEST)
    const counts = await Promise.all(stores.map((store) => store.expiry.prune(NOW + 60_000)))
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      100
    )
    t.strictSame(await sessionsIn(opened, opened.alice.id), [])
  })

  t.test('keys: the published, the one that signs, and any by its id', async (t) => {
    const { store } = await shared()
    t.strictSame(await store.keys.list(), [KEYS.verifying, KEYS.signing, KEYS.next])
    t.strictSame(await store.keys.signing(), KEYS.signing)
    for (const each of Object.values(KEYS)) t.strictSame(await store.keys.find(each.kid), each)
    t.equal(await store.keys.find('unknown'), null)
  })

  t.test('before the first start no key signs', async (t) => {
    const { store } = await migrated(t)
    t.equal(await store.keys.signing(), null)
    t.strictSame(await store.keys.list(), [])
  })

  t.test('the database refuses a second key that signs, and a second next one', async (t) => {
    const { store, sql } = await seeded(t)
    const insert = (kid: string, state: string) =>
      sql(
        `insert into signing_keys (kid, alg, public_jwk, sealed_private_key, state, created_at)
          values ('${kid}', 'ES256', '{}', 'sealed', '${state}', ${NOW})`
      )
    await t.rejects(insert('a', 'signing'))
    await t.rejects(insert('b', 'next'))
    await t.rejects(sql(`update signing_keys set state = 'signing' where kid = 'verifying'`))
    await insert('c', 'verifying')
    await insert('d', 'retired')
    t.strictSame(await store.keys.signing(), KEYS.signing)
  })

  t.test('a sealed value is found by its name', async (t) => {
    const { store } = await shared()
    t.equal(await store.sealed.get('canary'), 'sealed canary')
    t.equal(await store.sealed.get('unknown'), null)
  })

  t.test('the revocation log begins at 0 and its number is the one committed last', async (t) => {
    const { store, sql } = await seeded(t)
    t.equal(await store.revocations.seq(), 0)
    await sql("update counters set seq = 5000000000 where name = 'revocations'")
    t.equal(await store.revocations.seq(), 5_000_000_000)
  })

  t.test('the state of what does not exist is null', async (t) => {
    const { store, alice } = await shared()
    const unknown = { kid: 'none', jti: 'none', sid: randomUUIDv7(), sub: randomUUIDv7(), clientId: 'none' }
    const nothing = { keyState: null, session: null, revoked: false, user: null, client: null }
    t.strictSame(await store.state(unknown), nothing)
    t.strictSame(await store.state({ ...unknown, sid: null }), nothing)
    t.strictSame(await store.state({ ...unknown, kid: 'next' }), { ...nothing, keyState: 'next' })
    t.strictSame(await store.state({ ...unknown, clientId: 'bare' }), {
      ...nothing,
      client: { disabledAt: null, scopes: [], revokedSeq: 0 }
    })
    t.equal((await store.state({ ...unknown, sub: alice.id })).session, null, 'a session only by its own id')
  })

  t.test('the state is what is committed at this instant, whoever committed it', async (t) => {
    const opened = await shared()
    const { store, sql, alice } = opened
    const session = newSession(alice.id)
    await store.sessions.open(session, 1, LATEST)
    const ref = { kid: 'signing', jti: 'a', sid: session.id, sub: alice.id, clientId: 'app' }
    const seen = async () => {
      const { user, client, ...rest } = await store.state(ref)
      return {
        ...rest,
        user: user && { ...user, scopes: [...new Set(user.scopes)].toSorted() },
        client: client && { ...client, scopes: client.scopes.toSorted() }
      }
    }
    let expected: Awaited<ReturnType<typeof seen>> = {
      keyState: 'signing',
      session: {
        userId: alice.id,
        clientId: 'app',
        idleExpiresAt: NOW + 3_600_000,
        expiresAt: NOW + 86_400_000,
        endedAt: null
      },
      revoked: false,
      user: { disabledAt: null, roles: ['reader', 'user'], scopes: ['profile', 'things:read'] },
      client: { disabledAt: null, scopes: ['profile', 'things:read'], revokedSeq: 0 }
    }
    t.strictSame(await seen(), expected)

    const steps: [string, Partial<typeof expected>][] = [
      [
        "delete from user_roles where role = 'reader'",
        { user: { disabledAt: null, roles: ['user'], scopes: ['profile'] } }
      ],
      ["insert into role_scopes values ('user', 'users:read')", {}],
      [`update users set disabled_at = ${NOW}`, {}],
      [
        "delete from client_scopes where scope = 'profile'",
        { client: { disabledAt: null, scopes: ['things:read'], revokedSeq: 0 } }
      ],
      [
        `update clients set disabled_at = ${NOW + 1}, revoked_seq = 7`,
        { client: { disabledAt: NOW + 1, scopes: ['things:read'], revokedSeq: 7 } }
      ],
      [
        `update sessions set ended_at = ${NOW + 2}`,
        { session: { ...(expected.session as NonNullable<typeof expected.session>), endedAt: NOW + 2 } }
      ],
      ["update signing_keys set state = 'retired' where kid = 'signing'", { keyState: 'retired' }],
      ['delete from user_roles', { user: { disabledAt: NOW, roles: [], scopes: [] } }],
      [`delete from users where id = '${alice.id}'`, { user: null, session: null }]
    ]
    ;(steps[1] as (typeof steps)[0])[1] = {
      user: { disabledAt: null, roles: ['user'], scopes: ['profile', 'users:read'] }
    }
    ;(steps[2] as (typeof steps)[0])[1] = {
      user: { disabledAt: NOW, roles: ['user'], scopes: ['profile', 'users:read'] }
    }
    for (const [statement, change] of steps) {
      await sql(statement)
      expected = { ...expected, ...change }
      t.strictSame(await seen(), expected, statement)
    }
  })

  t.test('what is committed by one instance is read by the next call of another', async (t) => {
    const opened = await seeded(t)
    const stores = others(opened, 2)
    const stale: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const [writer, reader] = [stores[round % 2] as Store, stores[(round + 1) % 2] as Store]
      await writer.users.change(opened.alice.id, { fullName: `name ${round}` }, null, NOW + round)
      if ((await reader.users.get(opened.alice.id))?.fullName !== `name ${round}`) stale.push(round)
    }
    t.strictSame(stale, [])
  })

  const tries = (key: string, count: number, expiresAt = NOW + 1000) => ({ key, count, lastAt: NOW, expiresAt })
  /** What is known of those that were ever tried. */
  const known = async ({ sql }: Opened, prefix: string) =>
    sql(`select key, count, last_at, expires_at from guesses where key like '${prefix}%' order by key`)

  t.test('guesses: what is decided is kept, what is left out stays, a count of 0 is forgotten', async (t) => {
    const opened = await shared()
    const { store } = opened
    const prefix = unique('guesses ')
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => `${prefix} ${name}`) as [string, string, string, string]
    const before = await store.guesses.count([b, a], (found) => ({ next: [tries(a, 3), tries(b, 1)], result: found }))
    t.strictSame([...before.values()].map(({ key, count }) => [key, count]).sort(), [
      [a, 0],
      [b, 0]
    ])
    const found = await store.guesses.count([c, b, a, d], (found) => ({
      next: [tries(c, 0), tries(b, 0), { ...tries(d, 2 ** 31 - 1), expiresAt: NOW * 2 }],
      result: found
    }))
    t.strictSame([found.get(a), found.get(b), found.get(c)?.count], [tries(a, 3), tries(b, 1), 0])
    t.strictSame(await known(opened, prefix), [
      { key: a, count: 3, last_at: NOW, expires_at: NOW + 1000 },
      { key: d, count: 2 ** 31 - 1, last_at: NOW, expires_at: NOW * 2 }
    ])
    const failing = store.guesses.count([a, b], () => {
      throw new Error('undecided')
    })
    await t.rejects(failing, { message: 'undecided' })
    t.equal(await store.guesses.count([a], () => ({ next: [], result: 'result' })), 'result')
    t.equal((await known(opened, prefix)).length, 2)
  })

  t.test('guesses: counts of many instances at once lose nothing and never wait in a circle', async (t) => {
    const opened = await shared()
    const stores = others(opened, 2)
    const prefix = unique('guesses ')
    const keys = ['a', 'b', 'c', 'd'].map((name) => `${prefix} ${name}`)
    const expected = new Map<string, number>()
    const calls: Promise<unknown>[] = []
    for (let round = 0; round < ROUNDS * 2; round++) {
      // Some of the keys, in any order; the last one is only made and forgotten.
      const chosen = keys.filter((_, index) => (round >> index) % 2 === 0 || index === round % 4)
      if (round % 3 === 0) chosen.reverse()
      for (const key of chosen.slice(1)) expected.set(key, (expected.get(key) ?? 0) + 1)
      const call = (stores[round % 2] as Store).guesses.count(chosen, (found) => ({
        next: chosen.slice(1).map((key) => tries(key, (found.get(key)?.count ?? 0) + 1)),
        result: null
      }))
      calls.push(call)
      if (round % 5 === 0) calls.push((stores[round % 2] as Store).expiry.prune(NOW))
      if (round % 10 === 9) await Promise.all(calls.slice(-12))
    }
    t.strictSame(await outcomes(calls), { done: calls.length })
    t.strictSame(
      (await known(opened, prefix)).map(({ key, count }) => [key, count]),
      [...expected].sort()
    )
  })

  t.test('guesses: what has expired is forgotten, nothing else', async (t) => {
    const opened = await shared()
    const prefix = unique('guesses ')
    const rows = [tries(`${prefix} a`, 1, NOW), tries(`${prefix} b`, 1, NOW + 1), tries(`${prefix} c`, 9, NOW - 1)]
    await opened.store.guesses.count(
      rows.map(({ key }) => key),
      () => ({ next: rows, result: null })
    )
    await opened.store.expiry.prune(NOW + 60_000)
    t.strictSame(
      (await known(opened, prefix)).map(({ key }) => key),
      [`${prefix} b`]
    )
  })

  t.test('a database that keeps writers out is unavailable within three seconds, and works again after', async (t) => {
    const { store, block, alice } = await shared()
    const bob = newUser(unique('bob'))
    const release = await block()
    const start = performance.now()
    await Promise.all([
      t.rejects(store.users.create(bob, null), refusedAs('unavailable')),
      t.rejects(store.sessions.open(newSession(alice.id), 1, LATEST), refusedAs('unavailable')),
      t.rejects(store.bootstrap(SEED, null), refusedAs('unavailable')),
      t.rejects(store.users.change(alice.id, { fullName: 'x' }, null, NOW), { retryAfter: 1, message: /not available/ })
    ])
    const took = performance.now() - start
    t.ok(took > 1500 && took < 10_000, `took ${Math.round(took)} ms`)
    await release()
    await store.users.create(bob, null)
    t.strictSame(await store.users.get(alice.id), asUser(alice))
  })

  t.test('a store that was never used can be closed, and one that was closed refuses', async (t) => {
    const { another, store } = await migrated(t)
    const unused = another()
    await unused.close()
    await unused.close()
    await store.close()
    await t.rejects(store.users.get('x'))
  })
}
