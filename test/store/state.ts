import { randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { LiveState } from '../../src/domain/ports/revocations.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Opened } from './open.ts'
import {
  addSession,
  addUser,
  asUser,
  NOW,
  newSession,
  newUser,
  notIntrospected,
  openSession,
  ROUNDS,
  refusedAs,
  SEED
} from './rows.ts'

const CLIENT_STATE = { disabledAt: null, firstParty: true, roles: null, revokedSeq: 0 }

/** Reads that must see every commit, calls to a locked database, and calls to a closed store. */
export function state(t: Test, opened: Opened): void {
  const { store, others, sql } = opened

  t.test('the state of something that does not exist is null', async (t) => {
    const alice = await addUser(store)
    const none = { kid: 'none', jti: 'none', sid: randomUUIDv7(), sub: randomUUIDv7(), clientId: 'none' }
    const unknown = notIntrospected(none)
    const nothing = { keyState: null, session: null, revoked: false, user: null, client: null, mayIntrospect: false }
    t.strictSame(await store.state(unknown), nothing)
    t.strictSame(await store.state({ ...unknown, sid: null }), nothing)
    t.strictSame(await store.state({ ...unknown, kid: 'next' }), { ...nothing, keyState: 'next' })
    t.strictSame(await store.state({ ...unknown, clientId: 'bare' }), {
      ...nothing,
      client: { ...CLIENT_STATE, scopes: [] }
    })
    t.equal((await store.state({ ...unknown, sub: alice.id })).session, null, 'a session is read by its own id only')
  })

  t.test('the state includes every commit, also the commits of another connection', async (t) => {
    await opened.seed()
    const alice = await addUser(store)
    const session = await addSession(store, alice.id)
    const ref = notIntrospected({ kid: 'signing', jti: 'a', sid: session.id, sub: alice.id, clientId: 'app' })
    const read = async (): Promise<LiveState> => {
      const { user, client, ...rest } = await store.state(ref)
      return {
        ...rest,
        user: user && { ...user, scopes: [...new Set(user.scopes)].toSorted() },
        client: client && { ...client, scopes: client.scopes.toSorted() }
      }
    }
    const times = { idleExpiresAt: NOW + 3_600_000, expiresAt: NOW + 86_400_000 }
    const living = { userId: alice.id, clientId: 'app', ...times, endedAt: null, revokedSeq: 0 }
    const known = asUser(alice)
    let expected: LiveState = {
      keyState: 'signing',
      session: living,
      revoked: false,
      user: { ...known, scopes: ['profile', 'things:read'] },
      client: { ...CLIENT_STATE, scopes: ['profile', 'things:read'] },
      mayIntrospect: false
    }
    t.strictSame(await read(), expected)

    const both = ['profile', 'users:read']
    const steps: [string, Partial<LiveState>][] = [
      ["delete from user_roles where role = 'reader'", { user: { ...known, roles: ['user'], scopes: ['profile'] } }],
      ["insert into role_scopes values ('user', 'users:read')", { user: { ...known, roles: ['user'], scopes: both } }],
      [`update users set disabled_at = ${NOW}`, { user: { ...known, disabledAt: NOW, roles: ['user'], scopes: both } }],
      ["delete from client_scopes where scope = 'profile'", { client: { ...CLIENT_STATE, scopes: ['things:read'] } }],
      [
        `update clients set disabled_at = ${NOW + 1}, revoked_seq = 7`,
        { client: { ...CLIENT_STATE, disabledAt: NOW + 1, scopes: ['things:read'], revokedSeq: 7 } }
      ],
      [
        "update clients set roles = 'reader user', first_party = 0",
        {
          client: {
            disabledAt: NOW + 1,
            firstParty: false,
            roles: ['reader', 'user'],
            scopes: ['things:read'],
            revokedSeq: 7
          }
        }
      ],
      ['update sessions set revoked_seq = 8', { session: { ...living, revokedSeq: 8 } }],
      [`update sessions set ended_at = ${NOW + 2}`, { session: { ...living, revokedSeq: 8, endedAt: NOW + 2 } }],
      ["update signing_keys set state = 'retired' where kid = 'signing'", { keyState: 'retired' }],
      ['delete from user_roles', { user: { ...known, disabledAt: NOW, roles: [], scopes: [] } }],
      [`delete from users where id = '${alice.id}'`, { user: null, session: null }]
    ]
    for (const [statement, change] of steps) {
      await sql(statement)
      expected = { ...expected, ...change }
      t.strictSame(await read(), expected, statement)
    }
    await opened.seed()
  })

  t.test('an instance reads in its next call what another instance has committed', async (t) => {
    const { id } = await addUser(store)
    const stale: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const [writer, reader] = [others[round % 2] as Store, others[(round + 1) % 2] as Store]
      const fullName = `name ${round}`
      await writer.users.change(OPERATOR, { id, changes: { fullName }, now: NOW + round })
      if ((await reader.users.get(id))?.fullName !== fullName) stale.push(round)
    }
    t.strictSame(stale, [])
  })

  t.test('a database that keeps writers waiting is unavailable, and works again afterwards', async (t) => {
    const [alice, bob] = [await addUser(store), newUser()]
    const locks = opened.kind === 'postgres' ? ['lock table users, invariants in access exclusive mode'] : []
    const release = await opened.hold(t, ...locks)
    const change = { id: alice.id, changes: { fullName: 'x' }, now: NOW }
    // All these calls are rejected while the lock is still held.
    await Promise.all([
      t.rejects(store.users.create(OPERATOR, bob), refusedAs('unavailable')),
      t.rejects(openSession(store, newSession(alice.id)), refusedAs('unavailable')),
      t.rejects(store.setUp(OPERATOR, { seed: SEED, admin: null }), refusedAs('unavailable')),
      t.rejects(store.users.change(OPERATOR, change), { retryAfter: 1, message: /not available/ })
    ])
    await release()
    await store.users.create(OPERATOR, bob)
    t.strictSame(await store.users.get(alice.id), asUser(alice))
  })

  t.test('a store that was never used can be closed, and a closed store rejects calls', async (t) => {
    const [unused, used] = [await opened.another(t), await opened.another(t)]
    await unused.close()
    await unused.close()
    t.equal(await used.users.get('x'), null)
    await used.close()
    await t.rejects(used.users.get('x'))
  })
}
