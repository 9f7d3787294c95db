import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import { assertNoRoutesBefore, declareMounted } from '../../src/guard/routes.ts'
import { answer } from '../forge.ts'
import { NOT_AUTHENTICATED } from './refusals.ts'
import { declareOrders, setUp } from './service.ts'

type Declare = (app: FastifyInstance) => unknown

const handler = async () => 'done'

/** Routes as @fastify/cors, @fastify/static, @fastify/under-pressure, fastify-metrics and Scalar declare them. */
const PLUGINS: [name: string, declare: Declare, publicPaths: string[], urls: string[]][] = [
  ['cors', (app) => app.options('*', { schema: { hide: true } as object }, handler), [], []],
  [
    'cors under a prefix',
    (app) => app.register(async (scope) => scope.options('*', handler), { prefix: '/v1' }),
    [],
    []
  ],
  [
    'static files',
    (app) => app.route({ method: ['HEAD', 'GET'], url: '/public/*', handler }),
    ['/public'],
    ['/public/x/y.css']
  ],
  ['static files at the root', (app) => app.route({ method: ['HEAD', 'GET'], url: '/*', handler }), ['/*'], ['/x.css']],
  ['status', (app) => app.route({ method: 'GET', url: '/status', handler }), ['/status'], ['/status']],
  [
    'metrics',
    (app) => app.route({ method: 'GET', url: '/metrics', exposeHeadRoute: false, handler }),
    ['/metrics'],
    ['/metrics']
  ],
  [
    'an API reference',
    (app) => {
      for (const url of ['/openapi.json', '', '/', '/js/scalar.js']) app.get(`/reference${url}`, handler)
    },
    ['/reference'],
    ['/reference', '/reference/', '/reference/js/scalar.js']
  ]
]
const WAYS: [way: string, wrap: (declare: Declare) => Declare][] = [
  ['as a plugin of the root', (declare) => (app) => app.register(fp(async (scope) => void (await declare(scope))))],
  ['as a plugin with a scope', (declare) => (app) => app.register(async (scope) => void (await declare(scope)))]
]
for (const [name, declare, publicPaths, urls] of PLUGINS)
  for (const [way, wrap] of WAYS)
    for (const when of ['before', 'after'] as const)
      t.test(`a guarded service starts with the routes of a plugin ${when} the guard, ${way}: ${name}`, async (t) => {
        const plugin = wrap(declare)
        const { app, status, token } = await setUp(
          t,
          { revocation: 'none', publicPaths },
          {
            before: (app) => when === 'before' && plugin(app),
            async declare(app) {
              if (when === 'after') await plugin(app)
              declareOrders(app)
            }
          }
        )
        for (const url of urls) t.equal((await app.inject(url)).body, 'done', url)
        t.strictSame(answer(await app.inject('/orders')), NOT_AUTHENTICATED)
        t.equal(await status(token()), 200)
      })

const start = (
  t: Parameters<typeof setUp>[0],
  { before = () => {}, declare = declareOrders, ...options }: object & { before?: Declare; declare?: Declare }
) => setUp(t, { revocation: 'none', ...options }, { before, declare })

for (const [name, declare, publicPaths, urls] of PLUGINS.filter(([, , paths]) => paths.length > 0)) {
  t.test(
    `without publicPaths the routes of a plugin stop the start, before and after the guard: ${name}`,
    async (t) => {
      await t.rejects(start(t, { before: declare }), {
        message: / exists before the guard, which cannot protect it\. /
      })
      await t.rejects(start(t, { declare }), { message: / names no guard: / })
    }
  )

  t.test(`the message says which path makes the routes of a plugin public: ${name}`, async (t) => {
    const { message } = await start(t, { before: declare }).then(
      () => ({ message: '' }),
      (error: Error) => error
    )
    const [, path = ''] = /add "(\S+)" to publicPaths/.exec(message) ?? []
    t.ok(
      publicPaths.some((each) => path === each || path.startsWith(`${each}/`)),
      `${path} for ${urls}`
    )
  })
}

t.test('the message names a route that exists before the guard, and what to do', async (t) => {
  await t.rejects(start(t, { before: (app: FastifyInstance) => app.get('/x/:id', handler) }), {
    message:
      'latchkey-guard: GET, HEAD /x/:id exists before the guard, which cannot protect it. Register the guard, and await the registration, before this route; or add "/x/:id" to publicPaths to make it public, with everything below it'
  })
})

t.test('the message names the package that declares a route after the guard, and what to write', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'node_modules/@acme/metrics/index.mjs')
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, "export default async (app, { path }) => app.get(path, async () => 'done')")
  const { default: metrics } = await import(file)
  for (const [path, toWrite, reach] of [
    ['/metrics', '/metrics', ', with everything below it'],
    ['/files/*', '/files', ', with everything below it'],
    ['/', '/', ''],
    ['/*', '/*', '']
  ])
    await t.rejects(start(t, { declare: (app: FastifyInstance) => app.register(metrics, { path }) }), {
      message: `GET ${path} of the package @acme/metrics names no guard: add "${toWrite}" to publicPaths to make it public${reach}; or register the package in a scope with scope.decorate('defaultGuard', scope.requireScope(…))`
    })
  await t.rejects(start(t, { declare: (app: FastifyInstance) => app.get('/x', handler) }), {
    message:
      'GET /x names no guard: put requireUser(), requireScope(…), requireRole(…) or publicAccess into its preHandler'
  })
})

t.test('the routes of a plugin can be guarded by the guard of their scope', async (t) => {
  const { app, get, token } = await setUp(
    t,
    { revocation: 'none' },
    {
      declare: (app) =>
        app.register(async (scope) => {
          scope.decorate('defaultGuard', scope.requireScope('metrics:read'))
          await scope.register(fp(async (plugin) => void plugin.get('/metrics', handler)))
        })
    }
  )
  t.equal((await app.inject('/metrics')).statusCode, 401)
  t.equal((await get(token(), '/metrics')).statusCode, 403)
  t.equal((await get(token({ scope: 'metrics:read' }), '/metrics')).body, 'done')
})

t.test('a preflight needs no guard and no token, also in a scope with a guard', async (t) => {
  const { app } = await setUp(
    t,
    { revocation: 'none' },
    {
      async declare(app) {
        await app.register(async (scope) => {
          scope.decorate('defaultGuard', scope.requireScope('a'))
          scope.options('/x', handler)
          scope.get('/x', handler)
        })
        app.route({ method: 'OPTIONS', url: '/own', preHandler: app.requireUser(), handler })
      }
    }
  )
  const preflight = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
  const options = async (url: string) => (await app.inject({ method: 'OPTIONS', url, headers: preflight })).statusCode
  t.equal(await options('/x'), 200)
  t.equal((await app.inject({ url: '/x', headers: preflight })).statusCode, 401, 'the header opens no other method')
  t.equal(await options('/own'), 401, 'a guard that the route names is enforced')
})

for (const method of [['GET', 'OPTIONS'], ['OPTIONS', 'POST'], 'GET', 'HEAD', 'TRACE'])
  t.test(`a route for more than OPTIONS needs a guard: ${method}`, async (t) => {
    const declare: Declare = (app) => app.route({ method: method as 'GET'[], url: '/x', handler })
    await t.rejects(start(t, { declare }), { message: / names no guard: / })
    await t.rejects(start(t, { before: declare }), { message: / exists before the guard/ })
  })

/** Routes that are declared before the guard, and the one that must be found. */
const BEFORE: [name: string, declare: Declare, found: string][] = [
  ['beside public ones', (app) => ['/docs', '/docs/x', '/docsx'].map((url) => app.get(url, handler)), '/docsx'],
  ['above a public one', (app) => ['/', '/docs'].map((url) => app.get(url, handler)), '/'],
  ['with a common beginning', (app) => ['/docs/ab', '/docs/ac', '/doc'].map((url) => app.get(url, handler)), '/doc'],
  ['with a parameter', (app) => ['/docs/:id', '/:docs/x'].map((url) => app.get(url, handler)), '/:docs/x'],
  ['with a wildcard', (app) => ['/docs/*', '/v1/*'].map((url) => app.get(url, handler)), '/v1/*'],
  ['with constraints', (app) => app.get('/x', { constraints: { host: 'x.example' } }, handler), '/x'],
  [
    'with other constraints than another',
    (app) => {
      app.options('/x', { constraints: { host: 'x.example' } }, handler)
      app.get('/x', { constraints: { host: 'y.example' } }, handler)
    },
    '/x'
  ],
  ['with spaces and brackets', (app) => app.get('/docs (GET)', handler), '/docs (GET)'],
  ['beside a preflight', (app) => app.options('*', handler).get('/*', handler), '/*'],
  ['in a plugin', (app) => app.register(async (scope) => void scope.get('/', handler), { prefix: '/v1' }), '/v1']
]
for (const [name, declare, found] of BEFORE)
  t.test(`a route that exists before the guard is found: ${name}`, async (t) => {
    const app = fastify()
    t.teardown(() => app.close())
    await declare(app)
    await app.after()
    try {
      assertNoRoutesBefore(app, ['/docs'])
      t.fail('the route was not found')
    } catch (error) {
      t.match((error as Error).message, ` ${found} exists before the guard, `)
    }
  })

t.test('the order of a mounted Latchkey and the guard does not matter: its paths are known', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  app.all('/auth/*', handler)
  t.throws(() => assertNoRoutesBefore(app, []), { message: /exists before the guard/ })
  declareMounted(app, ['/auth'])
  t.doesNotThrow(() => assertNoRoutesBefore(app, []))
  app.all('/authx', handler)
  t.throws(() => assertNoRoutesBefore(app, []), { message: / \/authx exists before the guard/ })
})
