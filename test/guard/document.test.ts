import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fastifySwagger from '@fastify/swagger'
import fastify, { type FastifyInstance, type FastifyServerOptions, type RouteShorthandOptions } from 'fastify'
import t, { type Test } from 'tap'
import guard from '../../src/guard/index.ts'
import { answer } from '../forge.ts'
import { declareOrders, INVALID_TOKEN, plantIssuer, serve } from './planted.ts'

/** Members of a route's schema that @fastify/swagger knows and Fastify does not. */
const schema = (members: object) => ({ schema: members }) as RouteShorthandOptions

/** A service with a document of its own. */
async function world(t: Test, declare: (app: FastifyInstance) => unknown, options: object = {}) {
  const { server = {}, openapi = {}, ...more } = options as { server?: FastifyServerOptions; openapi?: object }
  const planted = await plantIssuer(t)
  const app = fastify(server)
  t.teardown(() => app.close())
  const info = { title: 'Orders', version: '1.0.0', license: { name: 'MIT', url: 'https://example.com/license' } }
  await app.register(fastifySwagger, {
    openapi: { openapi: '3.1.0', info, servers: [{ url: 'https://orders.test' }], ...openapi }
  })
  await app.register(guard, { ...planted.options, revocation: 'none', ...more } as never)
  await declare(app)
  await app.ready()
  // The issuer has another port in every run.
  const document = JSON.parse(JSON.stringify(app.swagger()).replaceAll(planted.issuer, 'https://id.example.com'))
  const ask = (url: string, token?: string, method: 'GET' | 'POST' = 'GET') =>
    app.inject({ method, url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
  return { ...planted, app, document, ask }
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
    async () => 'in'
  )
  app.get(
    '/health',
    {
      preHandler: publicAccess,
      ...schema({
        operationId: 'health',
        summary: 'Whether it is alive',
        response: { 200: { description: 'It is', type: 'null' }, '4xx': { description: 'It is not', type: 'null' } }
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

t.test(
  'the document of a service: logins at the issuer, what each operation asks for, and what it refuses with',
  async (t) => {
    const { document } = await world(t, declare)
    t.strictSame(document.components, {
      schemas: {},
      securitySchemes: {
        password: {
          type: 'oauth2',
          description:
            'For users: log in at https://id.example.com with your username and password. Leave client_secret empty. Without a selected scope you get every scope that you may have.',
          flows: { password: { tokenUrl: 'https://id.example.com/token', scopes: SCOPES } }
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
          security: [{ password: ['orders:read'] }, { clientCredentials: ['orders:read'] }],
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
          security: [{ password: ['orders:write', 'orders:read'] }],
          responses: { ...REFUSALS, '2XX': { description: 'Done' } }
        }
      },
      '/admin-only': {
        get: {
          operationId: 'admin',
          summary: 'For admins',
          description: 'Needs a token with the role `admin`.',
          security: [{ password: [] }, { clientCredentials: [] }],
          responses: { ...REFUSALS, '2XX': { description: 'Done' } }
        }
      },
      '/health': {
        get: {
          operationId: 'health',
          summary: 'Whether it is alive',
          security: [],
          responses: { 200: { description: 'It is' }, '4XX': { description: 'It is not' } }
        }
      }
    })
  }
)

for (const openapi of ['3.0.3', '3.1.0'])
  t.test(`the document of a service passes Redocly’s recommended rules without a warning: ${openapi}`, async (t) => {
    const { document } = await world(t, declare, { openapi: { openapi } })
    const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const file = join(directory, 'openapi.json')
    writeFileSync(file, JSON.stringify(document))
    const { stderr } = await promisify(execFile)('redocly', ['lint', '--extends=recommended', file], {
      cwd: directory,
      env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
    })
    t.match(stderr, /Your API description is valid/)
    t.notMatch(stderr, /warning/i)
  })

t.test('what the service says itself in its document stays', async (t) => {
  const { document } = await world(
    t,
    (app) => {
      app.get('/own', { preHandler: app.requireUser(), ...schema({ tags: ['own'], deprecated: true }) }, async () => 1)
    },
    { openapi: { components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-key' } } } } }
  )
  t.strictSame(Object.keys(document.components.securitySchemes), ['key', 'password', 'clientCredentials'])
  t.match(document.paths['/own'].get, { tags: ['own'], deprecated: true, security: [{ password: [] }] })
  t.strictSame(document.components.securitySchemes.password.flows.password.scopes, {})
})

t.test('a route that is open by setting keeps the security that it declares itself', async (t) => {
  const { document, ask } = await world(
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
  t.strictSame((await ask('/.well-known/oauth-protected-resource')).json().scopes_supported, [
    'orders:read',
    'orders:write'
  ])
})

t.test('a document that hides an operation hides nothing of its guard', async (t) => {
  const { document, ask } = await world(t, (app) =>
    app.get('/hidden', { preHandler: app.requireScope('x'), ...schema({ hide: true }) }, async () => 1)
  )
  t.strictSame(document.paths, {})
  t.equal((await ask('/hidden')).statusCode, 401)
})

const text = { type: 'string' }
const OWN: [what: string, response: object, documented: string[]][] = [
  ['200', { 200: { type: 'object', properties: { shown: text } } }, ['200', '400', '401', '403', '503']],
  ['2xx', { '2xx': { type: 'object', properties: { shown: text } } }, ['400', '401', '403', '503', '2XX']],
  ['default', { default: { type: 'object', properties: { shown: text } } }, ['default']]
]
for (const [what, response, documented] of OWN)
  t.test(`what the author says of answers is kept, and serialises: ${what}`, async (t) => {
    const { ask, token, document } = await world(t, (app) =>
      app.get('/x', { preHandler: app.requireUser(), ...schema({ response }) }, async () => ({
        shown: 'a',
        hidden: 'b'
      }))
    )
    t.strictSame((await ask('/x', token())).json(), { shown: 'a' })
    t.strictSame(Object.keys(document.paths['/x'].get.responses), documented)
  })

const problem = { type: 'object', properties: { message: text } }
for (const statuses of [['401'], ['4xx'], ['4XX'], ['default']])
  t.test(`what the author says of refusals is kept, and serialises: ${statuses}`, async (t) => {
    const response = Object.fromEntries(statuses.map((status) => [status, problem]))
    const { ask, token, app } = await world(t, (app) => {
      app.get('/x', { preHandler: app.requireUser(), ...schema({ response }) }, async () => ({ all: 1, message: 'm' }))
      app.get('/400', { preHandler: app.requireUser(), ...schema({ response }) }, async (_request, reply) =>
        reply.code(400).send({ message: 'mine', hidden: true })
      )
    })
    t.strictSame((await ask('/x')).json(), { message: 'Not authenticated' })
    t.equal((await ask('/x')).statusCode, 401)
    const isCovered = statuses[0] !== '401'
    t.strictSame((await ask('/400', token())).json(), { message: 'mine', ...(isCovered ? {} : { hidden: true }) })
    const headers = { authorization: ['Bearer x', 'Bearer y'] as unknown as string }
    t.equal((await app.inject({ url: '/x', headers })).statusCode, 400)
  })

t.test('answers that nobody described leave as they are', async (t) => {
  const { ask, token, app } = await world(t, (app) => {
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
  t.equal((await ask('/text', token())).body, 'text')
  t.equal((await ask('/nothing', token())).statusCode, 204)
})

t.test('a service with a serializer compiler of its own is asked to compile its own schemas only', async (t) => {
  const compiled: unknown[] = []
  const mine = { my: 'schema' }
  const planted = await plantIssuer(t)
  const schemas = new Map<string, unknown>()
  const { app } = await serve(t, { ...planted.options, revocation: 'none' } as never, {
    declare(app) {
      app.addHook('onRoute', ({ url, schema }) => void schemas.set(url, schema?.response))
      app.setSerializerCompiler(({ schema }) => {
        compiled.push(schema)
        return (data) => JSON.stringify({ mine: data })
      })
      app.get('/x', { preHandler: app.requireUser(), ...schema({ response: { 200: mine } }) }, async () => 1)
      app.get('/y', { preHandler: app.requireUser() }, async () => ({ y: 1 }))
    }
  })
  const headers = { authorization: `Bearer ${planted.token()}` }
  t.strictSame((await app.inject({ url: '/x', headers })).json(), { mine: 1 })
  t.strictSame((await app.inject({ url: '/y', headers })).json(), { y: 1 })
  t.strictSame(answer(await app.inject({ url: '/x', headers: { authorization: 'Bearer x' } })), INVALID_TOKEN)
  t.ok(compiled.length > 0)
  t.ok(compiled.every((each) => each === mine))
  t.strictSame([schemas.get('/x'), schemas.get('/y')], [{ 200: mine }, undefined], 'and none are put beside them')
})

t.test('a service without a document is guarded like any', async (t) => {
  const { options, token } = await plantIssuer(t)
  const { status } = await serve(t, { ...options, revocation: 'none' } as never)
  t.equal(await status(token()), 200)
})

const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const PLACES: [audience: string, path: string, url: string | null][] = [
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
for (const [audience, path, url] of PLACES)
  t.test(`what a service wants is read where RFC 9728 says, and a challenge says where: ${audience}`, async (t) => {
    const { ask, issuer, token } = await world(t, declareOrders, { audience })
    const response = await ask(path)
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
      (await ask('/orders')).headers['www-authenticate'],
      `Bearer realm="latchkey"${url === null ? '' : `, resource_metadata="${url}"`}`
    )
    t.equal((await ask('/orders', token({ aud: audience }))).statusCode, 200)
    if (path.includes('a:b')) t.equal((await ask(`${WELL_KNOWN}/v1/axx`)).statusCode, 404)
  })
