import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fastifySwagger from '@fastify/swagger'
import type { FastifyInstance, RouteShorthandOptions } from 'fastify'
import t, { type Test } from 'tap'
import type { LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { answer } from '../forge.ts'
import { INVALID_TOKEN } from './refusals.ts'
import { declareOrders, setUp } from './service.ts'

/** Allows members that only @fastify/swagger knows in the schema of a route. */
const schema = (members: object) => ({ schema: members }) as RouteShorthandOptions

/** A service with an OpenAPI document. */
async function setUpDocument(
  t: Test,
  declare: (app: FastifyInstance) => unknown,
  { openapi = {}, ...options }: { openapi?: object } & Record<string, unknown> = {}
) {
  const info = { title: 'Orders', version: '1.0.0', license: { name: 'MIT', url: 'https://example.com/license' } }
  const service = await setUp(t, { revocation: 'none', ...options } as Partial<LatchkeyGuardOptions>, {
    before: (app) =>
      app.register(fastifySwagger, {
        openapi: { openapi: '3.1.0', info, servers: [{ url: 'https://orders.test' }], ...openapi }
      }),
    declare
  })
  return { ...service, document: JSON.parse(JSON.stringify(service.app.swagger())) }
}

function declare(app: FastifyInstance): void {
  const { requireScope, requireRole, requireUser, publicAccess } = app
  const read = { 200: { description: 'All orders', type: 'array', items: { type: 'string' } } }
  app.get(
    '/orders',
    {
      preHandler: requireScope('orders:read'),
      ...schema({ operationId: 'listOrders', summary: 'All', description: 'Reads them.', response: read })
    },
    async () => ['a']
  )
  app.post(
    '/orders',
    {
      preHandler: [requireUser(), requireScope('orders:write', 'orders:read')],
      ...schema({ operationId: 'order', summary: 'Order' })
    },
    async () => ({ id: 1 })
  )
  app.get(
    '/admin-only',
    { preHandler: requireRole('admin'), ...schema({ operationId: 'admin', summary: 'For admins' }) },
    async () => 'done'
  )
  app.get(
    '/health',
    {
      preHandler: publicAccess,
      ...schema({
        operationId: 'health',
        summary: 'Health',
        response: { 200: { description: 'Healthy', type: 'null' }, '4xx': { description: 'Unhealthy', type: 'null' } }
      })
    },
    async () => null
  )
}

const CHALLENGE = {
  'WWW-Authenticate': { schema: { type: 'string' }, description: 'The challenge (RFC 6750 §3)' }
}
const REFUSALS = {
  400: { description: 'The request is malformed' },
  401: { description: 'The token is missing or not valid', headers: CHALLENGE },
  403: { description: 'The token lacks a scope or role', headers: CHALLENGE },
  503: { description: 'The token cannot be verified now' }
}
const SCOPES = { 'orders:read': 'For GET /orders, POST /orders', 'orders:write': 'For POST /orders' }

t.test('the document has the security schemes, and the requirements and refusals of each operation', async (t) => {
  const { document } = await setUpDocument(t, declare)
  t.strictSame(document.components, {
    schemas: {},
    securitySchemes: {
      code: {
        type: 'oauth2',
        description:
          'For users: sign in on the page of https://id.example.com. Without a selected scope you get every scope that you may have.',
        flows: {
          authorizationCode: {
            authorizationUrl: 'https://id.example.com/authorize',
            tokenUrl: 'https://id.example.com/token',
            refreshUrl: 'https://id.example.com/token',
            scopes: SCOPES
          }
        }
      },
      password: {
        type: 'oauth2',
        description:
          'For users: log in here with your username and password. Without a selected scope you get every scope that you may have.',
        flows: {
          password: {
            tokenUrl: 'https://id.example.com/token',
            refreshUrl: 'https://id.example.com/token',
            scopes: SCOPES
          }
        }
      },
      clientCredentials: {
        type: 'oauth2',
        description:
          'For clients: enter the id and the secret of a client to call the API as this client. No user is logged in then.',
        flows: { clientCredentials: { tokenUrl: 'https://id.example.com/token', scopes: SCOPES } }
      }
    }
  })
  t.strictSame(document.paths, {
    '/orders': {
      get: {
        operationId: 'listOrders',
        summary: 'All',
        description: 'Reads them.\n\nNeeds a token with the scope `orders:read`.',
        security: [{ code: ['orders:read'] }, { password: ['orders:read'] }, { clientCredentials: ['orders:read'] }],
        responses: {
          200: {
            description: 'All orders',
            content: {
              'application/json': { schema: { description: 'All orders', type: 'array', items: { type: 'string' } } }
            }
          },
          ...REFUSALS
        }
      },
      post: {
        operationId: 'order',
        summary: 'Order',
        description: 'Needs a user’s token with the scope `orders:write`, `orders:read`.',
        security: [{ code: ['orders:write', 'orders:read'] }, { password: ['orders:write', 'orders:read'] }],
        responses: { ...REFUSALS, '2XX': { description: 'Done' } }
      }
    },
    '/admin-only': {
      get: {
        operationId: 'admin',
        summary: 'For admins',
        description: 'Needs a token with the role `admin`.',
        security: [{ code: [] }, { password: [] }, { clientCredentials: [] }],
        responses: { ...REFUSALS, '2XX': { description: 'Done' } }
      }
    },
    '/health': {
      get: {
        operationId: 'health',
        summary: 'Health',
        security: [],
        responses: { 200: { description: 'Healthy' }, '4XX': { description: 'Unhealthy' } }
      }
    }
  })
})

t.test('the document passes the recommended rules of Redocly without a warning, in OpenAPI 3.0 and 3.1', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const files = ['3.0.3', '3.1.0'].map((version) => ({ version, path: join(directory, `${version}.json`) }))
  for (const { version, path } of files) {
    const { document } = await setUpDocument(t, declare, { openapi: { openapi: version } })
    t.equal(document.openapi, version)
    writeFileSync(path, JSON.stringify(document))
  }
  const { stderr } = await promisify(execFile)(
    'redocly',
    ['lint', '--extends=recommended', ...files.map(({ path }) => path)],
    { cwd: directory, env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } }
  )
  t.match(stderr, /Your API descriptions are valid/)
  t.notMatch(stderr, /warning/i)
})

t.test('the document keeps the members and security schemes of the service', async (t) => {
  const { document } = await setUpDocument(
    t,
    (app) => {
      app.get('/own', { preHandler: app.requireUser(), ...schema({ tags: ['own'], deprecated: true }) }, async () => 1)
    },
    { openapi: { components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-key' } } } } }
  )
  t.strictSame(Object.keys(document.components.securitySchemes), ['key', 'code', 'password', 'clientCredentials'])
  t.match(document.paths['/own'].get, { tags: ['own'], deprecated: true, security: [{ code: [] }, { password: [] }] })
  t.strictSame(document.components.securitySchemes.password.flows.password.scopes, {})
})

t.test('with unguarded allow, a route keeps its own security', async (t) => {
  const { document, app } = await setUpDocument(
    t,
    (app) => {
      app.get('/keyed', schema({ security: [{ key: ['keyed:read'] }] }), async () => 1)
      declareOrders(app)
    },
    {
      unguarded: 'allow',
      openapi: { components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-key' } } } }
    }
  )
  t.strictSame(document.paths['/keyed'].get, {
    security: [{ key: ['keyed:read'] }],
    responses: { 200: { description: 'Default Response' } }
  })
  t.strictSame((await app.inject('/.well-known/oauth-protected-resource')).json().scopes_supported, [
    'orders:read',
    'orders:write'
  ])
})

t.test('a route that is hidden in the document is guarded', async (t) => {
  const { document, app } = await setUpDocument(t, (app) =>
    app.get('/hidden', { preHandler: app.requireScope('x'), ...schema({ hide: true }) }, async () => 1)
  )
  t.strictSame(document.paths, {})
  t.equal((await app.inject('/hidden')).statusCode, 401)
})

const text = { type: 'string' }
const OWN_RESPONSES: [name: string, response: object, documented: string[]][] = [
  ['200', { 200: { type: 'object', properties: { shown: text } } }, ['200', '400', '401', '403', '503']],
  ['2xx', { '2xx': { type: 'object', properties: { shown: text } } }, ['400', '401', '403', '503', '2XX']],
  ['default', { default: { type: 'object', properties: { shown: text } } }, ['default']]
]
for (const [name, response, documented] of OWN_RESPONSES)
  t.test(`a declared response is documented, and its schema serializes the body: ${name}`, async (t) => {
    const { get, token, document } = await setUpDocument(t, (app) =>
      app.get('/x', { preHandler: app.requireUser(), ...schema({ response }) }, async () => ({
        shown: 'a',
        hidden: 'b'
      }))
    )
    t.strictSame((await get(token(), '/x')).json(), { shown: 'a' })
    t.strictSame(Object.keys(document.paths['/x'].get.responses), documented)
  })

const problem = { type: 'object', properties: { message: text } }
for (const status of ['401', '4xx', '4XX', 'default'])
  t.test(`a declared refusal is documented, and its schema serializes the body: ${status}`, async (t) => {
    const response = { [status]: problem }
    const { get, token, app, document } = await setUpDocument(t, (app) => {
      app.get('/x', { preHandler: app.requireUser(), ...schema({ response }) }, async () => ({ all: 1, message: 'm' }))
      app.get('/400', { preHandler: app.requireUser(), ...schema({ response }) }, async (_request, reply) =>
        reply.code(400).send({ message: 'mine', hidden: true })
      )
    })
    t.match(document.paths['/x'].get.responses[status.replace('xx', 'XX')], {
      content: { 'application/json': { schema: problem } }
    })
    t.strictSame((await app.inject('/x')).json(), { message: 'Not authenticated' })
    t.equal((await app.inject('/x')).statusCode, 401)
    // The schema for 401 does not apply to 400.
    const hidden = status === '401' ? { hidden: true } : {}
    t.strictSame((await get(token(), '/400')).json(), { message: 'mine', ...hidden })
    const headers = { authorization: ['Bearer x', 'Bearer y'] as unknown as string }
    t.equal((await app.inject({ url: '/x', headers })).statusCode, 400)
  })

t.test('a response without a schema is sent as it is', async (t) => {
  const { get, token, app } = await setUpDocument(t, (app) => {
    app.post('/x', { preHandler: app.requireUser() }, async ({ body }, reply) => {
      const { status, type } = body as { status: number; type: string }
      return reply
        .code(status)
        .type(type)
        .send({ any: ['thing'] })
    })
    app.get('/text', { preHandler: app.requireUser() }, async () => 'text')
    app.get('/nothing', { preHandler: app.requireUser() }, async (_request, reply) => reply.code(204).send())
  })
  const headers = { authorization: `Bearer ${token()}` }
  for (const status of [200, 201, 299, 400, 401, 403, 404, 422, 500, 503])
    for (const type of ['application/json', 'application/problem+json']) {
      const response = await app.inject({ method: 'POST', url: '/x', headers, payload: { status, type } })
      t.strictSame([response.statusCode, response.json()], [status, { any: ['thing'] }], `${status} ${type}`)
    }
  t.equal((await get(token(), '/text')).body, 'text')
  t.equal((await get(token(), '/nothing')).statusCode, 204)
})

t.test('another serializer compiler gets the schemas of the service only', async (t) => {
  const compiled: unknown[] = []
  const mine = { my: 'schema' }
  const schemas = new Map<string, unknown>()
  const { get, token } = await setUp(
    t,
    { revocation: 'none' },
    {
      declare(app) {
        app.addHook('onRoute', ({ url, schema }) => void schemas.set(url, schema?.response))
        app.setSerializerCompiler(({ schema }) => {
          compiled.push(schema)
          return (data) => JSON.stringify({ mine: data })
        })
        app.get('/x', { preHandler: app.requireUser(), ...schema({ response: { 200: mine } }) }, async () => 1)
        app.get('/y', { preHandler: app.requireUser() }, async () => ({ y: 1 }))
      }
    }
  )
  t.strictSame((await get(token(), '/x')).json(), { mine: 1 })
  t.strictSame((await get(token(), '/y')).json(), { y: 1 })
  t.strictSame(answer(await get('x', '/x')), INVALID_TOKEN)
  t.ok(compiled.length > 0)
  t.ok(compiled.every((each) => each === mine))
  t.strictSame([schemas.get('/x'), schemas.get('/y')], [{ 200: mine }, undefined], 'no schema is added')
})

const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const AUDIENCES: [audience: string, path: string, url: string | null][] = [
  ['https://orders.example.com', WELL_KNOWN, `https://orders.example.com${WELL_KNOWN}`],
  ['https://orders.example.com/', WELL_KNOWN, `https://orders.example.com${WELL_KNOWN}`],
  ['https://example.com/orders', `${WELL_KNOWN}/orders`, `https://example.com${WELL_KNOWN}/orders`],
  ['https://example.com/orders/', `${WELL_KNOWN}/orders/`, `https://example.com${WELL_KNOWN}/orders/`],
  ['https://example.com/v1/a:b', `${WELL_KNOWN}/v1/a:b`, `https://example.com${WELL_KNOWN}/v1/a:b`],
  ['https://example.com/a%20b', `${WELL_KNOWN}/a%20b`, `https://example.com${WELL_KNOWN}/a%20b`],
  ['https://example.com/a?b=c', `${WELL_KNOWN}/a?b=c`, `https://example.com${WELL_KNOWN}/a?b=c`],
  ['HTTPS://example.com/orders', `${WELL_KNOWN}/orders`, `https://example.com${WELL_KNOWN}/orders`],
  ['http://localhost:4000', WELL_KNOWN, `http://localhost:4000${WELL_KNOWN}`],
  ['urn:example:orders', WELL_KNOWN, null]
]
for (const [audience, path, url] of AUDIENCES)
  t.test(
    `the metadata of the resource is at the path of RFC 9728 §3.1, and every challenge names its URL if the audience has a host: ${audience}`,
    async (t) => {
      const { app, status, issuer, token } = await setUpDocument(t, declareOrders, { audience })
      const response = await app.inject(path)
      t.strictSame(
        [response.statusCode, response.json()],
        [
          200,
          {
            resource: audience,
            authorization_servers: [issuer],
            scopes_supported: ['orders:read', 'orders:write'],
            bearer_methods_supported: ['header']
          }
        ]
      )
      t.equal(
        (await app.inject('/orders')).headers['www-authenticate'],
        `Bearer realm="latchkey"${url === null ? '' : `, resource_metadata="${url}"`}`
      )
      t.equal(await status(token({ aud: audience })), 200)
      if (path.includes('a:b')) t.equal((await app.inject(`${WELL_KNOWN}/v1/axx`)).statusCode, 404)
    }
  )
