import { randomUUIDv7 } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { type Caller, OPERATOR, SYSTEM } from '../../src/domain/caller.ts'
import type { Client } from '../../src/domain/model.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addUser,
  asCaller,
  CLIENT,
  entriesAfter,
  NOW,
  newSecret,
  newUser,
  refusedAs,
  unique
} from './rows.ts'

const SECRETS = { othersEndAt: null, maxSecrets: 100 }

/** Roles, and the rule that a caller can give only what the caller holds. */
export function callerRights(t: Test, opened: Opened): void {
  const { store, sql } = opened
  const newRole = (scopes: string[]) => ({ name: unique('role'), description: '', scopes })

  t.test('a role is returned as created, changed and deleted', async (t) => {
    const role = newRole(['profile', 'things:read'])
    const { name } = role
    await store.roles.create(OPERATOR, { ...role, now: NOW })
    t.strictSame(await store.roles.get(name), role)
    await t.rejects(store.roles.create(OPERATOR, { ...role, now: NOW }), refusedAs('conflict'))
    const change = (changes: { description?: string; scopes?: string[] }) =>
      store.roles.change(OPERATOR, { name, changes, now: NOW })
    t.strictSame(await change({ description: 'x' }), { ...role, description: 'x' })
    t.strictSame(await change({ scopes: ['users:read', 'profile'] }), {
      name,
      description: 'x',
      scopes: ['profile', 'users:read']
    })
    t.strictSame(await change({ description: '', scopes: [] }), { ...role, scopes: [] })
    await t.rejects(change({ description: 'y', scopes: ['unknown'] }), refusedAs('invalid'))
    t.strictSame(await store.roles.get(name), { ...role, scopes: [] })
    t.equal(await store.roles.change(OPERATOR, { name: 'unknown', changes: {}, now: NOW }), null)
    const user = await addUser(store, { roles: [name, 'user'] })
    t.equal(await store.roles.delete(OPERATOR, { name, now: NOW }), true)
    t.equal(await store.roles.delete(OPERATOR, { name, now: NOW }), false)
    t.strictSame((await store.users.get(user.id))?.roles, ['user'])
  })

  t.test('a change that takes something from a role is in the revocation log, and no other is', async (t) => {
    const name = unique('role')
    const role = { kind: 'role', id: name }
    const change = (changes: { description?: string; scopes?: string[] }) => () =>
      store.roles.change(OPERATOR, { name, changes, now: NOW })
    const create = () => store.roles.create(OPERATOR, { name, description: '', scopes: ['profile'], now: NOW })
    const remove = () => store.roles.delete(OPERATOR, { name, now: NOW })
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a new role', create, []],
      ['another description', change({ description: 'x' }), []],
      ['one more scope', change({ scopes: ['profile', 'things:read'] }), []],
      ['the same scopes', change({ scopes: ['things:read', 'profile'] }), []],
      ['a removed and an added scope', change({ scopes: ['profile', 'users:read'] }), [role]],
      ['no scopes', change({ scopes: [] }), [role]],
      ['no scopes again', change({ scopes: [] }), []],
      ['a deletion', remove, [role]],
      ['a deletion of an unknown role', remove, []]
    ]
    for (const [step, run, expected] of steps) {
      const before = await store.revocations.seq()
      await run()
      t.strictSame(await entriesAfter(store, before), expected, step)
    }
  })

  t.test('a deletion of a role waits for a transaction that gives the role to a user', async (t) => {
    const [{ id }, { name }] = [await addUser(store), newRole([])]
    await store.roles.create(OPERATOR, { name, description: '', scopes: [], now: NOW })
    const commit = await opened.hold(t, `insert into user_roles values ('${id}', '${name}')`)
    const deletion = store.roles.delete(OPERATOR, { name, now: NOW })
    await sleep(50)
    await commit()
    t.equal(await deletion, true)
    t.strictSame((await store.users.get(id))?.roles, ['reader', 'user'])
  })

  t.test('a caller gives only roles and scopes that the caller holds; an operator gives everything', async (t) => {
    const [alice, off] = [await addUser(store), await addUser(store)]
    await store.users.change(OPERATOR, { id: off.id, changes: { disabled: true }, now: NOW })
    const bob = await addUser(store, { roles: [] })
    await addUser(store, { roles: ['admin'] })
    const [allowed, forbidden, admin] = [newRole(['profile']), newRole(['users:read']), newRole(['profile'])]
    for (const role of [forbidden, admin]) await store.roles.create(OPERATOR, { ...role, now: NOW })
    const setRoles = (caller: Caller, roles: string[]) =>
      store.users.change(caller, { id: bob.id, changes: { roles }, now: NOW })
    const byAlice = asCaller(alice.id)
    const refused: (() => Promise<unknown>)[] = [
      () => store.users.create(byAlice, newUser({ roles: ['admin'] })),
      () => store.users.create(byAlice, newUser({ roles: ['user', forbidden.name] })),
      () => setRoles(byAlice, ['admin']),
      () => setRoles(byAlice, [forbidden.name]),
      () => setRoles(asCaller(off.id), ['user']),
      () => setRoles(asCaller(randomUUIDv7()), ['user']),
      () => setRoles(SYSTEM, ['user']),
      () => store.roles.create(byAlice, { ...newRole(['users:read']), now: NOW }),
      () => store.roles.change(byAlice, { name: 'user', changes: { scopes: ['profile', 'users:read'] }, now: NOW })
    ]
    for (const call of refused) await t.rejects(call(), refusedAs('forbidden'), String(call))
    t.strictSame((await store.users.get(bob.id))?.roles, [])
    t.strictSame((await store.roles.get('user'))?.scopes, ['profile'])

    await store.roles.create(byAlice, { ...allowed, now: NOW })
    t.match(await setRoles(byAlice, ['user', allowed.name]), { roles: [allowed.name, 'user'] })
    t.match(await setRoles(OPERATOR, ['admin', forbidden.name]), { roles: ['admin', forbidden.name] })
    t.match(await setRoles(byAlice, [forbidden.name]), { roles: [forbidden.name] }, 'taking away is allowed')
  })

  t.test('only an admin gives the role admin, even when the role has no scopes', async (t) => {
    await sql("delete from role_scopes where role = 'admin'")
    const [alice, admin] = [await addUser(store), await addUser(store, { roles: ['admin'] })]
    const give = (caller: Caller) => store.users.create(caller, newUser({ roles: ['admin'] }))
    await t.rejects(give(asCaller(alice.id)), refusedAs('forbidden'))
    await give(asCaller(admin.id))
    await opened.seed()
  })

  t.test('a caller gives a client only scopes that the caller holds or that no user can hold', async (t) => {
    const alice = await addUser(store)
    const caller = asCaller(alice.id)
    await sql("insert into scopes values ('tokens:introspect', '', 'latchkey')")
    const mine: Client = {
      ...CLIENT,
      id: unique('mine'),
      kind: 'confidential',
      scopes: ['profile', 'tokens:introspect'],
      defaultScopes: []
    }
    await store.clients.create(caller, { client: mine, secret: null })
    const more = await addClient(store, { scopes: ['profile', 'users:read'] })
    const change = (client: Client, changes: Parameters<typeof store.clients.change>[1]['changes']) =>
      store.clients.change(caller, { id: client.id, changes, now: NOW + 1 })
    const addSecret = (by: Caller, { id }: Client) =>
      store.clients.addSecret(by, { id, secret: newSecret('x'), ...SECRETS })
    const refused: (() => Promise<unknown>)[] = [
      () => store.clients.create(caller, { client: { ...more, id: 'x' }, secret: newSecret('x') }),
      () => change(more, { name: 'x' }),
      () => change(more, { disabled: false }),
      () => change(mine, { scopes: ['users:read'] }),
      () => addSecret(caller, more),
      () => addSecret(asCaller(randomUUIDv7()), mine)
    ]
    for (const call of refused) await t.rejects(call(), refusedAs('forbidden'), String(call))
    t.strictSame([await store.clients.get(more.id), await store.clients.get(mine.id)], [more, mine])
    t.equal(await store.clients.get('x'), null)
    t.strictSame(await store.clients.secrets(more.id, NOW), [])
    t.ok(await addSecret(caller, mine))
    t.match(await change(more, { disabled: true }), { disabledAt: NOW + 1 })
    t.match(await change(more, { scopes: ['profile'] }), { scopes: ['profile'] })
  })
}
