import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Client, ClientSecret } from '../../src/domain/model.ts'
import type { ClientChanges } from '../../src/domain/ports/clients.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addResource,
  addSession,
  addUser,
  CLIENT,
  entriesAfter,
  NOW,
  newSecret,
  notIntrospected,
  outcomes,
  ROUNDS,
  refusedAs,
  SEED,
  sessionOf,
  unique
} from './rows.ts'

export function clients(t: Test, opened: Opened): void {
  const { store, others, sql } = opened
  const create = (client: Client, secret: ClientSecret | null = null) =>
    store.clients.create(OPERATOR, { client, secret })
  const change = (id: string, changes: ClientChanges, { now = NOW, at = store } = {}) =>
    at.clients.change(OPERATOR, { id, changes, now })
  const remove = (id: string) => store.clients.delete(OPERATOR, { id, now: NOW })
  const addSecret = (id: string) =>
    store.clients.addSecret(OPERATOR, { id, secret: newSecret('x'), othersEndAt: null, maxSecrets: 100 })

  t.test('a client is returned as stored, also a disabled one and one without scopes', async (t) => {
    t.strictSame(await store.clients.get('app'), CLIENT)
    t.strictSame(await store.clients.get('off'), { ...CLIENT, id: 'off', disabledAt: NOW })
    t.strictSame(await store.clients.get('bare'), SEED.clients[2])
    t.equal(await store.clients.get('APP'), null)
    t.equal(await store.clients.get('unknown'), null)
  })

  t.test('a client is returned as created, and the hashes of its secrets are returned separately', async (t) => {
    const machine: Client = {
      ...CLIENT,
      id: unique('machine'),
      name: 'A machine',
      kind: 'confidential',
      grantTypes: []
    }
    const page: Client = { ...CLIENT, id: unique('page'), scopes: ['profile'], defaultScopes: [] }
    await create(machine, newSecret('hash of a secret'))
    await create(page)
    t.strictSame(await store.clients.get(machine.id), machine)
    t.strictSame(await store.clients.get(page.id), page)
    t.strictSame(
      (await store.clients.secrets(machine.id, NOW)).map(({ hash }) => hash),
      ['hash of a secret']
    )
    t.strictSame(await store.clients.secrets(page.id, NOW), [])
    t.strictSame(await store.clients.secrets('unknown', NOW), [])
  })

  t.test('a client with a taken id or an unknown scope is not added', async (t) => {
    const client = await addClient(store)
    await t.rejects(create({ ...client, name: 'x' }, newSecret('x')), refusedAs('conflict'))
    t.strictSame(await store.clients.get(client.id), client)
    t.strictSame(await store.clients.secrets(client.id, NOW), [])
    const broken = { ...CLIENT, id: unique('client'), scopes: ['profile', 'none'] }
    await t.rejects(create(broken, newSecret('x')), refusedAs('invalid'))
    t.equal(await store.clients.get(broken.id), null)
  })

  t.test('clients are listed by id, page by page', async (t) => {
    await opened.seed()
    const list = async (after: string | null, limit: number) =>
      (await store.clients.list({ after, limit })).map(({ id }) => id)
    t.strictSame(await list(null, 10), ['app', 'bare', 'off'])
    t.strictSame(await list(null, 2), ['app', 'bare'])
    t.strictSame(await list('bare', 2), ['off'])
    t.strictSame(await list('off', 2), [])
    t.strictSame(await store.clients.list({ after: null, limit: 1 }), [CLIENT])
  })

  t.test('change changes the given members only', async (t) => {
    let client = await addClient(store)
    const { id } = client
    const steps: ClientChanges[] = [
      { name: 'Another' },
      { firstParty: false },
      { grantTypes: ['client_credentials'] },
      { scopes: ['profile', 'users:read'], defaultScopes: ['users:read'] },
      { defaultScopes: [] },
      { roles: ['user', 'reader'] },
      { roles: [] },
      { roles: null },
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
      t.strictSame(await change(id, changes, { now: NOW + index }), client, JSON.stringify(changes))
      t.strictSame(await store.clients.get(id), client)
    }
    for (const changes of [
      { scopes: ['none'] },
      { roles: ['none'] },
      { resources: ['things', 'none'] },
      { name: 'x', scopes: ['none'] }
    ])
      await t.rejects(change(id, changes, { now: NOW + 99 }), refusedAs('invalid'))
    t.strictSame(await store.clients.get(id), client, 'a refusal changes nothing')
    t.equal(await change('unknown', { name: 'x' }), null)
    t.equal(await change('unknown', { disabled: true }), null)
  })

  t.test(
    'if all scopes of a client were its default scopes, all of its new scopes are default scopes too',
    async (t) => {
      const all = await addClient(store, { scopes: ['profile'], defaultScopes: ['profile'] })
      const some = await addClient(store, { scopes: ['profile', 'things:read'], defaultScopes: ['profile'] })
      const scopes = ['profile', 'users:read']
      t.match(await change(all.id, { scopes }), { scopes, defaultScopes: scopes })
      t.match(await change(some.id, { scopes }), { scopes, defaultScopes: ['profile'] })
    }
  )

  t.test('a change that takes something from a client is in the revocation log, and no other is', async (t) => {
    const grantTypes = ['password', 'refresh_token']
    const { id } = await addClient(store, { scopes: ['profile', 'users:read'], grantTypes })
    const entry = { kind: 'client', id }
    const changed = (changes: ClientChanges) => () => change(id, changes)
    const steps: [string, () => Promise<unknown>, object[]][] = [
      ['a name', changed({ name: 'x' }), []],
      ['one more scope', changed({ scopes: ['profile', 'users:read', 'things:read'] }), []],
      ['a removed scope', changed({ scopes: ['profile', 'users:read'] }), [entry]],
      ['one resource in place of all', changed({ resources: ['latchkey'] }), [entry]],
      ['one more resource', changed({ resources: ['things', 'latchkey'] }), []],
      ['a removed resource', changed({ resources: ['things'] }), [entry]],
      ['all resources', changed({ resources: [] }), []],
      ['one more grant', changed({ grantTypes: [...grantTypes, 'client_credentials'] }), []],
      ['a removed grant', changed({ grantTypes: ['client_credentials', 'refresh_token'] }), [entry]],
      ['a list of roles in place of all', changed({ roles: ['reader', 'user'] }), [entry]],
      ['a removed role', changed({ roles: ['user'] }), [entry]],
      ['all roles', changed({ roles: null }), []],
      ['no longer first party', changed({ firstParty: false }), [entry]],
      ['first party', changed({ firstParty: true }), []],
      ['a secret', () => addSecret(id), []],
      ['lifetimes', changed({ accessTokenTtl: 1, sessionIdleTtl: 1, sessionAbsoluteTtl: 1 }), []],
      ['disabling', changed({ disabled: true, scopes: ['profile'] }), [entry]],
      ['disabling a disabled client', changed({ disabled: true }), []],
      ['enabling', changed({ disabled: false }), []],
      ['a deletion', () => remove(id), [entry]],
      ['a deletion of an unknown client', () => remove(id), []],
      ['another client with its id', () => create({ ...CLIENT, id }), []]
    ]
    const revokedSeq = async () =>
      (await store.state(notIntrospected({ kid: '', jti: '', sid: null, sub: '', clientId: id }))).client?.revokedSeq
    for (const [name, run, expected] of steps) {
      const [before, previous] = [await store.revocations.seq(), await revokedSeq()]
      await run()
      t.strictSame(await entriesAfter(store, before), expected, name)
      const current = expected.length > 0 ? await store.revocations.seq() : previous
      if (!name.startsWith('a deletion') && previous !== undefined) t.equal(await revokedSeq(), current, name)
    }
    t.equal(
      await revokedSeq(),
      await store.revocations.seq(),
      'tokens of a deleted client are not valid for a new client with its id'
    )
  })

  t.test('a deleted client loses its sessions, secrets, assertions and introspection', async (t) => {
    const [alice, { id }] = [await addUser(store), await addClient(store)]
    await addSecret(id)
    await store.clients.useAssertion(id, 'a', NOW)
    const session = await addSession(store, alice.id, { clientId: id })
    const resource = await addResource(store, [], { introspectionClients: [id] })
    t.equal(await remove(id), true)
    t.equal(await store.clients.get(id), null)
    t.equal(await sessionOf(store, session.id), null)
    for (const table of ['client_secrets', 'client_assertions', 'client_scopes', 'introspection_clients'])
      t.strictSame(await sql(`select client_id from ${table} where client_id = '${id}'`), [], table)
    t.strictSame((await store.resources.get(resource.id))?.introspectionClients, [])
    t.equal(await remove(id), false)
  })

  t.test('concurrent changes of one client lose nothing', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const { id } = await addClient(store)
      const before = await store.revocations.seq()
      const changes: ClientChanges[] = [
        { name: `name ${round}` },
        { scopes: ['things:read'], defaultScopes: [] },
        { firstParty: false },
        { grantTypes: ['refresh_token'] },
        { resources: ['things'] },
        { accessTokenTtl: 60 },
        { disabled: true },
        { redirectUris: ['https://a.example/'] }
      ]
      const counts = await outcomes(changes.map((each, index) => change(id, each, { at: others[index % 4] as Store })))
      const { disabledAt, ...after } = (await store.clients.get(id)) as Client
      const expected = Object.assign({}, ...changes, { disabledAt: NOW })
      const numbers = (await store.revocations.seq()) - before
      if (counts.done !== 8 || numbers !== 5) t.strictSame([counts, numbers], [{ done: 8 }, 5], `round ${round}`)
      t.strictSame(await entriesAfter(store, before), [{ kind: 'client', id }], 'one entry stands for all')
      t.match({ ...after, disabledAt, disabled: true }, expected)
    }
  })
}
