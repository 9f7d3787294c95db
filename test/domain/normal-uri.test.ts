import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { normalUri } from '../../src/domain/normal-uri.ts'
import { compareAll } from '../rows.ts'
import { openDomain } from './open.ts'

const ISSUER = 'https://id.example.com/auth/v1'
/** Other spellings of `ISSUER`. */
const SPELLINGS = [
  'https://id.example.com/auth/v1/',
  'https://id.example.com/auth/v1//',
  'HTTPS://ID.Example.COM/auth/v1',
  'https://id.example.com:443/auth/v1',
  'https://id.example.com./auth/v1',
  'https://id.example.com/x/../auth/./v1',
  'https://id.example.com/x/%2e%2E/auth/v1',
  'https://id.example.com/%61uth/%76%31',
  'https://id.ex%61mple.com/auth/v1',
  'https://id.example.com/auth/v1?',
  'https://user:password@id.example.com/auth/v1',
  'https:id.example.com/auth/v1',
  'https:\\\\id.example.com\\auth\\v1'
]

t.test('all spellings of a URI have one normal form, and other URIs have another one [UA9]', async (t) => {
  await compareAll(t, async (row) => {
    for (const spelling of [ISSUER, ...SPELLINGS]) row(spelling, normalUri(spelling), ISSUER)
    for (const other of [
      'http://id.example.com/auth/v1',
      'https://id.example.com:8443/auth/v1',
      'https://id.example.com/auth/V1',
      'https://id.example.com/auth%2Fv1',
      'https://id.example.com/auth/v1?x',
      'https://id.example.com.evil.example/auth/v1',
      'https://id.example.com/auth'
    ])
      row(other, normalUri(other), other)
    row('an escape', normalUri('https://x.example/%c3%a4%7e%2f'), 'https://x.example/%C3%A4~%2F')
    row('a URN', normalUri('URN:example:%61'), 'urn:example:a')
  })
})

t.test('a resource that is the issuer in any spelling is refused [UA9]', async (t) => {
  const { auth } = await openDomain(t, { settings: { LATCHKEY_ISSUER: ISSUER } })
  const conflict = { code: 'conflict', message: 'This URI identifies Latchkey’s own API' }
  for (const identifier of [ISSUER, ...SPELLINGS])
    await t.rejects(auth.resources.create(OPERATOR, { id: 'x', name: 'x', identifier }), conflict, identifier)
})

t.test('two resources never have one normal form [UA9]', async (t) => {
  const { auth } = await openDomain(t)
  const create = (id: string, identifier: string) => auth.resources.create(OPERATOR, { id, name: id, identifier })
  await create('orders', 'https://orders.example/v1')
  await create('files', 'https://files.example/')
  const taken = { code: 'conflict', message: 'A resource with this identifier already exists' }
  await t.rejects(create('x', 'https://orders.example/v1/'), taken)
  await t.rejects(create('x', 'https://files.example'), taken)
  const message = 'A resource must be a normalised URI without credentials: write https://orders.example/v1'
  for (const identifier of [
    'https://ORDERS.example/v1',
    'https://orders.example:443/v1',
    'https://orders.example/v1//',
    'https://orders.example/a/../v1',
    'https://orders.example/%76%31',
    'https://a:b@orders.example/v1',
    'https://orders.example/v1?'
  ])
    await t.rejects(create('x', identifier), { code: 'invalid', message }, identifier)
})
