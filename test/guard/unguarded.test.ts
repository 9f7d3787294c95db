import fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import guard from '../../src/guard/core.ts'
import { handler, send, serve, UNKNOWN } from './core.ts'

type Declare = (app: FastifyInstance) => unknown

const UNGUARDED: [name: string, declare: Declare, route: string][] = [
  ['without options', (app) => app.get('/x', handler), 'GET /x'],
  ['with options', (app) => app.get('/x', { schema: { summary: 'X' } }, handler), 'GET /x'],
  ['hidden in the document', (app) => app.get('/x', { schema: { hide: true } as object }, handler), 'GET /x'],
  ['by `route`', (app) => app.route({ method: 'PUT', url: '/x', handler }), 'PUT /x'],
  ['for several methods', (app) => app.route({ method: ['GET', 'POST'], url: '/x', handler }), 'GET, POST /x'],
  ['for HEAD', (app) => app.head('/x', handler), 'HEAD /x'],
  ['for OPTIONS and GET', (app) => app.route({ method: ['OPTIONS', 'GET'], url: '/x', handler }), 'OPTIONS, GET /x'],
  ['for every method', (app) => app.all('/x', handler), '/x'],
  ['in a child plugin', (app) => app.register(async (child) => void child.get('/x', handler)), 'GET /x'],
  [
    'in a grandchild plugin under a prefix',
    (app) =>
      app.register(async (child) => void child.register(async (grandchild) => void grandchild.get('/', handler)), {
        prefix: '/x'
      }),
    'GET /x'
  ],
  ['with an empty preHandler', (app) => app.get('/x', { preHandler: [] }, handler), 'GET /x'],
  ['with a preHandler that is no guard', (app) => app.get('/x', { preHandler: async () => {} }, handler), 'GET /x'],
  [
    'with requireUser that is not called',
    (app) => app.get('/x', { preHandler: app.requireUser as never }, handler),
    'GET /x'
  ],
  [
    'with a guard in another function',
    (app) => {
      const inner = app.requireUser()
      app.get('/x', { preHandler: (request, reply) => inner.call(app, request, reply) }, handler)
    },
    'GET /x'
  ],
  ['with a guard under onRequest', (app) => app.get('/x', { onRequest: app.requireUser() }, handler), 'GET /x'],
  ['with a guard under preValidation', (app) => app.get('/x', { preValidation: app.requireUser() }, handler), 'GET /x'],
  [
    'beside a scope that has a guard',
    async (app) => {
      await app.register(async (child) => {
        child.decorate('defaultGuard', child.publicAccess)
        child.get('/open', handler)
      })
      app.get('/x', handler)
    },
    'GET /x'
  ]
]
for (const [name, declare, route] of UNGUARDED)
  t.test(`a route without a guard stops the start: ${name}`, async (t) => {
    await t.rejects(serve(t, declare), { message: new RegExp(`${route.replace(/[*/]/g, '\\$&')} names no guard: `) })
  })

t.test('a route without a guard stops the start: at the top level', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, { verify: () => UNKNOWN, flows: { user: [], client: [] } })
  t.throws(() => app.get('/x', handler), { message: /^GET \/x names no guard: / })
})

t.test('a route with public access accepts every caller and verifies no token', async (t) => {
  let verified = 0
  const app = await serve(
    t,
    (scope) => scope.get('/x', { preHandler: scope.publicAccess }, async ({ principal }) => ({ principal })),
    {
      verify: async () => {
        verified++
        return UNKNOWN
      }
    }
  )
  for (const token of [undefined, 'all', 'unknown', '']) {
    const response = await send(app, '/x', token)
    t.strictSame([response.statusCode, response.json()], [200, { principal: null }])
  }
  t.equal(verified, 0)
})

t.test('a route for OPTIONS alone needs no guard, because a preflight carries no credentials', async (t) => {
  const app = await serve(t, (scope) => scope.options('*', handler))
  const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
  t.equal((await app.inject({ method: 'OPTIONS', url: '/any', headers })).body, 'done')
})
