import t from 'tap'
import { build, ISSUER } from '../helper.ts'
import { compareAll } from '../rows.ts'
import { ALL_SCOPES, asAdmin, conflict, invalid, notFound, outcome, pointers } from './api.ts'

// test/domain/resources.test.ts tests which resources are valid, test/domain/audience.test.ts which one a token is for.

const MISSING = notFound('There is no such resource')
const ORDERS = {
  id: 'orders',
  resource: 'https://orders.example',
  name: 'Orders',
  scopes: [
    { name: 'orders:read', description: 'See orders' },
    { name: 'orders:write', description: '' }
  ],
  introspection_clients: []
}
const STOCK = { ...ORDERS, id: 'stock', resource: 'urn:example:stock', scopes: [{ name: 'stock', description: '' }] }

const world = await build(t)
const { api: send, add } = await asAdmin(world)
const api = async (...request: Parameters<typeof send>) => outcome(await send(...request))

t.test('an admin registers, lists, changes and deletes a resource', async (t) => {
  const [, { items: all }] = await api('GET', '/resources')
  const { scopes } = all[0]
  const own = { id: 'latchkey', resource: ISSUER, name: 'Latchkey', scopes, introspection_clients: [] }
  t.strictSame(
    scopes.map(({ name }: { name: string }) => name),
    [...ALL_SCOPES, 'revocations:read', 'tokens:introspect'].toSorted()
  )
  t.strictSame(await api('GET', '/resources'), [200, { items: [own], next_cursor: null }])

  await add({ client_id: 'worker', scope: 'tokens:introspect' })
  const created = await send('POST', '/resources', {
    ...ORDERS,
    scopes: [{ name: 'orders:write' }, ORDERS.scopes[0]],
    introspection_clients: ['worker']
  })
  const orders = { ...ORDERS, introspection_clients: ['worker'] }
  t.strictSame(
    [created.statusCode, created.headers.location, created.json()],
    [201, `${ISSUER}/resources/orders`, orders]
  )
  const plain = { id: 'a.b_c-9', resource: 'urn:x', name: 'x' }
  const stored = { ...plain, scopes: [], introspection_clients: [] }
  t.strictSame(await api('POST', '/resources', plain), [201, stored])
  t.strictSame(await api('GET', '/resources?limit=2'), [200, { items: [stored, own], next_cursor: 'latchkey' }])
  t.strictSame(await api('GET', '/resources?limit=2&cursor=latchkey'), [200, { items: [orders], next_cursor: null }])
  const listed = (await api('GET', '/scopes?limit=100'))[1].items
  t.strictSame(
    listed.filter(({ name }: { name: string }) => name.startsWith('orders')),
    ORDERS.scopes.map((scope) => ({ ...scope, resource: ORDERS.resource }))
  )

  t.strictSame(await api('PATCH', '/resources/orders', { name: 'O' }), [200, { ...orders, name: 'O' }])
  const changes = { scopes: [{ name: 'orders:read', description: 'See' }, { name: 'orders' }] }
  const changed = {
    ...ORDERS,
    name: 'O',
    scopes: [
      { name: 'orders', description: '' },
      { name: 'orders:read', description: 'See' }
    ]
  }
  t.strictSame(await api('PATCH', '/resources/orders', { ...changes, introspection_clients: [] }), [200, changed])
  t.strictSame(await api('PATCH', '/resources/orders', {}), [200, changed])
  const edit = { name: 'L', introspection_clients: ['worker'] }
  t.strictSame(await api('PATCH', '/resources/latchkey', edit), [200, { ...own, ...edit }])
  t.strictSame(await api('DELETE', '/clients/worker'), [204, ''])
  t.strictSame(await api('PATCH', '/resources/latchkey', {}), [200, { ...own, name: 'L' }], 'a deleted client is gone')

  t.strictSame(await api('DELETE', '/resources/orders'), [204, ''])
  t.strictSame(await api('DELETE', '/resources/orders'), MISSING)
  t.strictSame(await api('PATCH', '/resources/orders', { name: 'x' }), MISSING)
  t.strictSame((await api('GET', '/scopes?limit=100'))[1].items.length, ALL_SCOPES.length + 2)
  t.equal((await api('POST', '/resources', ORDERS))[0], 201, 'id, identifier and scopes are free again')
})

t.test('a member of a resource with a wrong type or form is 400 with its place', async (t) => {
  const before = await api('GET', '/resources')
  const malformed: [member: string, values: unknown[], pointer?: string][] = [
    ['id', ['', 'Orders', '9', '-a', 'a b', 'a/b', 'x'.repeat(65), 7]],
    ['name', ['', 'a\nb', 'x'.repeat(201), 7]],
    ['resource', [`https://x.example/${'x'.repeat(240)}`]],
    ['scopes', [['orders']], '/body/scopes/0'],
    ['scopes', [[{ name: 'a', description: 'x'.repeat(201) }]], '/body/scopes/0/description'],
    ['scopes', [[{ name: 'a', description: 'a\nb' }]], '/body/scopes/0/description'],
    ['scopes', [[{ name: 'a', resource: 'orders' }]], '/body/scopes/0/resource'],
    ['scopes', [Array.from({ length: 101 }, (_, n) => ({ name: `a${n}` }))]],
    ['introspection_clients', ['docs', ['docs', 'docs']]],
    ['identifier', ['https://x.example']],
    ['created_at', [0]]
  ]
  await compareAll(t, async (row) => {
    for (const [member, values, pointer = `/body/${member}`] of malformed) {
      for (const value of values) {
        const response = await send('POST', '/resources', { ...STOCK, [member]: value })
        const name = `${member} ${JSON.stringify(value)}`.slice(0, 100)
        row(name, [response.statusCode, pointers(response)?.[0]], [400, pointer])
      }
    }
    for (const member of ['id', 'resource', 'identifier']) {
      const response = await send('PATCH', '/resources/orders', { [member]: 'x' })
      row(`a change of ${member}`, [response.statusCode, pointers(response)?.[0]], [400, `/body/${member}`])
    }
  })
  t.strictSame(await api('GET', '/resources'), before)
})

t.test('a resource that breaks a rule is 400, and one that conflicts with another 409', async (t) => {
  t.strictSame(
    await api('POST', '/resources', { ...STOCK, resource: 'stock' }),
    invalid('A resource must be an absolute URI without fragment (RFC 8707)')
  )
  t.strictSame(
    await api('POST', '/resources', { ...STOCK, id: 'latchkey' }),
    conflict('A resource with this id already exists')
  )
  t.strictSame(
    await api('PATCH', '/resources/latchkey', { scopes: [] }),
    conflict('The scopes of Latchkey’s own API cannot be changed')
  )
  t.strictSame(await api('DELETE', '/resources/latchkey'), conflict('Latchkey’s own API cannot be deleted'))
  await api('POST', '/resources', STOCK)
  await add({ client_id: 'keeper', resources: ['stock'] })
  t.strictSame(
    await api('DELETE', '/resources/stock'),
    conflict('The client "keeper" names this resource: change the client first')
  )
})
