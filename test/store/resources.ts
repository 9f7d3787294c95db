import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Resource } from '../../src/domain/model.ts'
import type { ResourceChanges } from '../../src/domain/ports/resources.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addResource,
  entriesAfter,
  NOW,
  newResource,
  outcomes,
  ROUNDS,
  refusedAs,
  SEED,
  unique
} from './rows.ts'

type Scope = Resource['scopes'][number]

const byName = <T extends { name: string }>(list: T[]) => list.toSorted((a, b) => (a.name < b.name ? -1 : 1))
const namesOf = (scopes: Scope[]) => scopes.map(({ name }) => name)

/** Resources and their scopes. */
export function resources(t: Test, opened: Opened): void {
  const { store, others, sql } = opened
  const change = (id: string, changes: ResourceChanges, at = store) =>
    at.resources.change(OPERATOR, { id, changes, now: NOW })
  const remove = (id: string, at = store) => at.resources.delete(OPERATOR, { id, now: NOW })
  const addRole = async (scopes: string[]) => {
    const name = unique('role')
    await store.roles.create(OPERATOR, { name, description: '', scopes, now: NOW })
    return name
  }
  const changeRole = (name: string, scopes: string[], at = store) =>
    at.roles.change(OPERATOR, { name, changes: { scopes }, now: NOW })
  const changeClient = (id: string, changes: { scopes?: string[]; resources?: string[] }, at = store) =>
    at.clients.change(OPERATOR, { id, changes: { ...changes, defaultScopes: [] }, now: NOW })
  /** Returns the entries of the log as sorted texts. */
  const logged = async (after: number) =>
    (await entriesAfter(store, after)).map(({ kind, id }) => `${kind} ${id}`).toSorted()

  t.test('scopes are listed, and found by name', async (t) => {
    const registered = SEED.scopes.map((scope) => ({
      ...scope,
      identifier: scope.resourceId === 'things' ? 'https://things.example' : null
    }))
    const named = (...names: string[]) => registered.filter((scope) => names.includes(scope.name))
    t.strictSame(byName(await store.scopes.list({ after: null, limit: 100 })), byName(registered))
    t.strictSame(await store.scopes.find([]), [])
    t.strictSame(await store.scopes.find(['profile']), named('profile'))
    t.strictSame(await store.scopes.find(['profile', 'profile']), named('profile'))
    const some = await store.scopes.find(['things:read', 'none', 'profile', 'PROFILE'])
    t.strictSame(byName(some), byName(named('profile', 'things:read')))
    t.strictSame(await store.scopes.find(Array.from({ length: 1000 }, (_, index) => `x:${index}`)), [])
  })

  t.test('a resource is returned as created, and the role admin has its scopes', async (t) => {
    const resource = await addResource(store, ['a', 'b'], { introspectionClients: ['app', 'bare'] })
    const identifier = resource.identifier as string
    t.strictSame(await store.resources.get(resource.id), resource)
    t.equal(await store.resources.get('none'), null)
    const scopes = namesOf(resource.scopes)
    const ofAdmin = (await store.roles.get('admin'))?.scopes ?? []
    t.strictSame(
      ofAdmin.filter((name) => scopes.includes(name)),
      scopes
    )
    t.strictSame((await store.roles.get('nobody'))?.scopes, [])
    t.strictSame(await store.scopes.find([scopes[0] as string]), [
      { ...resource.scopes[0], resourceId: resource.id, identifier }
    ])
    const known = [identifier, resource.id, ''].map((each) => store.resources.exists(each))
    t.strictSame(await Promise.all(known), [true, false, false])
    const may = (clients: string[], of: string | null) =>
      Promise.all(
        clients.map(async (introspector) => {
          const token = { kid: '', jti: '', sid: null, sub: '', clientId: '', introspector, identifier: of ?? '' }
          const { mayIntrospect } = await store.state(token)
          t.equal(await store.resources.mayIntrospect(introspector, of), mayIntrospect, 'the state says the same')
          return mayIntrospect
        })
      )
    t.strictSame(await may(['app', 'off', 'none'], identifier), [true, false, false])
    t.strictSame(await may(['app'], 'https://things.example'), [false])
    t.strictSame(await may(['app', 'off'], null), [false, false])
    await change('latchkey', { introspectionClients: ['off'] })
    t.strictSame(await may(['app', 'off'], null), [false, true])
    t.strictSame(await may(['off'], identifier), [false])
    await change('latchkey', { introspectionClients: [] })
  })

  t.test('a resource with a taken id, identifier or scope, or an unknown client, is not added', async (t) => {
    const resource = await addResource(store, ['a'])
    for (const [code, more] of [
      ['conflict', { id: resource.id }],
      ['conflict', { identifier: resource.identifier }],
      ['conflict', { identifier: `${resource.identifier}/` }],
      ['conflict', { scopes: [{ name: unique('new'), description: '' }, ...resource.scopes] }],
      ['invalid', { introspectionClients: ['app', 'none'] }]
    ] as [Parameters<typeof refusedAs>[0], Partial<Resource>][]) {
      const other = { ...newResource(['a']), ...more }
      const created = store.resources.create(OPERATOR, { ...other, now: NOW })
      await t.rejects(created, refusedAs(code), JSON.stringify(more))
      t.strictSame(await store.resources.get(other.id), other.id === resource.id ? resource : null)
      const added = namesOf(other.scopes).filter((name) => !namesOf(resource.scopes).includes(name))
      t.strictSame(await store.scopes.find(added), [])
    }
  })

  t.test('resources are listed by id, page by page', async (t) => {
    await opened.seed()
    const more = await addResource(store, ['a'])
    const list = async (after: string | null, limit: number) =>
      (await store.resources.list({ after, limit })).map(({ id }) => id)
    t.strictSame(await list(null, 10), ['latchkey', more.id, 'things'])
    t.strictSame(await list(null, 2), ['latchkey', more.id])
    t.strictSame(await list(more.id, 2), ['things'])
    t.strictSame(await list('things', 2), [])
    t.strictSame((await store.resources.list({ after: 'latchkey', limit: 1 }))[0], more)
  })

  t.test('change changes the given members only', async (t) => {
    const resource = await addResource(store, ['a', 'b'])
    const { id, scopes } = resource
    const [a, b] = scopes as [Scope, Scope]
    const before = await store.revocations.seq()
    t.strictSame(await change(id, { name: 'x' }), { ...resource, name: 'x' })
    t.strictSame(await change(id, { introspectionClients: ['off', 'app'] }), {
      ...resource,
      name: 'x',
      introspectionClients: ['app', 'off']
    })
    t.strictSame(await change(id, { introspectionClients: [] }), { ...resource, name: 'x' })
    const c = { name: `${id}:c`, description: 'new' }
    t.strictSame((await change(id, { scopes: (current) => [...current, c] }))?.scopes, [...scopes, c])
    t.ok((await store.roles.get('admin'))?.scopes.includes(c.name))
    const described = { ...a, description: 'y' }
    t.strictSame((await change(id, { scopes: () => [described, b, c] }))?.scopes, [described, b, c])
    t.strictSame(await logged(before), [])

    const taken = { name: 'profile', description: '' }
    await t.rejects(change(id, { name: 'z', scopes: () => [taken] }), refusedAs('conflict'))
    await t.rejects(change(id, { name: 'z', introspectionClients: ['none'] }), refusedAs('invalid'))
    const undecided = (): Scope[] => {
      throw new Error('undecided')
    }
    await t.rejects(change(id, { name: 'z', scopes: undecided }), { message: 'undecided' })
    t.strictSame(await store.resources.get(id), { ...resource, name: 'x', scopes: [described, b, c] })
    t.equal(await change('none', { name: 'x' }), null)
  })

  t.test('a removed scope is removed from every role and client, with entries in the log', async (t) => {
    const { id, scopes } = await addResource(store, ['a', 'b'])
    const [a, b] = namesOf(scopes) as [string, string]
    const client = await addClient(store, { scopes: [a, b], defaultScopes: [b] })
    const role = await addRole([b])
    const before = await store.revocations.seq()
    const changed = await change(id, { scopes: (current) => current.filter(({ name }) => name !== b) })
    t.strictSame(changed?.scopes, scopes.slice(0, 1))
    t.strictSame(await logged(before), [`client ${client.id}`, 'role admin', `role ${role}`])
    t.strictSame((await store.roles.get(role))?.scopes, [])
    t.match(await store.clients.get(client.id), { scopes: [a], defaultScopes: [] })
    t.strictSame(await store.scopes.find([b]), [])
  })

  t.test('a removal of a scope waits for a role that is getting it, and logs that role too', async (t) => {
    const { id, scopes } = await addResource(store, ['a'])
    const [a] = namesOf(scopes) as [string]
    const role = await addRole([])
    const before = await store.revocations.seq()
    const commit = await opened.hold(t, `insert into role_scopes values ('${role}', '${a}')`)
    const removal = change(id, { scopes: () => [] })
    await sleep(50)
    await commit()
    t.strictSame((await removal)?.scopes, [])
    t.strictSame((await store.roles.get(role))?.scopes, [])
    t.strictSame(await logged(before), ['role admin', `role ${role}`])
  })

  t.test('a resource is deleted with its scopes, unless a client names it', async (t) => {
    const resource = await addResource(store, ['a', 'b'])
    const similar = await addResource(store, [], { id: resource.id.replace('resource', 'resour_e') })
    const scopes = namesOf(resource.scopes)
    const client = await addClient(store, { scopes, defaultScopes: [], resources: ['things', resource.id] })
    const before = await store.revocations.seq()
    await t.rejects(remove(resource.id), refusedAs('conflict'))
    t.strictSame(await store.resources.get(resource.id), resource)
    t.equal(await remove(similar.id), true, 'the client does not name the one with a similar id')
    await changeClient(client.id, { resources: ['things'] })
    t.equal(await remove(resource.id), true)
    t.equal(await remove(resource.id), false)
    t.equal(await store.resources.get(resource.id), null)
    t.strictSame(await store.scopes.find(scopes), [])
    t.strictSame((await store.clients.get(client.id))?.scopes, [])
    t.strictSame(await logged(before), [`client ${client.id}`, 'role admin'])
  })

  t.test('a scope that is removed while roles and clients get it belongs to none afterwards', async (t) => {
    const resource = await addResource(store, ['a', 'b'])
    const [a, b] = resource.scopes as [Scope, Scope]
    const both = [a.name, b.name]
    const [role, client] = [await addRole([]), await addClient(store)]
    const [one, two, three, four] = others
    const seen: Record<string, number> = {}
    for (let round = 0; round < ROUNDS; round++) {
      const calls = [
        change(resource.id, { scopes: (current) => current.filter(({ name }) => name !== b.name) }, one),
        changeRole(role, both, two),
        changeClient(client.id, { scopes: both }, three),
        change(resource.id, { name: `name ${round}` }, four)
      ]
      for (const [name, count] of Object.entries(await outcomes(calls))) seen[name] = (seen[name] ?? 0) + count
      const left = await sql(
        `select scope from role_scopes where scope = '${b.name}' union all select scope from client_scopes where scope = '${b.name}'`
      )
      if (left.length > 0) t.strictSame(left, [], `round ${round}`)
      t.match(await store.resources.get(resource.id), { name: `name ${round}`, scopes: [a] })
      await change(resource.id, { scopes: () => [a, b] })
      // Every second round begins with a role and a client that have the scope.
      if (round % 2 === 0) {
        await changeRole(role, both)
        await changeClient(client.id, { scopes: both })
      }
    }
    const { done = 0, invalid = 0, conflict = 0 } = seen
    t.equal(done + invalid + conflict, 4 * ROUNDS, JSON.stringify(seen))
    t.ok(done >= 2 * ROUNDS, JSON.stringify(seen))
  })

  t.test('a resource that a client is being given is not deleted', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const [resource, { id }] = [await addResource(store), await addClient(store)]
      const counts = await outcomes([
        remove(resource.id, others[0]),
        changeClient(id, { resources: [resource.id] }, others[1])
      ])
      const [left, client] = [await store.resources.get(resource.id), await store.clients.get(id)]
      const isNamed = client?.resources.length === 1
      if (counts.done !== 1 || isNamed !== (left !== null))
        t.strictSame([counts.done, isNamed], [1, left !== null], `round ${round}`)
    }
  })
}
