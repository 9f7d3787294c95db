import fastifyJwt from '@fastify/jwt'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import t, { type Test } from 'tap'
import guard, { AccessError, type LatchkeyGuardOptions, UnavailableError } from '../../src/guard/index.ts'
import { answer } from '../forge.ts'
import {
  AUDIENCE,
  declareOrders,
  forbidden,
  INVALID_TOKEN,
  json,
  NOT_AUTHENTICATED,
  plantIssuer,
  TWICE
} from './planted.ts'

/** A host that does as it likes before and after the guard. */
async function host(
  t: Test,
  {
    before = () => {},
    after = declareOrders,
    ...options
  }: {
    before?: (app: FastifyInstance) => unknown
    after?: (app: FastifyInstance) => unknown
  } & Partial<LatchkeyGuardOptions> = {}
) {
  const planted = await plantIssuer(t)
  const app = fastify()
  t.teardown(() => app.close())
  await before(app)
  await app.register(guard, { ...planted.options, revocation: 'none', ...options } as LatchkeyGuardOptions)
  await after(app)
  await app.ready()
  const ask = (url: string, token?: string, method: 'GET' | 'HEAD' | 'POST' | 'OPTIONS' = 'GET') =>
    app.inject({ method, url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
  return { ...planted, app, ask }
}

const handler = async () => 'in'

t.test('a host without an error handler: every refusal is whole', async (t) => {
  const { ask, app, token, clientToken } = await host(t)
  t.strictSame(answer(await ask('/orders')), NOT_AUTHENTICATED)
  t.strictSame(answer(await ask('/orders', 'x')), INVALID_TOKEN)
  t.strictSame(answer(await ask('/orders', token({ scope: '' }))), forbidden('orders:read'))
  t.strictSame(answer(await ask('/user-only', clientToken())), forbidden())
  const authorization = ['Bearer x', 'Bearer x'] as unknown as string
  t.strictSame(answer(await app.inject({ url: '/orders', headers: { authorization } })), TWICE)
  t.equal((await ask('/orders', token())).headers['www-authenticate'], undefined)
  t.strictSame((await ask('/nowhere')).json(), {
    statusCode: 404,
    error: 'Not Found',
    message: 'Route GET:/nowhere not found'
  })
})

/** An error handler that sends what it likes, and how the status of its answer comes about. */
const HANDLERS: [what: string, declare: (app: FastifyInstance) => unknown, own: boolean][] = [
  [
    'sends JSON of its own',
    (app) => app.setErrorHandler((error: Error, _request, reply) => reply.send({ problem: error.message })),
    true
  ],
  ['returns JSON of its own', (app) => app.setErrorHandler(async (error: Error) => ({ problem: error.message })), true],
  [
    'sets the status of the error',
    (app) =>
      app.setErrorHandler((error: Error & { statusCode: number }, _request, reply) =>
        reply.code(error.statusCode).type('application/json').send({ problem: error.message })
      ),
    true
  ],
  ['throws the error on', (app) => app.setErrorHandler((error: Error) => Promise.reject(error)), false],
  ['sends the error', (app) => app.setErrorHandler((error: Error, _request, reply) => reply.send(error)), false]
]
for (const [what, declare, own] of HANDLERS)
  for (const when of ['before', 'after'] as const)
    t.test(
      `status and challenge are those of the guard when the host’s error handler, set ${when} it, ${what}`,
      async (t) => {
        const { ask, app, token, responders } = await host(t, {
          before: (app) => when === 'before' && declare(app),
          after: (app) => {
            if (when === 'after') declare(app)
            declareOrders(app)
          }
        })
        const authorization = ['Bearer x', 'Bearer x'] as unknown as string
        const refusals = [
          [await ask('/orders'), NOT_AUTHENTICATED],
          [await app.inject({ url: '/orders', headers: { authorization } }), TWICE]
        ] as const
        responders.jwks = json({}, {}, 500)
        const unavailable = await ask('/orders', token())
        const message = 'The keys of the issuer cannot be fetched'
        const body = { statusCode: 503, error: 'Service Unavailable', message }
        t.strictSame(
          [unavailable.statusCode, unavailable.headers['retry-after'], unavailable.json()],
          [503, '1', own ? { problem: message } : body]
        )
        for (const [response, expected] of refusals) {
          const { message } = expected.body as { message: string }
          t.strictSame(answer(response), { ...expected, body: own ? { problem: message } : expected.body })
        }
      }
    )

t.test('an error handler tells refusals and failures by their classes', async (t) => {
  const seen: unknown[] = []
  const { ask, token, responders } = await host(t, {
    before: (app) =>
      app.setErrorHandler((error, _request, reply) => {
        seen.push(error)
        return reply.send('no')
      })
  })
  await ask('/orders', 'x')
  responders.jwks = json('nonsense')
  await ask('/orders', token())
  t.ok(seen[0] instanceof AccessError)
  t.ok(seen[1] instanceof UnavailableError)
})

t.test('a host with its own @fastify/jwt, decorators and hooks is left alone', async (t) => {
  const seen: string[] = []
  const { app, ask, token } = await host(t, {
    before: async (app) => {
      await app.register(fastifyJwt, { secret: 'the host signs its own tokens with this' })
      app.decorateRequest('tenant', '')
      app.decorate('verify', () => 'mine')
      app.addHook('onRequest', async (request) => void seen.push(`onRequest ${request.url}`))
      app.addHook('preHandler', async (request) => void seen.push(`preHandler ${request.url}`))
    },
    after: (app) => {
      declareOrders(app)
      app.get('/own', { preHandler: app.publicAccess }, async (request) => ({
        verified: await request.jwtVerify(),
        principal: request.principal
      }))
      app.get('/both', { preHandler: app.requireScope('orders:read') }, async (request) => ({
        sub: request.principal.sub,
        own: (request as { user?: unknown }).user ?? null
      }))
    }
  })
  const own = app.jwt.sign({ mine: true, iat: 1 })
  t.strictSame((await ask('/own', own)).json(), { verified: { mine: true, iat: 1 }, principal: null })
  t.strictSame(answer(await ask('/orders', own)), INVALID_TOKEN)
  t.strictSame((await ask('/both', token())).json(), { sub: 'user-1', own: null })
  t.strictSame(seen, ['onRequest /own', 'preHandler /own', 'onRequest /orders', 'onRequest /both', 'preHandler /both'])
})

t.test('routes of plugins in plugins are guarded, with their prefix, their error handler and HEAD', async (t) => {
  const { ask, token } = await host(t, {
    after: async (app) => {
      const inner: FastifyPluginAsync = async (scope) => {
        scope.get('/:id', { preHandler: scope.requireScope('orders:read') }, handler)
        scope.get('/', { preHandler: scope.requireScope('orders:read') }, handler)
      }
      await app.register(
        async (scope) => {
          scope.setErrorHandler(async (error: Error) => ({ inner: error.message }))
          await scope.register(inner, { prefix: '/orders' })
        },
        { prefix: '/v1' }
      )
    }
  })
  for (const url of ['/v1/orders', '/v1/orders/', '/v1/orders/7']) {
    t.strictSame(answer(await ask(url)), { ...NOT_AUTHENTICATED, body: { inner: 'Not authenticated' } })
    for (const method of ['GET', 'HEAD'] as const) {
      t.equal((await ask(url, undefined, method)).statusCode, 401)
      t.equal((await ask(url, token({ scope: 'x' }), method)).statusCode, 403)
      t.equal((await ask(url, token(), method)).statusCode, 200)
    }
  }
})

t.test('a route without a guard stops the boot, and the message says what to write', async (t) => {
  const message =
    'GET /x names no guard: put requireUser(), requireScope(…), requireRole(…) or publicAccess into its preHandler'
  await t.rejects(host(t, { after: (app) => app.get('/x', handler) }), { message })
  await t.rejects(host(t, { after: (app) => app.register(async (scope) => void scope.get('/x', handler)) }), {
    message
  })
})

t.test('unguarded allow: what names no guard is open, what names one is not', async (t) => {
  const { ask } = await host(t, {
    unguarded: 'allow',
    before: (app) => app.get('/before', handler),
    after: (app) => {
      app.get('/x', handler)
      declareOrders(app)
    }
  })
  for (const url of ['/before', '/x']) t.equal((await ask(url)).body, 'in')
  t.strictSame(answer(await ask('/orders')), NOT_AUTHENTICATED)
})

t.test('a route before the guard stops the boot', async (t) => {
  const message =
    'latchkey-guard: register it, and await the registration, before every route; or set unguarded: "allow"'
  await t.rejects(host(t, { before: (app) => app.get('/x', handler) }), { message })
  await t.rejects(host(t, { before: (app) => app.register(async (scope) => void scope.get('/x', handler)) }), {
    message
  })
  const app = fastify()
  t.teardown(() => app.close())
  const { options } = await plantIssuer(t)
  app.register(guard, options)
  app.get('/x', handler)
  await t.rejects(async () => app.ready(), { message })
})

const OPEN = ['/docs', '/docs/', '/docs/json', '/docs/static/x.js', '/assets/:file']
const CLOSED = ['/docs2', '/docsx/y', '/doc', '//docs', '/v1/docs', '/', '/DOCS', '/asset', '*', '/*']
t.test('publicPaths opens a path and all below it', async (t) => {
  const { ask, token } = await host(t, {
    publicPaths: ['/docs', '/assets'],
    after: (app) => {
      for (const url of OPEN) app.get(url, handler)
      app.get('/docs/private', { preHandler: app.requireUser() }, handler)
    }
  })
  for (const url of OPEN) t.equal((await ask(url)).statusCode, 200, url)
  t.strictSame(answer(await ask('/docs/private')), NOT_AUTHENTICATED)
  t.equal((await ask('/docs/private', token())).statusCode, 200)
})
for (const url of CLOSED)
  t.test(`publicPaths opens nothing beside it: ${url}`, async (t) => {
    const after = (app: FastifyInstance) => app.get(url, handler)
    await t.rejects(host(t, { publicPaths: ['/docs', '/assets'], after }), { message: / names no guard: / })
  })

t.test('publicPaths opens the routes of other plugins: @fastify/swagger-ui, and OPTIONS of every path', async (t) => {
  const { ask } = await host(t, {
    publicPaths: ['/docs', '*'],
    before: (app) => app.register(fastifySwagger, { openapi: { info: { title: 'x', version: '1' } } }),
    after: async (app) => {
      await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
      app.options('*', handler)
    }
  })
  t.equal((await ask('/docs/json')).statusCode, 200)
  t.equal((await ask('/anything', undefined, 'OPTIONS')).statusCode, 200)
})

const WRONG: [what: string, options: object, message: string][] = [
  ['no audience', { audience: undefined }, 'latchkey-guard: audience must be an absolute URI'],
  ['an audience that is a name', { audience: 'orders' }, 'latchkey-guard: audience must be an absolute URI'],
  ['an audience that is a path', { audience: '/orders' }, 'latchkey-guard: audience must be an absolute URI'],
  [
    'an audience with a fragment',
    { audience: `${AUDIENCE}#x` },
    'latchkey-guard: audience must be an absolute URI without fragment'
  ],
  ['two audiences', { audience: [AUDIENCE] }, 'latchkey-guard: audience must be an absolute URI'],
  ['no issuer', { issuer: undefined }, 'issuer must be an https URL'],
  ['an issuer with a slash', { issuer: 'https://id.example.com/' }, 'issuer must be an https URL'],
  ['an issuer by http', { issuer: 'http://id.example.com' }, 'issuer must be an https URL'],
  ['another revocation', { revocation: 'jwt' }, 'latchkey-guard: revocation must be one of log, introspection, none'],
  ['another whenStale', { whenStale: true }, 'latchkey-guard: whenStale must be one of refuse, accept'],
  ['another unguarded', { unguarded: 'public' }, 'latchkey-guard: unguarded must be one of refuse, allow'],
  ...[3, 301, '30', Number.NaN, null, Number.POSITIVE_INFINITY].map((staleAfter): [string, object, string] => [
    `staleAfter ${staleAfter}`,
    { staleAfter },
    'latchkey-guard: staleAfter must be from 4 to 300 seconds'
  ]),
  ...['/docs', [''], [1], ['/docs', null], {}].map((publicPaths): [string, object, string] => [
    `publicPaths ${JSON.stringify(publicPaths)}`,
    { publicPaths },
    'latchkey-guard: publicPaths must be a list of paths'
  ]),
  ['no clientId', { revocation: 'log', clientId: undefined }, 'clientId must be the id of the client'],
  [
    'no secret',
    { revocation: 'log', clientSecret: undefined },
    'latchkey-guard: clientSecret or privateKey of orders-api is missing'
  ],
  [
    'no secret for introspection',
    { revocation: 'introspection', clientSecret: undefined },
    'latchkey-guard: clientSecret or privateKey of orders-api is missing'
  ],
  ['a secret and a key', { revocation: 'log', privateKey: 'x' }, 'either clientSecret or privateKey must be given']
]
for (const [what, options, message] of WRONG)
  t.test(`options that cannot be used stop the boot: ${what}`, async (t) => {
    await t.rejects(host(t, options as never), {
      message: new RegExp(`^${message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`)
    })
  })

t.test('no credentials are needed where nobody is asked', async (t) => {
  const { issuer, clock, token } = await plantIssuer(t)
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, { issuer, audience: AUDIENCE, revocation: 'none', clock })
  declareOrders(app)
  const headers = { authorization: `Bearer ${token()}` }
  t.equal((await app.inject({ url: '/orders', headers })).statusCode, 200)
})

t.test('a guard under a prefix stops the boot: its metadata stand at the root', async (t) => {
  const { options } = await plantIssuer(t)
  const app = fastify()
  t.teardown(() => app.close())
  await t.rejects(
    async () => app.register(async (scope) => void (await scope.register(guard, options)), { prefix: '/v1' }),
    {
      message: 'latchkey-guard: register it at the root, where its metadata is served'
    }
  )
})

t.test('@fastify/swagger after the guard stops the boot', async (t) => {
  const after = (app: FastifyInstance) =>
    app.register(fastifySwagger, { openapi: { info: { title: 'x', version: '1' } } })
  await t.rejects(host(t, { after }), {
    message: 'register @fastify/swagger before latchkey-guard, so that the document includes the guards'
  })
})
