import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import t from 'tap'
import { AccessError, UnavailableError } from '../../src/guard/index.ts'
import { answer } from '../forge.ts'
import { forbidden, INVALID_TOKEN, NOT_A_USER, NOT_AUTHENTICATED, TWO_HEADERS } from './refusals.ts'
import { declareOrders, setUp } from './service.ts'

const NO_LOG = { revocation: 'none' } as const
const TWICE = { authorization: ['Bearer x', 'Bearer x'] as unknown as string }

t.test('without an error handler the service sends every refusal as JSON with its challenge', async (t) => {
  const { app, get, token, clientToken } = await setUp(t, NO_LOG)
  t.strictSame(answer(await app.inject('/orders')), NOT_AUTHENTICATED)
  t.strictSame(answer(await get('x')), INVALID_TOKEN)
  t.strictSame(answer(await get(token({ scope: '' }))), forbidden({ scope: 'orders:read' }))
  t.strictSame(answer(await get(clientToken(), '/user-only')), NOT_A_USER)
  t.strictSame(answer(await app.inject({ url: '/orders', headers: TWICE })), TWO_HEADERS)
  t.equal((await get(token())).headers['www-authenticate'], undefined)
  t.strictSame((await app.inject('/nowhere')).json(), {
    statusCode: 404,
    error: 'Not Found',
    message: 'Route GET:/nowhere not found'
  })
})

const HANDLERS: [name: string, declare: (app: FastifyInstance) => unknown, hasOwnBody: boolean][] = [
  [
    'sends its own JSON',
    (app) => app.setErrorHandler((error: Error, _request, reply) => reply.send({ problem: error.message })),
    true
  ],
  ['returns its own JSON', (app) => app.setErrorHandler(async (error: Error) => ({ problem: error.message })), true],
  [
    'sets the status of the error',
    (app) =>
      app.setErrorHandler((error: Error & { statusCode: number }, _request, reply) =>
        reply.code(error.statusCode).type('application/json').send({ problem: error.message })
      ),
    true
  ],
  ['throws the error', (app) => app.setErrorHandler((error: Error) => Promise.reject(error)), false],
  ['sends the error', (app) => app.setErrorHandler((error: Error, _request, reply) => reply.send(error)), false]
]
for (const [name, setErrorHandler, hasOwnBody] of HANDLERS)
  for (const when of ['before', 'after'] as const)
    t.test(`an error handler that is set ${when} the guard keeps status and challenge: it ${name}`, async (t) => {
      const { app, get, token, responders } = await setUp(t, NO_LOG, {
        before: (app) => when === 'before' && setErrorHandler(app),
        declare(app) {
          if (when === 'after') setErrorHandler(app)
          declareOrders(app)
        }
      })
      for (const [response, expected] of [
        [await app.inject('/orders'), NOT_AUTHENTICATED],
        [await app.inject({ url: '/orders', headers: TWICE }), TWO_HEADERS]
      ] as const) {
        const { message } = expected.body as { message: string }
        t.strictSame(answer(response), { ...expected, body: hasOwnBody ? { problem: message } : expected.body })
      }
      responders.jwks = () => Response.json({}, { status: 500 })
      const unavailable = await get(token())
      const message = 'The keys of the issuer cannot be fetched'
      t.strictSame(
        [unavailable.statusCode, unavailable.headers['retry-after'], unavailable.json()],
        [503, '1', hasOwnBody ? { problem: message } : { statusCode: 503, error: 'Service Unavailable', message }]
      )
    })

t.test('an error handler gets an AccessError for a refusal, and an UnavailableError without the keys', async (t) => {
  const errors: unknown[] = []
  const { get, token, responders } = await setUp(t, NO_LOG, {
    before: (app) =>
      app.setErrorHandler((error, _request, reply) => {
        errors.push(error)
        return reply.send('no')
      })
  })
  await get('x')
  responders.jwks = () => Response.json('x')
  await get(token())
  t.ok(errors[0] instanceof AccessError)
  t.ok(errors[1] instanceof UnavailableError)
})

t.test('the guard does not disturb @fastify/jwt, decorators and hooks of the service', async (t) => {
  const hooks: string[] = []
  const { app, get, token } = await setUp(t, NO_LOG, {
    async before(app) {
      await app.register(fastifyJwt, { secret: 'the service signs its own tokens with this' })
      app.decorateRequest('tenant', '')
      app.decorate('verify', () => 'mine')
      app.addHook('onRequest', async (request) => void hooks.push(`onRequest ${request.url}`))
      app.addHook('preHandler', async (request) => void hooks.push(`preHandler ${request.url}`))
    },
    declare(app) {
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
  t.strictSame((await get(own, '/own')).json(), { verified: { mine: true, iat: 1 }, principal: null })
  t.strictSame(answer(await get(own)), INVALID_TOKEN)
  t.strictSame((await get(token(), '/both')).json(), { sub: 'user-1', own: null })
  t.strictSame(hooks, ['onRequest /own', 'preHandler /own', 'onRequest /orders', 'onRequest /both', 'preHandler /both'])
})

t.test('routes of nested plugins are guarded, with their prefix, their error handler and HEAD', async (t) => {
  const { app, token } = await setUp(t, NO_LOG, {
    async declare(app) {
      const inner: FastifyPluginAsync = async (scope) => {
        for (const url of ['/', '/:id'])
          scope.get(url, { preHandler: scope.requireScope('orders:read') }, async () => 'done')
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
    t.strictSame(answer(await app.inject(url)), { ...NOT_AUTHENTICATED, body: { inner: 'Not authenticated' } })
    for (const method of ['GET', 'HEAD'] as const) {
      const status = async (headers: Record<string, string>) => (await app.inject({ method, url, headers })).statusCode
      t.strictSame(
        [
          await status({}),
          await status({ authorization: `Bearer ${token({ scope: 'x' })}` }),
          await status({ authorization: `Bearer ${token()}` })
        ],
        [401, 403, 200],
        `${method} ${url}`
      )
    }
  }
})
