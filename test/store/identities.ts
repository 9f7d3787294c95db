import { randomUUIDv7 } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { LinkedIdentity } from '../../src/domain/ports/identities.ts'
import { IDENTITIES_MAX } from '../../src/limits.ts'
import type { Opened } from './open.ts'
import { addUser, asUser, NOW, newUser, ROUNDS, unique } from './rows.ts'

const HOUR = 3_600_000
const ISSUER = 'https://provider.example'

const newIdentity = (userId: string, more: Partial<LinkedIdentity> = {}): LinkedIdentity => ({
  provider: 'one',
  issuer: ISSUER,
  subject: unique('subject'),
  userId,
  label: 'alice@example.com',
  createdAt: NOW,
  lastUsedAt: null,
  ...more
})
const withoutPassword = (more = {}) => ({ ...newUser(more), passwordHash: null })
const typesOf = (events: Opened['events']) => events.splice(0).map(({ type }) => type)

/** Identities at providers. */
export function identities(t: Test, { store, others, sql, hold, events }: Opened): void {
  t.before(async () => {
    for (const id of ['one', 'two'])
      await sql(`insert into providers (id, kind, name, client_id, sealed_client_secret, settings, version, created_at, updated_at)
        values ('${id}', 'oidc', '${id}', 'latchkey', '', '{}', 1, ${NOW}, ${NOW})`)
  })
  const link = (identity: LinkedIdentity, authVersion = 1) => store.identities.link(OPERATOR, { identity, authVersion })
  const unlink = (identity: LinkedIdentity, at = store) =>
    at.identities.unlink(OPERATOR, { userId: identity.userId, key: identity })

  t.test('an identity is found by provider, issuer and subject, and by nothing else [SL3]', async (t) => {
    const alice = await addUser(store)
    const identity = newIdentity(alice.id)
    events.length = 0
    t.equal(await link(identity), 'linked')
    t.equal(await link(identity), 'linked', 'again')
    t.strictSame(
      events.splice(0).map(({ type, subject, reason }) => ({ type, subject, reason })),
      [{ type: 'identity.linked', subject: { user: alice.id, provider: 'one' }, reason: identity.subject }]
    )
    t.strictSame(await store.identities.list(alice.id), [identity])
    t.strictSame(await store.identities.find(identity), {
      user: { ...asUser(alice), roles: alice.roles.toSorted() },
      authVersion: 1
    })
    for (const other of [{ provider: 'two' }, { issuer: `${ISSUER}/` }, { subject: identity.subject.toUpperCase() }])
      t.equal(await store.identities.find({ ...identity, ...other }), null, JSON.stringify(other))
  })

  t.test('an identity belongs to one user', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const identity = newIdentity(alice.id)
    await link(identity)
    t.equal(await link({ ...identity, userId: bob.id }), 'taken')
    t.equal(await store.identities.create(OPERATOR, withoutPassword(), identity), false)
    t.equal((await store.identities.find(identity))?.user.id, alice.id)
    t.equal(await link({ ...identity, userId: bob.id, issuer: 'https://other.example' }), 'linked')
  })

  t.test('nothing is linked to a user who was changed since the proof, is disabled or does not exist', async (t) => {
    const alice = await addUser(store)
    t.equal(await link(newIdentity(alice.id), 2), 'changed')
    t.equal(await link(newIdentity(randomUUIDv7())), 'changed')
    await store.users.change(OPERATOR, { id: alice.id, changes: { disabled: true }, now: NOW })
    t.equal(await link(newIdentity(alice.id), 2), 'changed')
    t.strictSame(await store.identities.list(alice.id), [])
  })

  t.test('a user has a limited number of identities', async (t) => {
    const alice = await addUser(store)
    const many = Array.from({ length: IDENTITIES_MAX }, () => newIdentity(alice.id))
    for (const identity of many) await link(identity)
    t.equal(await link(newIdentity(alice.id)), 'full')
    t.equal((await store.identities.list(alice.id)).length, IDENTITIES_MAX)
  })

  t.test('a use is recorded once an hour', async (t) => {
    const alice = await addUser(store)
    const identity = newIdentity(alice.id)
    await link(identity)
    const usedAt = async (now: number) => {
      await store.identities.use(identity, now)
      return (await store.identities.list(alice.id))[0]?.lastUsedAt
    }
    t.equal(await usedAt(NOW), NOW)
    t.equal(await usedAt(NOW + HOUR - 1), NOW)
    t.equal(await usedAt(NOW + HOUR), NOW + HOUR)
  })

  t.test('a user who was created by an identity has no password until one is set', async (t) => {
    const alice = withoutPassword({ roles: ['user'] })
    const identity = newIdentity(alice.id)
    events.length = 0
    t.equal(await store.identities.create(OPERATOR, alice, identity), true)
    t.strictSame(typesOf(events), ['user.created', 'identity.linked'])
    const credentials = () => store.users.credentials(alice.usernameKey)
    t.strictSame(await credentials(), { user: asUser(alice), passwordHash: null, authVersion: 1 })
    await store.users.setPassword(OPERATOR, { id: alice.id, hash: 'new', from: 1, keep: null, now: NOW })
    t.match(await credentials(), { passwordHash: 'new', authVersion: 2 })
  })

  t.test('a refused creation creates nothing', async (t) => {
    const taken = await addUser(store)
    const alice = withoutPassword({ username: taken.username, usernameKey: taken.usernameKey })
    const identity = newIdentity(alice.id)
    await t.rejects(store.identities.create(OPERATOR, alice, identity), { code: 'conflict' })
    t.equal(await store.identities.find(identity), null)
    const missing = newIdentity('', { provider: 'none' })
    await t.rejects(store.identities.create(OPERATOR, withoutPassword(), missing))
    t.equal(await store.identities.find(missing), null)
  })

  t.test('concurrent creations for one identity create one user', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const subject = unique('raced')
      const username = unique('raced')
      const calls = Array.from({ length: 10 }, (_, index) => {
        // Half of them want the same username.
        const user = withoutPassword(index % 2 === 0 ? { username } : {})
        const at = [store, ...others][index % 5] ?? store
        return at.identities.create(OPERATOR, user, newIdentity(user.id, { subject }))
      })
      const results = await Promise.all(calls)
      if (results.filter(Boolean).length !== 1) t.fail(`round ${round}: ${results}`)
      const found = await sql(`select user_id from identities where subject = '${subject}'`)
      if (found.length !== 1) t.fail(`round ${round}: ${found.length} identities`)
    }
  })

  t.test('a creation that meets a link of the same identity creates no user', async (t) => {
    const bob = await addUser(store)
    const alice = withoutPassword()
    const identity = newIdentity(alice.id)
    const commit = await hold(
      t,
      `insert into identities values ('one', '${ISSUER}', '${identity.subject}', '${bob.id}', null, ${NOW}, null)`
    )
    const creation = store.identities.create(OPERATOR, alice, identity)
    await sleep(50) // enough for the insert to wait
    await commit()
    t.equal(await creation, false)
    t.equal(await store.users.get(alice.id), null)
  })

  t.test('the last way in cannot be removed, also by two removals at once', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const alice = withoutPassword()
      const [first, second] = [newIdentity(alice.id), newIdentity(alice.id, { provider: 'two' })]
      await store.identities.create(OPERATOR, alice, first)
      await link(second)
      const results = await Promise.all([unlink(first), unlink(second, others[0])])
      if (results.toSorted().join() !== 'last,removed') t.fail(`round ${round}: ${results}`)
      if ((await store.identities.list(alice.id)).length !== 1) t.fail(`round ${round}: none is left`)
    }
    const bob = await addUser(store)
    const identity = newIdentity(bob.id)
    await link(identity)
    events.length = 0
    t.equal(await unlink(identity), 'removed', 'the user has a password')
    t.strictSame(typesOf(events), ['identity.unlinked'])
    t.equal(await unlink(identity), 'unknown')
  })

  t.test('nobody unlinks the identity of another user', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const identity = newIdentity(alice.id)
    await link(identity)
    t.equal(await unlink({ ...identity, userId: bob.id }), 'unknown')
    t.strictSame(await store.identities.list(alice.id), [identity])
  })

  t.test('the identities of a deleted user are free', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const identity = newIdentity(alice.id)
    await link(identity)
    await store.users.delete(OPERATOR, { id: alice.id, now: NOW })
    t.equal(await store.identities.find(identity), null)
    t.equal(await link({ ...identity, userId: bob.id }), 'linked')
  })
}
