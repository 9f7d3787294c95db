import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import guard, { type LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { AUDIENCE, createFakeIssuer } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'
import { answer } from '../forge.ts'
import { NOT_AUTHENTICATED } from './refusals.ts'
import { declareOrders, setUp } from './service.ts'

type Declare = (app: FastifyInstance) => unknown

const handler = async () => 'done'
const start = (
  t: Test,
  options: object = {},
  { before = () => {}, declare = declareOrders }: { before?: Declare; declare?: Declare } = {}
) => setUp(t, { revocation: 'none', ...options } as LatchkeyGuardOptions, { before, declare })
const inPlugin = (declare: Declare) => (app: FastifyInstance) =>
  app.register(async (scope) => void (await declare(scope)))
const declareX: Declare = (app) => app.get('/x', handler)

t.test('a route without a guard stops the start, and the message names the guards', async (t) => {
  const message =
    'GET /x names no guard: put requireUser(), requireScope(…), requireRole(…) or publicAccess into its preHandler'
  for (const declare of [declareX, inPlugin(declareX)]) await t.rejects(start(t, {}, { declare }), { message })
})

t.test('with unguarded allow, a route without a guard is public', async (t) => {
  const { app } = await start(
    t,
    { unguarded: 'allow' },
    {
      before: (app) => app.get('/before', handler),
      declare(app) {
        declareX(app)
        declareOrders(app)
      }
    }
  )
  for (const url of ['/before', '/x']) t.equal((await app.inject(url)).body, 'done')
  t.strictSame(answer(await app.inject('/orders')), NOT_AUTHENTICATED)
})

t.test('a route that is declared before the guard stops the start', async (t) => {
  const message =
    'latchkey-guard: GET, HEAD /x exists before the guard, which cannot protect it. Register the guard, and await the registration, before this route; or add "/x" to publicPaths to make it public, with everything below it'
  for (const before of [declareX, inPlugin(declareX)]) await t.rejects(start(t, {}, { before }), { message })
  const app = fastify()
  t.teardown(() => app.close())
  app.register(guard, createFakeIssuer(createFakeTimer()).options)
  app.get('/x', handler)
  await t.rejects(async () => app.ready(), { message })
})

t.test('a guard under a prefix stops the start, because its metadata is served at the root', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  const { options } = createFakeIssuer(createFakeTimer())
  await t.rejects(
    async () => app.register(async (scope) => void (await scope.register(guard, options)), { prefix: '/v1' }),
    { message: 'latchkey-guard: register it at the root, where its metadata is served' }
  )
})

const registerSwagger: Declare = (app) =>
  app.register(fastifySwagger, { openapi: { info: { title: 'x', version: '1' } } })

t.test('@fastify/swagger after the guard stops the start', async (t) => {
  await t.rejects(start(t, {}, { declare: registerSwagger }), {
    message: 'register @fastify/swagger before latchkey-guard, so that the document includes the guards'
  })
})

t.test('a guard with a plain-http issuer on another host than loopback warns at every start', async (t) => {
  const issuer = 'http://id.example.com'
  await t.rejects(start(t, { issuer }), { message: /^issuer must be an https URL/ })
  const warning = `${issuer} is plain http on a host that is not loopback: everyone on the network can read tokens and passwords. Use https`
  t.strictSame((await start(t, { issuer, insecureHttp: true })).logged, [warning])
  t.strictSame((await start(t)).logged, [])
})

const PUBLIC = ['/docs', '/docs/', '/docs/json', '/docs/static/x.js', '/assets/:file']
const NOT_PUBLIC = ['/docs2', '/docsx/y', '/doc', '//docs', '/v1/docs', '/', '/DOCS', '/asset', '*', '/*']

t.test('publicPaths makes the routes of a path public, except those that name a guard', async (t) => {
  const { app, status, token } = await start(
    t,
    { publicPaths: ['/docs', '/assets'] },
    {
      declare(app) {
        for (const url of PUBLIC) app.get(url, handler)
        app.get('/docs/private', { preHandler: app.requireUser() }, handler)
      }
    }
  )
  for (const url of PUBLIC) t.equal((await app.inject(url)).statusCode, 200, url)
  t.strictSame(answer(await app.inject('/docs/private')), NOT_AUTHENTICATED)
  t.equal(await status(token(), '/docs/private'), 200)
})

for (const url of NOT_PUBLIC)
  t.test(`publicPaths makes no other route public: ${url}`, async (t) => {
    const declare: Declare = (app) => app.get(url, handler)
    await t.rejects(start(t, { publicPaths: ['/docs', '/assets'] }, { declare }), { message: / names no guard: / })
  })

t.test(
  'publicPaths makes the routes of other plugins public: @fastify/swagger-ui, and OPTIONS of every path',
  async (t) => {
    const { app } = await start(
      t,
      { publicPaths: ['/docs', '*'] },
      {
        before: registerSwagger,
        async declare(app) {
          await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
          app.options('*', handler)
        }
      }
    )
    t.equal((await app.inject('/docs/json')).statusCode, 200)
    t.equal((await app.inject({ method: 'OPTIONS', url: '/anything' })).statusCode, 200)
  }
)

const NO_SECRET = 'latchkey-guard: clientSecret or privateKey of orders-api is missing'
const INVALID_OPTIONS: [name: string, options: object, message: string][] = [
  ['no audience', { audience: undefined }, 'latchkey-guard: audience must be an absolute URI'],
  ['an audience that is a name', { audience: 'orders' }, 'latchkey-guard: audience must be an absolute URI'],
  ['an audience without a scheme', { audience: 'localhost:4000' }, 'latchkey-guard: audience must be an absolute URI'],
  ['an audience that is a path', { audience: '/orders' }, 'latchkey-guard: audience must be an absolute URI'],
  [
    'an audience with a fragment',
    { audience: `${AUDIENCE}#x` },
    'latchkey-guard: audience must be an absolute URI without fragment'
  ],
  [
    'eleven equal audiences',
    { audience: Array.from({ length: 11 }, () => 'https://a.example') },
    'latchkey-guard: audience must be an absolute URI without fragment, or a list of at most 10 such URIs'
  ],
  ['an empty list of audiences', { audience: [] }, 'latchkey-guard: audience must be an absolute URI'],
  ['a list with a name', { audience: [AUDIENCE, 'orders'] }, 'latchkey-guard: audience must be an absolute URI'],
  ['an onRefused that is no function', { onRefused: 'log' }, 'latchkey-guard: onRefused must be a function'],
  ['no issuer', { issuer: undefined }, 'issuer must be an https URL'],
  ['an issuer with a trailing slash', { issuer: 'https://id.example.com/' }, 'issuer must be an https URL'],
  ['an issuer over http', { issuer: 'http://id.example.com' }, 'issuer must be an https URL'],
  [
    'an unknown revocation',
    { revocation: 'jwt' },
    'latchkey-guard: revocation must be one of log, introspection, none'
  ],
  ['an unknown whenStale', { whenStale: true }, 'latchkey-guard: whenStale must be one of refuse, accept'],
  ['a misspelt name', { onRefuse: () => {} }, 'latchkey-guard: "onRefuse" is not an option, did you mean "onRefused"?'],
  ['an unknown unguarded', { unguarded: 'public' }, 'latchkey-guard: unguarded must be one of refuse, allow'],
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
  ['no secret for the log', { revocation: 'log', clientSecret: undefined }, NO_SECRET],
  ['no secret for introspection', { revocation: 'introspection', clientSecret: undefined }, NO_SECRET],
  ['a secret and a key', { revocation: 'log', privateKey: 'x' }, 'either clientSecret or privateKey must be given']
]
for (const [name, options, message] of INVALID_OPTIONS)
  t.test(`invalid options stop the start: ${name}`, async (t) => {
    await t.rejects(start(t, options), { message })
  })

t.test('options of Fastify are no misspelt options of the guard', async (t) => {
  const { status, token } = await start(t, { logLevel: 'warn', logSerializers: {}, prefix: '', mine: 1 } as object)
  t.equal(await status(token()), 200)
})

t.test('without revocation no credentials are needed', async (t) => {
  const credentials = { clientId: undefined, clientSecret: undefined }
  const { status, token } = await start(t, credentials)
  t.equal(await status(token()), 200)
})
