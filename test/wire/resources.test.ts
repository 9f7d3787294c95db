import type { Static } from '@sinclair/typebox'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Resource } from '../../src/domain/model.ts'
import * as wire from '../../src/wire/resources.ts'
import { ISSUER, openDomain } from '../domain/open.ts'
import { accepts, INVALID, type Limit, sameLimits } from './schema.ts'

type Creation = Static<typeof wire.ResourceCreation>

const WRITTEN = {
  id: 'orders',
  resource: 'https://orders.example.com',
  name: 'Orders',
  scopes: [{ name: 'orders:read', description: 'See orders' }],
  introspection_clients: ['docs']
}
const RESOURCE: Resource = {
  id: 'orders',
  identifier: 'https://orders.example.com',
  name: 'Orders',
  scopes: [{ name: 'orders:read', description: 'See orders' }],
  introspectionClients: ['docs']
}

t.test('a resource is written with the names of the API', async (t) => {
  t.strictSame(wire.toWire(RESOURCE, ISSUER), WRITTEN)
  t.ok(accepts(wire.ResourceView, WRITTEN))
  t.equal(wire.toWire({ ...RESOURCE, identifier: null }, ISSUER).resource, ISSUER, 'the URI of Latchkey is the issuer')
})

t.test('a new resource is read with the documented defaults', async (t) => {
  t.strictSame(wire.inputFromWire(WRITTEN), RESOURCE)
  const body: Creation = { id: 'a', resource: 'urn:a', name: 'A', scopes: [{ name: 'a:read' }] }
  const input = {
    id: 'a',
    identifier: 'urn:a',
    name: 'A',
    scopes: [{ name: 'a:read', description: '' }],
    introspectionClients: []
  }
  t.strictSame(wire.inputFromWire(body), input)
  t.ok(accepts(wire.ResourceCreation, body))
  t.strictSame(wire.inputFromWire(body), input, 'the schema sets the same defaults')
})

t.test('a change holds the given members only', async (t) => {
  t.strictSame(wire.editFromWire({}), {})
  t.strictSame(wire.editFromWire({ name: 'B', introspection_clients: [] }), { name: 'B', introspectionClients: [] })
  t.strictSame(wire.editFromWire({ scopes: [{ name: 'a' }] }), { scopes: [{ name: 'a', description: '' }] })
})

t.test('a stored value is returned as it was sent', async (t) => {
  const { resources } = (await openDomain(t)).auth
  t.strictSame(wire.toWire(await resources.create(OPERATOR, wire.inputFromWire(WRITTEN)), ISSUER), WRITTEN)
  const edit = { name: 'B', scopes: [{ name: 'b', description: 'x' }], introspection_clients: [] }
  const changed = await resources.change(OPERATOR, 'orders', wire.editFromWire(edit))
  t.strictSame(wire.toWire(changed, ISSUER), { ...WRITTEN, ...edit })
})

t.test('schema and domain have the same limits for a resource', async (t) => {
  const { resources, clients } = (await openDomain(t)).auth
  for (let n = 0; n < 101; n++) await clients.create(OPERATOR, { id: `c${n}`, name: 'C' })
  let count = 0
  const body = (members: Partial<Creation>): Creation => {
    count++
    return { id: `id${count}`, resource: `urn:id:${count}`, name: 'Name', ...members }
  }
  const limit = <K extends keyof Creation>(name: K, max: Creation[K], over: Creation[K]): Limit<Creation> => ({
    name,
    max: body({ [name]: max }),
    over: body({ [name]: over })
  })
  const many = <T>(length: number, item: (n: number) => T) => Array.from({ length }, (_, n) => item(n))
  const scope = (n: number) => ({ name: `many:s${n}` })
  await sameLimits(t, wire.ResourceCreation, {
    limits: [
      limit('id', 'x'.repeat(64), 'x'.repeat(65)),
      limit('resource', `urn:${'x'.repeat(251)}`, `urn:${'y'.repeat(252)}`),
      limit('name', '𝐀'.repeat(200), '𝐀'.repeat(201)),
      limit('name', 'A', ''),
      limit('name', 'A B', 'A\tB'),
      limit('scopes', many(100, scope), many(101, scope)),
      limit(
        'scopes',
        [{ name: 'described', description: 'x'.repeat(200) }],
        [{ name: 'more', description: 'x'.repeat(201) }]
      ),
      limit(
        'introspection_clients',
        many(100, (n) => `c${n}`),
        many(101, (n) => `c${n}`)
      )
    ],
    send: (given) => resources.create(OPERATOR, wire.inputFromWire(given))
  })
})

t.test('the domain alone limits the name of a scope', async (t) => {
  const { resources } = (await openDomain(t)).auth
  const add = (name: string) =>
    resources.create(OPERATOR, wire.inputFromWire({ ...WRITTEN, scopes: [{ name }], introspection_clients: [] }))
  await t.rejects(add('x'.repeat(129)), INVALID)
  await t.rejects(add('profile'), { code: 'conflict' }, 'the name is reserved')
  await t.resolves(add('x'.repeat(128)))
})
