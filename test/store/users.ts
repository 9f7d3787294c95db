import { randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { User } from '../../src/domain/model.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { NewUser, UserChanges } from '../../src/domain/ports/users.ts'
import type { Opened } from './open.ts'
import {
  addSession,
  addUser,
  asUser,
  CLIENT,
  entriesAfter,
  NOW,
  newUser,
  outcomes,
  ROUNDS,
  refusedAs,
  unique
} from './rows.ts'

export function users(t: Test, opened: Opened): void {
  const { store, others } = opened
  const create = (user: NewUser, at: Store = store) => at.users.create(OPERATOR, user)
  const change = (id: string, changes: UserChanges, now = NOW) => store.users.change(OPERATOR, { id, changes, now })

  t.test('a user is returned as created, without the password', async (t) => {
    const user = newUser({
      username: unique('Böb'),
      email: `${unique('Bob')}@Example.com`,
      fullName: '👩‍🚀 O’Neil "x" \\ \'',
      roles: ['admin', 'reader', 'user'],
      now: NOW + 5
    })
    await create(user)
    t.strictSame(await store.users.get(user.id), asUser(user))
    t.equal(await store.users.get(randomUUIDv7()), null)
    t.equal(await store.users.get(user.username), null)
  })

  t.test(
    'a sample of the hashes has the same users each time, at most the given number, and only the beginning of each hash',
    async (t) => {
      const added: string[] = []
      for (let index = 0; index < 4; index++) {
        const user = newUser({ passwordHash: `$argon2id$v=19$m=1,t=${index},p=1$${'x'.repeat(200)}` })
        await create(user)
        added.push(String(user.passwordHash).slice(0, 64))
      }
      const all = await store.users.hashSample(1000)
      for (const head of added) t.ok(all.includes(head))
      t.strictSame(await store.users.hashSample(3), all.slice(0, 3))
      t.strictSame(await others[0].users.hashSample(1000), all)
    }
  )

  t.test('of parallel names that mix scripts and look alike one is stored, on any instance', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const lookAlike = unique('same').toLowerCase()
      const all = [store, ...others]
      const results = await outcomes(all.map((at) => create(newUser({ lookAlike, mixesScripts: true }), at)))
      t.strictSame(results, { done: 1, conflict: all.length - 1 })
    }
    const { lookAlike } = await addUser(store)
    await t.rejects(create(newUser({ lookAlike, mixesScripts: true })), refusedAs('conflict'))
    await t.resolves(create(newUser({ lookAlike })), 'a name in one script')
  })

  t.test('roles are returned in the order of their names', async (t) => {
    const { id } = await addUser(store, { roles: ['user', 'admin', 'reader'] })
    t.strictSame((await store.users.get(id))?.roles, ['admin', 'reader', 'user'])
  })

  t.test('two users cannot have the same canonical username', async (t) => {
    const alice = await addUser(store)
    const user = newUser({ username: alice.username.toUpperCase(), roles: ['user'] })
    await t.rejects(create(user), refusedAs('conflict'))
    t.equal(await store.users.get(user.id), null)
    t.equal((await store.users.credentials(user.usernameKey))?.user.id, alice.id)
  })

  t.test('a user with a role that does not exist is not added', async (t) => {
    const user = newUser({ roles: ['user', 'unknown'] })
    await t.rejects(create(user), refusedAs('invalid'))
    t.equal(await store.users.get(user.id), null)
    t.equal(await store.users.credentials(user.usernameKey), null)
    await create({ ...user, roles: ['user'] })
  })

  t.test('of eight users with one name, added concurrently, one is added', async (t) => {
    for (let round = 0; round < Math.ceil(ROUNDS / 10); round++) {
      const username = unique('name')
      const users = Array.from({ length: 8 }, () => newUser({ username, roles: ['user'] }))
      const calls = users.map((user, index) => create(user, others[index % 4]))
      t.strictSame(await outcomes(calls), { done: 1, conflict: 7 })
      const present = await Promise.all(users.map((user) => store.users.get(user.id)))
      t.equal(present.filter((user) => user !== null).length, 1)
    }
  })

  t.test('of a user and a client with one name, added concurrently, one is added', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const name = unique('Robot')
      const [one, two] = round % 2 === 0 ? others : others.toReversed()
      const [first, second] = [one as Store, two as Store]
      const other = await addUser(store)
      const profile = { username: name, usernameKey: name.toLowerCase() }
      const user = (): Promise<unknown> =>
        round % 3 === 0
          ? first.users.change(OPERATOR, { id: other.id, changes: profile, now: NOW })
          : create(newUser({ username: name }), first)
      const client = { ...CLIENT, id: name.toUpperCase() }
      const counts = await outcomes([user(), second.clients.create(OPERATOR, { client, secret: null })])
      const isUser = (await store.users.credentials(name.toLowerCase())) !== null
      const isClient = (await store.clients.get(name.toUpperCase())) !== null
      if (isUser === isClient || counts.done !== 1 || counts.conflict !== 1)
        t.strictSame([counts, isUser, isClient], [{ done: 1, conflict: 1 }, true, false], `round ${round}`)
    }
  })

  t.test('credentials are returned by the canonical name', async (t) => {
    const alice = await addUser(store)
    const credentials = { user: asUser(alice), passwordHash: alice.passwordHash, authVersion: 1 }
    t.strictSame(await store.users.credentials(alice.usernameKey), credentials)
    t.equal(await store.users.credentials(alice.username), null)
    t.equal(await store.users.credentials(unique('nobody')), null)
    t.equal(await store.users.credentials("' or 1=1 --"), null)
    await change(alice.id, { disabled: true }, NOW + 9)
    t.strictSame(await store.users.credentials(alice.usernameKey), {
      user: { ...asUser(alice), disabledAt: NOW + 9, updatedAt: NOW + 9 },
      passwordHash: alice.passwordHash,
      authVersion: 2
    })
  })

  t.test('users are listed by id, page by page', async (t) => {
    await opened.seed()
    const ids = Array.from({ length: 7 }, () => randomUUIDv7()).toSorted()
    const users = ids.map((id) => newUser({ id }))
    for (const user of users.toReversed()) await create(user)
    const list = async (after: string | null, limit: number) =>
      (await store.users.list({ after, limit }, {})).map((user) => user.id)
    t.strictSame(await list(null, 10), ids)
    t.strictSame(await list(null, 3), ids.slice(0, 3))
    t.strictSame(await list(ids[2] as string, 3), ids.slice(3, 6))
    t.strictSame(await list(ids[5] as string, 3), ids.slice(6))
    t.strictSame(await list(ids[6] as string, 3), [])
    t.strictSame(await list('00000000-0000-7000-8000-000000000000', 2), ids.slice(0, 2), 'after an unknown id')
    t.strictSame(await list('ffffffff-ffff-7fff-bfff-ffffffffffff', 2), [])
    t.strictSame(await store.users.list({ after: null, limit: 1 }, {}), [asUser(users[0] as NewUser)])
  })

  t.test('change changes the given members only, and null empties a member', async (t) => {
    const user = await addUser(store, { email: `${unique('b')}@example.com`, fullName: 'Bob', roles: ['user'] })
    const [c, d] = [unique('C'), unique('D')].map((name) => `${name}@example.com`) as [string, string]
    let expected = asUser(user)
    const steps: [UserChanges, Partial<User>][] = [
      [{ fullName: 'Bob B.' }, { fullName: 'Bob B.' }],
      [{ email: c, emailKey: c.toLowerCase() }, { email: c }],
      [{ fullName: null }, { fullName: null }],
      [{ email: null, emailKey: null }, { email: null }],
      [
        { email: d.toLowerCase(), emailKey: d.toLowerCase(), fullName: 'D' },
        { email: d.toLowerCase(), fullName: 'D' }
      ],
      [{ email: d, emailKey: d.toLowerCase() }, { email: d }],
      [{}, {}]
    ]
    for (const [index, [changes, result]] of steps.entries()) {
      const updatedAt = NOW + 1 + index
      expected = { ...expected, ...result, updatedAt }
      t.strictSame(await change(user.id, changes, updatedAt), expected)
      t.strictSame(await store.users.get(user.id), expected)
    }
  })

  t.test('several users may have one e-mail address, and a search finds all of them', async (t) => {
    const [alice, email] = [await addUser(store), `${unique('shared')}@example.com`]
    const bob = await addUser(store, { email })
    t.equal((await change(alice.id, { email, emailKey: email }))?.email, email)
    const found = await store.users.list({ after: null, limit: 10 }, { search: email })
    t.strictSame(found.map(({ id }) => id).toSorted(), [alice.id, bob.id].toSorted())
    t.equal(await change(randomUUIDv7(), { fullName: 'x' }), null, 'an unknown user')
  })

  t.test('a hash is replaced only if it is still the same', async (t) => {
    const alice = await addUser(store)
    const old = String(alice.passwordHash)
    const bob = await addUser(store, { passwordHash: old })
    const hashOf = async (user: NewUser) => (await store.users.credentials(user.usernameKey))?.passwordHash
    await store.users.replaceHash(alice.id, 'another hash', 'new')
    t.equal(await hashOf(alice), old)
    await store.users.replaceHash(alice.id, old, 'new')
    t.equal(await hashOf(alice), 'new')
    await store.users.replaceHash(alice.id, old, 'newer')
    t.equal(await hashOf(alice), 'new')
    await store.users.replaceHash(randomUUIDv7(), 'new', 'newer')
    t.equal(await hashOf(bob), old)
    t.equal((await store.users.credentials(alice.usernameKey))?.authVersion, 1, 'the password is the same')
  })

  t.test('the access of a user is what the roles allow now, each scope once', async (t) => {
    const [alice, nobody, none] = [await addUser(store), await addUser(store, { roles: ['nobody'] }), newUser()]
    await create(none)
    const access = async (id: string) => {
      const { roles, scopes } = (await store.users.access(id)) ?? {}
      return [roles, scopes?.toSorted()]
    }
    const both = [
      ['reader', 'user'],
      ['profile', 'things:read']
    ]
    t.strictSame(await access(alice.id), both)
    t.strictSame(await store.users.access(nobody.id), { roles: ['nobody'], scopes: [] })
    t.strictSame(await store.users.access(none.id), { roles: [], scopes: [] })
    t.equal(await store.users.access(randomUUIDv7()), null)
    await change(alice.id, { disabled: true })
    t.equal(await store.users.access(alice.id), null, 'a disabled user has none')
    await change(alice.id, { disabled: false, roles: ['user'] })
    t.strictSame(await access(alice.id), [['user'], ['profile']])
    await opened.sql(`insert into role_scopes values ('user', 'users:read')`)
    t.strictSame(await access(alice.id), [['user'], ['profile', 'users:read']])
    await opened.sql(`delete from role_scopes where role = 'user' and scope = 'users:read'`)
  })

  t.test('a change that takes something from a user is in the revocation log, and no other is', async (t) => {
    const alice = await addUser(store)
    const sessions = [0, 1, 2].map(() => addSession(store, alice.id))
    const [first, second, third] = (await Promise.all(sessions)).map(({ id }) => id).toSorted() as [string, ...string[]]
    await addSession(store, alice.id, { idleExpiresAt: NOW - 120_000 })
    const entry = { kind: 'user', id: alice.id }
    const setPassword = (from: number | null, keep: string | null) => () =>
      store.users.setPassword(OPERATOR, { id: alice.id, hash: 'new', from, keep, now: NOW })
    const changed = (changes: UserChanges) => () => change(alice.id, changes)
    const deleted = () => store.users.delete(OPERATOR, { id: alice.id, now: NOW })
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a new name', changed({ fullName: 'x' }), []],
      ['one more role', changed({ roles: ['nobody', 'reader', 'user'] }), []],
      ['the same roles', changed({ roles: ['nobody', 'reader', 'user'] }), []],
      ['enabling an enabled user', changed({ disabled: false }), []],
      ['a removed and an added role', changed({ roles: ['admin', 'reader', 'user'] }), [entry]],
      ['a password from another version', setPassword(99, null), []],
      ['a password, one session kept', setPassword(1, second as string), [first, third].map(asSession)],
      ['a password that ends no session', setPassword(2, second as string), []],
      ['a password, no session kept', setPassword(null, null), [asSession(second)]],
      ['disabling', changed({ disabled: true, roles: ['user'] }), [entry]],
      ['disabling a disabled user', changed({ disabled: true }), []],
      ['enabling', changed({ disabled: false }), []],
      ['a deletion', deleted, [entry]],
      ['a deletion of an unknown user', deleted, []]
    ]
    // A second admin, so that alice may lose the role.
    await addUser(store, { roles: ['admin'] })
    for (const [name, run, expected] of steps) {
      const before = await store.revocations.seq()
      await run()
      const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
      t.strictSame((await entriesAfter(store, before)).toSorted(byId), expected, name)
    }
  })

  t.test('a refused change of the last admin changes nothing', async (t) => {
    await opened.seed()
    const admin = await addUser(store, { roles: ['admin'] })
    const before = await store.revocations.seq()
    await t.rejects(change(admin.id, { disabled: true }), refusedAs('conflict'))
    await t.rejects(change(admin.id, { roles: [] }), refusedAs('conflict'))
    await t.rejects(store.users.delete(OPERATOR, { id: admin.id, now: NOW }), refusedAs('conflict'))
    t.strictSame(await entriesAfter(store, before), [])
    t.equal(await store.revocations.seq(), before)
    t.strictSame(await store.users.get(admin.id), asUser(admin))
  })

  t.test('of two admins who disable each other concurrently one stays', async (t) => {
    await opened.seed()
    for (let round = 0; round < ROUNDS; round++) {
      const [one, two] = [await addUser(store, { roles: ['admin'] }), await addUser(store, { roles: ['admin'] })]
      const disable = (at: Store, { id }: NewUser) =>
        at.users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW })
      const counts = await outcomes([disable(others[0], one), disable(others[1], two)])
      if (counts.done !== 1 || counts.conflict !== 1) t.strictSame(counts, { done: 1, conflict: 1 }, `round ${round}`)
      await opened.sql('delete from users')
    }
  })
}

const asSession = (id: string | undefined) => ({ kind: 'session', id })
