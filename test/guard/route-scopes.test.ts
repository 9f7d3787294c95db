import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { AUDIENCE, metadataOf, type Responder } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { setUp } from './service.ts'

const ISSUER = 'https://id.example.com'

const handler = async () => 'done'
const declare = (app: FastifyInstance) => {
  app.get('/orders', { preHandler: app.requireScope('orders:read') }, handler)
  app.get('/orders/:id', { preHandler: app.requireScope('orders:raed', 'orders:read') }, handler)
  app.post('/orders', { preHandler: app.requireScope('orders:raed') }, handler)
  app.get('/stock', { preHandler: app.requireScope('stock:read') }, handler)
  app.get('/open', { preHandler: app.publicAccess }, handler)
}

/** Starts a service whose issuer has these scopes for each resource. Returns the messages of its log from `info` on. */
async function start(t: Test, scopesOf: Responder, { options = {}, metadata = {} } = {}) {
  const messages: string[] = []
  const stream = { write: (line: string) => void messages.push(`${JSON.parse(line).level} ${JSON.parse(line).msg}`) }
  const service = await setUp(t, options, {
    declare,
    logger: { level: 'info', stream },
    prepare({ responders }) {
      const latchkey_resource_scopes_endpoint = `${ISSUER}/resource-scopes`
      responders['oauth-authorization-server'] = () =>
        Response.json({ ...metadataOf(ISSUER), latchkey_resource_scopes_endpoint, ...metadata })
      responders['resource-scopes'] = scopesOf
    }
  })
  await settle()
  return { ...service, messages }
}

const READING = '30 the revocation log is being read'
const has =
  (...scopes: string[]): Responder =>
  () =>
    Response.json({ scopes })

t.test(
  'at its start a guard warns once of each scope of its routes that the issuer does not have for the service',
  async (t) => {
    const { messages, requests, status, token, timer } = await start(t, has('orders:read', 'orders:write'))
    const unknown = (routes: string, scope: string, end: string) =>
      `40 ${routes} requires the scope "${scope}", which ${ISSUER} does not have for this service${end}`
    t.strictSame(messages, [
      READING,
      unknown('GET /orders/:id, POST /orders', 'orders:raed', ', did you mean "orders:read"?'),
      unknown('GET /stock', 'stock:read', '')
    ])
    const [request, ...more] = requests.filter(({ path }) => path.startsWith('/resource-scopes'))
    t.strictSame(more, [])
    t.equal(request?.path, `/resource-scopes?resource=${encodeURIComponent(AUDIENCE)}`)
    t.equal(request?.headers.get('authorization'), 'Bearer token-of-the-guard')
    await timer.advance(120_000)
    t.equal(messages.filter((each) => each.startsWith('40 GET')).length, 2)
    t.equal(await status(token()), 200)
  }
)

t.test('a service whose scopes the issuer has gets no warning', async (t) => {
  const { messages } = await start(t, has('orders:read', 'orders:raed', 'stock:read', 'more'))
  t.strictSame(messages, [READING])
})

t.test('a scope that the issuer has for any one of several audiences gets no warning', async (t) => {
  const other = 'http://orders.internal:4000'
  const responder: Responder = ({ path }) =>
    Response.json({
      scopes: path.endsWith(encodeURIComponent(other)) ? ['stock:read', 'orders:raed'] : ['orders:read']
    })
  t.strictSame((await start(t, responder, { options: { audience: [AUDIENCE, other] } })).messages, [READING])
})

t.test('an issuer without a list of scopes, and a guard that reads no log, cause no comparison', async (t) => {
  const refuse: Responder = () => {
    throw new Error('it is not asked')
  }
  const old = await start(t, refuse, { metadata: { latchkey_resource_scopes_endpoint: undefined } })
  t.strictSame(old.messages, [READING])
  for (const revocation of ['introspection', 'none'])
    t.strictSame((await start(t, refuse, { options: { revocation } })).messages, [])
})

for (const [name, responder, why] of [
  ['404', () => Response.json({}, { status: 404 }), `GET ${ISSUER}/resource-scopes: the status is 404`],
  ['403', () => Response.json({}, { status: 403 }), `GET ${ISSUER}/resource-scopes: the status is 403`],
  ['no scopes', () => Response.json({}), 'the response has no scopes'],
  ['null', () => Response.json(null), 'the response has no scopes']
] as [string, Responder, string][])
  t.test(`a list that cannot be read is no reason to refuse a token: ${name}`, async (t) => {
    const { messages, status, token } = await start(t, responder)
    t.strictSame(messages, [
      READING,
      `30 the scopes of the routes could not be compared with those of ${ISSUER}: ${why}`
    ])
    t.equal(await status(token()), 200)
  })

t.test('the scopes are compared when the log is first read, and not after an outage of the log', async (t) => {
  const { messages, responders, readLog, timer } = await start(t, has('orders:read'), {})
  t.equal(messages.filter((each) => each.startsWith('40 ')).length, 2)
  messages.length = 0
  responders.revocations = () => Response.json({}, { status: 500 })
  await timer.advance(60_000)
  responders.revocations = readLog
  await timer.advance(5000)
  t.notOk(
    messages.some((each) => each.includes('requires the scope')),
    'and not again'
  )
})
