import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { ClientEdit, NewClient } from '../../src/domain/clients.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = { id: 'orders', identifier: 'https://orders.example', name: 'Orders', scopes: [] }
const GRANTS = ['client_credentials', 'password', 'refresh_token']
const SCOPES = ['clients:read', 'orders:read', 'profile', 'users:read']
const REFUSED = { code: 'invalid_grant' }

/** The tokens of a client: its own, and those of a user. */
interface Held {
  own: string
  access: string
  refresh: string
}

/** Opens the domain with a resource `orders`, and a client `api` that introspects all tokens. */
async function open(t: Test) {
  const domain = await openSessions(t)
  const { auth, store, enter } = domain
  await auth.resources.create(OPERATOR, { ...ORDERS, scopes: [{ name: 'orders:read', description: '' }] })
  await auth.clients.create(OPERATOR, { id: 'api', name: 'API', scopes: ['tokens:introspect'] })
  const api = await auth.clients.get('api')
  for (const id of ['orders', 'latchkey']) await auth.resources.change(OPERATOR, id, { introspectionClients: ['api'] })
  const isActive = async (token: string) => (await auth.introspect(api, token)) !== null
  const own = async (id: string) =>
    (await domain.request(id, { grant_type: 'client_credentials', scope: 'clients:read' })).accessToken
  return {
    ...domain,
    own,
    register: async (id: string, more: Partial<NewClient> = {}) => {
      const client = { id, name: id, grantTypes: GRANTS, scopes: SCOPES, defaultScopes: ['profile'], firstParty: true }
      await auth.clients.create(OPERATOR, { ...client, ...more })
    },
    async obtain(clientId: string): Promise<Held> {
      const { accessToken, refreshToken } = await enter({ clientId })
      return { own: await own(clientId), access: accessToken, refresh: refreshToken }
    },
    active: async ({ own, access, refresh }: Held) => ({
      own: await isActive(own),
      access: await isActive(access),
      refresh: await isActive(refresh)
    }),
    isActive,
    entriesSince: async (seq: number) =>
      (await store.revocations.since(seq, 100)).entries.map(({ kind, id }) => ({ kind, id }))
  }
}

const ALL = { own: true, access: true, refresh: true }
const ONLY_SESSION = { own: false, access: false, refresh: true }
const NONE = { own: false, access: false, refresh: false }
const TWO = ['latchkey', 'orders']

const CHANGES: Record<string, { change: ClientEdit; left: typeof ALL; start?: Partial<NewClient> }> = {
  'another name': { change: { name: 'x' }, left: ALL },
  'the same members': { change: { grantTypes: GRANTS, scopes: SCOPES, resources: [], firstParty: true }, left: ALL },
  'one more scope': { change: { scopes: [...SCOPES, 'roles:read'] }, left: ALL },
  'other default scopes': { change: { defaultScopes: ['users:read'] }, left: ALL },
  'other lifetimes': { change: { accessTokenTtl: 1, sessionIdleTtl: 1, sessionAbsoluteTtl: 1 }, left: ALL },
  'enabling an enabled client': { change: { disabled: false }, left: ALL },
  'no redirect URIs': { start: { redirectUris: ['https://x.example/'] }, change: { redirectUris: [] }, left: ALL },
  'all resources': { start: { resources: ['latchkey'] }, change: { resources: [] }, left: ALL },
  'one more resource': { start: { resources: ['latchkey'] }, change: { resources: TWO }, left: ALL },
  'all roles': { start: { roles: ['user'] }, change: { roles: null }, left: ALL },
  'one more role': { start: { roles: ['user'] }, change: { roles: ['user', 'admin'] }, left: ALL },
  'a list of roles in place of all': { change: { roles: ['user'] }, left: ONLY_SESSION },
  'a removed role': { start: { roles: ['user', 'admin'] }, change: { roles: ['admin'] }, left: ONLY_SESSION },
  'a removed scope': { change: { scopes: ['clients:read', 'orders:read', 'profile'] }, left: ONLY_SESSION },
  'another scope in place of one': {
    change: { scopes: ['clients:read', 'profile', 'roles:read'] },
    left: ONLY_SESSION
  },
  'no scopes': { change: { scopes: [] }, left: NONE },
  'a removed resource': { start: { resources: TWO }, change: { resources: ['latchkey'] }, left: ONLY_SESSION },
  'one resource in place of all': { change: { resources: ['latchkey'] }, left: ONLY_SESSION },
  'no grant client_credentials': { change: { grantTypes: ['password', 'refresh_token'] }, left: NONE },
  'no grant refresh_token': { change: { grantTypes: ['client_credentials', 'password'] }, left: NONE },
  'no longer first party': {
    change: { firstParty: false, grantTypes: ['client_credentials', 'refresh_token'] },
    left: NONE
  },
  disabling: { change: { disabled: true }, left: NONE }
}

t.test('only a change that takes something from a client ends its tokens and is logged [SC6]', async (t) => {
  const { auth, store, register, obtain, active, own, isActive, entriesSince, refresh } = await open(t)
  for (const [index, [name, { start, change, left }]] of Object.entries(CHANGES).entries()) {
    const id = `worker-${index}`
    await register(id, start)
    const held = await obtain(id)
    t.strictSame(await active(held), ALL, `before: ${name}`)
    const seq = await store.revocations.seq()
    await auth.clients.change(OPERATOR, id, change)
    t.strictSame(await active(held), left, name)
    t.strictSame(await entriesSince(seq), left === ALL ? [] : [{ kind: 'client', id }], name)
    if (left !== ONLY_SESSION) continue
    const renewed = await refresh(held.refresh, { clientId: id })
    t.equal(await isActive(renewed.accessToken), true, `${name}: the session continues`)
    t.equal(await isActive(await own(id)), true, `${name}: the client gets a new token`)
  }
})

t.test('enabling a disabled client, or registering another with its id, revives no token [SC6]', async (t) => {
  const { auth, store, register, obtain, active, own, refresh, entriesSince } = await open(t)
  await register('worker')
  const before = await obtain('worker')
  await auth.clients.change(OPERATOR, 'worker', { disabled: true })
  t.strictSame(await active(before), NONE)
  await auth.clients.change(OPERATOR, 'worker', { disabled: false })
  t.strictSame(await active(before), NONE)
  await t.rejects(refresh(before.refresh, { clientId: 'worker' }), REFUSED)
  const next = await obtain('worker')
  t.strictSame(await active(next), ALL, 'new tokens are valid')

  const seq = await store.revocations.seq()
  await auth.clients.delete(OPERATOR, 'worker')
  t.strictSame(await entriesSince(seq), [{ kind: 'client', id: 'worker' }])
  t.strictSame(await active(next), NONE)
  await t.rejects(own('worker'), { code: 'not_found' })
  await register('worker')
  t.strictSame(await active(next), NONE)
  t.strictSame(await active(await obtain('worker')), ALL)
})

t.test('the lifetimes of a client apply to its tokens and sessions', async (t) => {
  const { register, enter, refresh, isValid, clock } = await open(t)
  await register('short', { accessTokenTtl: 60, sessionIdleTtl: 100, sessionAbsoluteTtl: 150 })
  await register('usual')
  const request = { clientId: 'short' }
  const [first, idle, other] = [await enter(request), await enter(request), await enter({ clientId: 'usual' })]
  t.strictSame([first.expiresIn, other.expiresIn], [60, 300])
  clock.advance(59.999)
  t.equal(await isValid(first.accessToken), true)
  clock.advance(0.001)
  t.strictSame([await isValid(first.accessToken), await isValid(other.accessToken)], [false, true])
  clock.advance(39)
  const second = await refresh(first.refreshToken, request)
  t.equal(second.expiresIn, 51, 'not longer than the session')
  clock.advance(1)
  await t.rejects(refresh(idle.refreshToken, request), REFUSED)
  const third = await refresh(second.refreshToken, request)
  clock.advance(49.999)
  const last = await refresh(third.refreshToken, request)
  clock.advance(0.001)
  await t.rejects(refresh(last.refreshToken, request), REFUSED, 'the session has ended')
  t.equal(await isValid(last.accessToken), false, 'with its tokens')
})
