import { randomUUIDv7 } from 'node:crypto'
import { Kysely } from 'kysely'
import type { Test } from 'tap'
import { OPERATOR, SYSTEM } from '../../src/domain/caller.ts'
import type { Event, EventType, Subject } from '../../src/domain/events.ts'
import type { Resource } from '../../src/domain/model.ts'
import { translateErrors } from '../../src/store/errors.ts'
import type { Tables } from '../../src/store/schema.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { createDatabase } from '../../src/store/transaction.ts'
import { type Opened, recording } from './open.ts'
import {
  addClient,
  addResource,
  addSession,
  addUser,
  asCaller,
  CLIENT,
  NOW,
  newKey,
  newResource,
  newRevoked,
  newSecret,
  newSession,
  newUser,
  SEED,
  unique
} from './rows.ts'

/** A call with the events that it must record: type, subject and reason of each. */
type Step = [call: () => Promise<unknown>, ...events: [type: EventType, subject: Subject, reason?: string][]]

const RENAMED = { name: 'x' }

export function events(t: Test, opened: Opened): void {
  const { store } = opened
  const caller = asCaller(randomUUIDv7())

  /** Runs the calls one after the other. Each must record its events and no other. */
  async function assertRecorded(t: Test, steps: Step[], outcome: Event['outcome'] = 'success'): Promise<void> {
    for (const [call, ...expected] of steps) {
      const { recorded } = await recording(opened, call())
      const events = expected.map(([type, subject, reason]) => ({
        type,
        caller: OPERATOR,
        subject,
        outcome,
        ...(reason === undefined ? {} : { reason })
      }))
      t.same(recorded, events, String(call))
    }
  }

  t.test('changes of users', async (t) => {
    const user = newUser({ roles: ['user'] })
    const { id, username } = user
    const subject = { user: id, username }
    const change = (changes: Parameters<typeof store.users.change>[1]['changes']) => () =>
      store.users.change(OPERATOR, { id, changes, now: NOW + 1 })
    const remove = () => store.users.delete(OPERATOR, { id, now: NOW })
    const setPassword = (from: number | null) => () =>
      store.users.setPassword(OPERATOR, { id, hash: 'x', from, keep: null, now: NOW })
    await assertRecorded(t, [
      [() => store.users.create(OPERATOR, user), ['user.created', subject, 'roles added: user']],
      [change({})],
      [change({ fullName: null, roles: ['user'], disabled: false }), ['user.changed', subject, 'unlocked']],
      [change({ fullName: 'x', email: 'y', emailKey: 'y' }), ['user.changed', subject, 'email; fullName']],
      [
        change({ roles: ['nobody', 'reader'] }),
        ['user.changed', subject, 'roles added: nobody, reader; roles removed: user']
      ],
      [change({ disabled: true, fullName: 'z' }), ['user.changed', subject, 'fullName; disabled']],
      [change({ disabled: true })],
      [change({ disabled: false }), ['user.changed', subject, 'enabled']],
      [setPassword(99)],
      [setPassword(null), ['password.reset', { user: id }]],
      [() => store.users.replaceHash(id, 'x', 'y')],
      [remove, ['user.deleted', subject]],
      [remove],
      [change({ fullName: 'x' })]
    ])
  })

  t.test('a password that a user sets is changed, one that another user sets is reset', async (t) => {
    const { id } = await addUser(store)
    const setBy = (by: typeof caller) =>
      recording(opened, store.users.setPassword(by, { id, hash: 'x', from: null, keep: null, now: NOW }))
    const own = asCaller(id)
    const expected = { subject: { user: id }, outcome: 'success' }
    t.strictSame((await setBy(own)).recorded, [{ type: 'password.changed', caller: own, ...expected }])
    t.strictSame((await setBy(caller)).recorded, [{ type: 'password.reset', caller, ...expected }])
  })

  t.test('changes of roles', async (t) => {
    const name = unique('role')
    const role = { name, description: '', scopes: ['profile'], now: NOW }
    const change = (changes: { description?: string; scopes?: string[] }) => () =>
      store.roles.change(OPERATOR, { name, changes, now: NOW })
    const remove = () => store.roles.delete(OPERATOR, { name, now: NOW })
    await assertRecorded(t, [
      [() => store.roles.create(OPERATOR, role), ['role.created', { role: name }, 'scopes added: profile']],
      [change({ description: '', scopes: ['profile'] })],
      [
        change({ description: 'x', scopes: ['users:read'] }),
        ['role.changed', { role: name }, 'description; scopes added: users:read; scopes removed: profile']
      ],
      [change({ description: 'y' }), ['role.changed', { role: name }, 'description']],
      [remove, ['role.deleted', { role: name }]],
      [remove],
      [change({ description: 'x' })]
    ])
  })

  t.test('changes of clients', async (t) => {
    const client = { ...CLIENT, id: unique('client'), grantTypes: ['password'], resources: ['things'] }
    const { id } = client
    const subject = { client: id }
    const secret = newSecret('hash')
    const change = (changes: Parameters<typeof store.clients.change>[1]['changes']) => () =>
      store.clients.change(OPERATOR, { id, changes, now: NOW + 1 })
    const remove = () => store.clients.delete(OPERATOR, { id, now: NOW })
    const deleteSecret = () => store.clients.deleteSecret(OPERATOR, { id, secretId: secret.id })
    const addSecret = (to: string) => () =>
      store.clients.addSecret(OPERATOR, { id: to, secret, othersEndAt: null, maxSecrets: 2 })
    const given = 'grantTypes added: password; scopes added: profile, things:read; resources added: things'
    await assertRecorded(t, [
      [() => store.clients.create(OPERATOR, { client, secret: null }), ['client.created', subject, given]],
      [change({ ...RENAMED, redirectUris: [] }), ['client.changed', subject, 'name']],
      [change(RENAMED)],
      [
        change({ scopes: ['profile', 'users:read'], accessTokenTtl: 5 }),
        ['client.changed', subject, 'scopes added: users:read; scopes removed: things:read; accessTokenTtl']
      ],
      [change({ resources: ['latchkey', 'things'] }), ['client.changed', subject, 'resources added: latchkey']],
      [change({ resources: ['things', 'latchkey'] }), ['client.changed', subject, 'resources']],
      [change({ disabled: true }), ['client.changed', subject, 'disabled']],
      [change({ disabled: false }), ['client.changed', subject, 'enabled']],
      [addSecret(id), ['client.secret_added', { ...subject, secret: secret.id }]],
      [addSecret('unknown')],
      [() => store.clients.recordSecretUse(secret.id, NOW)],
      [() => store.clients.useAssertion(id, 'x', NOW)],
      [deleteSecret, ['client.secret_deleted', { ...subject, secret: secret.id }]],
      [deleteSecret],
      [remove, ['client.deleted', subject]],
      [remove],
      [change(RENAMED)]
    ])
  })

  t.test('changes of resources', async (t) => {
    const resource = newResource(['a'], { introspectionClients: ['app'] })
    const { id, scopes } = resource
    const [a] = scopes as [Resource['scopes'][0]]
    const b = { name: `${id}:b`, description: '' }
    const subject = { resource: id }
    const change = (changes: Parameters<typeof store.resources.change>[1]['changes']) => () =>
      store.resources.change(OPERATOR, { id, changes, now: NOW })
    const remove = () => store.resources.delete(OPERATOR, { id, now: NOW })
    const given = `scopes added: ${a.name}; introspectionClients added: app`
    const replaced = `scopes added: ${b.name}; scopes removed: ${a.name}`
    const introspection = 'introspectionClients added: off; introspectionClients removed: app'
    await assertRecorded(t, [
      [() => store.resources.create(OPERATOR, { ...resource, now: NOW }), ['resource.created', subject, given]],
      [change({ name: id, introspectionClients: ['app'], scopes: (current) => current })],
      [change(RENAMED), ['resource.changed', subject, 'name']],
      [change({ introspectionClients: ['off'] }), ['resource.changed', subject, introspection]],
      [
        change({ scopes: () => [{ ...a, description: 'new' }] }),
        ['resource.changed', subject, 'descriptions of scopes']
      ],
      [change({ scopes: () => [b] }), ['resource.changed', subject, replaced]],
      [remove, ['resource.deleted', subject]],
      [remove],
      [change(RENAMED)]
    ])
  })

  t.test('sessions and tokens', async (t) => {
    const [{ id: user }, { id: client }] = [await addUser(store), await addClient(store)]
    const session = newSession(user, { clientId: client })
    const open = (authVersion: number) => () =>
      store.sessions.open(OPERATOR, { session, authVersion, rev: Number.MAX_SAFE_INTEGER })
    const end = (filter: Parameters<typeof store.sessions.end>[1]) => () => store.sessions.end(OPERATOR, filter)
    const jti = unique('jti')
    const all = { user, client, session: session.id }
    await assertRecorded(t, [
      [open(2)],
      [open(1), ['login.succeeded', all, 'pwd otp']],
      [end({ userId: user, except: session.id, now: NOW })],
      [end({ id: session.id, now: NOW }), ['session.ended', { session: session.id }, '1 session']],
      [end({ id: session.id, now: NOW })],
      [() => store.revocations.revokeToken(OPERATOR, newRevoked(jti)), ['token.revoked', { token: jti }]]
    ])
    for (let index = 0; index < 2; index++) await addSession(store, user, { clientId: client })
    const both = { user, client }
    await assertRecorded(t, [
      [end({ userId: user, clientId: client, now: NOW }), ['session.ended', both, '2 sessions']]
    ])
  })

  t.test('a replayed refresh token records an event, and no other renewal does', async (t) => {
    const { id: user } = await addUser(store)
    const { id: session } = await addSession(store, user)
    const rotate =
      (counter: number, leeway = 0) =>
      () =>
        store.sessions.rotate(OPERATOR, { id: session, client: CLIENT, counter, leeway, now: NOW })
    await assertRecorded(t, [[rotate(0)], [rotate(0, 10)], [rotate(5)]])
    await assertRecorded(t, [[rotate(0), ['session.replayed', { user, client: CLIENT.id, session }]]], 'failure')
    await assertRecorded(t, [[rotate(0)], [rotate(1)]])
  })

  t.test('keys and the first start', async (t) => {
    await opened.empty()
    const admin = newUser({ roles: ['admin'] })
    const { id: user, username } = admin
    const seed = { ...SEED, keys: [newKey('one', 'signing'), newKey('two', 'next')] }
    const setUp = () => store.setUp(OPERATOR, { seed, admin })
    const canary = 'sealed canary'
    const refreshKey = { id: 'second', sealedKey: 'x', createdAt: NOW }
    const clock = () => NOW
    const rotate = (next: string) => () =>
      store.keys.rotate(OPERATOR, {
        canary,
        chains: [{ signing: 'one', next: 'two', successor: newKey(next, 'next') }],
        refreshKey,
        verifiesMs: 1,
        refreshVerifiesMs: 1,
        clock
      })
    const compromise = (kid: string, next: string) => () =>
      store.keys.compromise(OPERATOR, { kid, canary, next: newKey(next, 'next'), clock })
    const otherKey = (kid: string, state: 'signing' | 'next') => ({ ...newKey(kid, state), alg: 'RS256' as const })
    const begin = () =>
      store.keys.begin(OPERATOR, { canary, signing: otherKey('r1', 'signing'), next: otherKey('r2', 'next'), clock })
    const end = () =>
      store.keys.rotate(OPERATOR, {
        canary,
        chains: [{ signing: 'r1', next: 'r2', successor: null }],
        refreshKey: null,
        verifiesMs: 1000,
        refreshVerifiesMs: 1,
        clock
      })
    const expire = () => store.keys.expire(OPERATOR, { now: NOW + 1 })
    const reseal = (suffix: string) => () => store.keys.reseal(OPERATOR, (_table, _id, sealed) => sealed + suffix)
    await assertRecorded(t, [
      [setUp, ['setup.completed', {}], ['user.created', { user, username }, 'roles added: admin']],
      [setUp],
      [rotate('three'), ['key.rotated', { key: 'two' }]],
      [rotate('four')],
      [begin, ['key.created', { key: 'r1' }, 'RS256']],
      [begin],
      [end, ['key.retired', { key: 'r2' }, 'its algorithm is not in use']],
      [expire, ['key.retired', { key: 'one' }, 'expired']],
      [expire],
      [compromise('two', 'four'), ['key.retired', { key: 'two' }, 'compromised'], ['key.rotated', { key: 'three' }]],
      [compromise('four', 'five'), ['key.retired', { key: 'four' }, 'compromised']],
      [compromise('four', 'six')],
      [reseal('')],
      [reseal('!'), ['keys.resealed', {}, 'sealed values: 5']]
    ])
    await opened.seed()
  })

  t.test('a call that is rolled back records nothing', async (t) => {
    const [user, resource] = [await addUser(store), await addResource(store, ['a'])]
    const { id } = await addClient(store, { resources: [resource.id] })
    const admin = await addUser(store, { roles: ['admin'] })
    const start = opened.events.length
    const secret = newSecret('x')
    const calls: (() => Promise<unknown>)[] = [
      () => store.users.create(OPERATOR, newUser({ username: user.username })),
      () => store.users.change(OPERATOR, { id: admin.id, changes: { disabled: true }, now: NOW }),
      () => store.users.delete(SYSTEM, { id: admin.id, now: NOW }),
      () => store.roles.create(OPERATOR, { name: 'user', description: '', scopes: [], now: NOW }),
      () => store.clients.create(OPERATOR, { client: { ...CLIENT, id }, secret: null }),
      () => store.clients.addSecret(OPERATOR, { id, secret, othersEndAt: null, maxSecrets: 0 }),
      () => store.clients.change(caller, { id, changes: RENAMED, now: NOW }),
      () => store.resources.delete(OPERATOR, { id: resource.id, now: NOW })
    ]
    for (const call of calls) await t.rejects(call(), String(call))
    t.strictSame(opened.events.slice(start), [])
  })

  t.test('events are kept after the commit, and once when a transaction runs again after a deadlock', async (t) => {
    const kept: string[] = []
    const { dialect, statements } = openSqlite(':memory:')
    const db = new Kysely<Tables>({ dialect })
    t.teardown(() => db.destroy())
    const { transaction } = createDatabase({ db, statements }, { record: ({ type }) => kept.push(type) })
    const deadlock = Object.assign(new Error('planted by a test'), { code: '40P01' })
    let runs = 0
    const { run } = translateErrors({
      run: () =>
        transaction(async (_trx, record) => {
          record({ type: 'setup.completed', caller: SYSTEM, subject: {} })
          if (++runs < 3) throw deadlock
          return kept.length
        })
    })
    t.equal(await run(), 0, 'not within the transaction')
    t.strictSame([runs, kept], [3, ['setup.completed']])
    runs = -9
    await t.rejects(run(), { code: 'unavailable' }, 'the third deadlock is final')
    t.equal(kept.length, 1)
  })
}
