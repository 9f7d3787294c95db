import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { ISSUER } from './open.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = 'https://orders.example'
const STOCK = 'urn:example:stock'

/** Opens the domain with two resources, clients that introspect them, and tokens of the client `app` for each. */
async function open(t: Test) {
  const domain = await openSessions(t)
  const { auth, enter, request } = domain
  const { clients, resources } = auth
  const scopes = ['orders:read', 'profile', 'stock', 'tokens:introspect']
  const resource = (id: string, identifier: string, name: string) =>
    resources.create(OPERATOR, { id, identifier, name: id, scopes: [{ name, description: '' }] })
  await resource('orders', ORDERS, 'orders:read')
  await resource('stock', STOCK, 'stock')
  const asker = async (id: string) =>
    (await clients.create(OPERATOR, { id, name: id, scopes: ['tokens:introspect'] })).client
  const askers = {
    orders: await asker('orders-api'),
    stock: await asker('stock-api'),
    latchkey: await asker('latchkey-api'),
    all: await asker('all-api'),
    none: await asker('no-api')
  }
  const grantTypes = ['password', 'refresh_token', 'client_credentials']
  await clients.create(OPERATOR, { id: 'app', name: 'App', firstParty: true, grantTypes, scopes })
  for (const [id, name] of [
    ['orders', 'orders-api'],
    ['stock', 'stock-api'],
    ['latchkey', 'latchkey-api']
  ] as const)
    await resources.change(OPERATOR, id, { introspectionClients: [name, 'all-api'] })
  const login = (scope: string) => enter({ username: 'admin', clientId: 'app', scope })
  const [orders, stock, own] = [await login('orders:read'), await login('stock'), await login('profile')]
  const { accessToken } = await request('app', { grant_type: 'client_credentials', scope: 'orders:read' })
  const tokens = [orders.accessToken, stock.accessToken, own.accessToken, accessToken, orders.refreshToken]
  return {
    ...domain,
    askers,
    /** Returns what a client sees of each token: its audience, `refresh`, or null. */
    seen: (client: Parameters<typeof auth.introspect>[0]) =>
      Promise.all(
        tokens.map(async (token) => {
          const active = await auth.introspect(client, token)
          return active === null ? null : active.kind === 'refresh' ? 'refresh' : active.aud
        })
      )
  }
}

t.test(
  'a client sees the access tokens of the resources that list it and its own refresh tokens; if Latchkey lists it, all refresh tokens [IR3]',
  async (t) => {
    const { auth, askers, seen } = await open(t)
    t.strictSame(await seen(askers.orders), [ORDERS, null, null, ORDERS, null])
    t.strictSame(await seen(askers.stock), [null, STOCK, null, null, null])
    t.strictSame(await seen(askers.latchkey), [null, null, ISSUER, null, 'refresh'])
    t.strictSame(await seen(askers.all), [ORDERS, STOCK, ISSUER, ORDERS, 'refresh'])
    t.strictSame(await seen(askers.none), [null, null, null, null, null])
    t.strictSame(await seen(await auth.clients.get('app')), [null, null, null, null, 'refresh'])

    await auth.resources.change(OPERATOR, 'orders', { introspectionClients: ['stock-api'] })
    t.strictSame(await seen(askers.orders), [null, null, null, null, null], 'no longer listed')
    t.strictSame(await seen(askers.stock), [ORDERS, STOCK, null, ORDERS, null], 'listed now')
  }
)

t.test('only a confidential client with the scope may introspect [IR1]', async (t) => {
  const { auth, askers, seen } = await open(t)
  await t.rejects(seen(null), { code: 'invalid_client' })
  await t.rejects(seen(await auth.clients.get('docs')), { code: 'invalid_client' })
  await t.rejects(seen({ ...askers.all, scopes: [] }), { code: 'unauthorized_client' })
})
