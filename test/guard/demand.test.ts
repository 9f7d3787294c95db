import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { handler, send, serve, statuses } from './core.ts'

/** The statuses of a guard that only the token with every scope and role satisfies. */
const onlyAll = { none: 401, nothing: 403, a: 403, b: 403, ab: 403, admin: 403, all: 200, service: 403, unknown: 401 }
const MERGED: [name: string, guards: (app: FastifyInstance) => unknown[], expected: Record<string, number>][] = [
  ['a user', (app) => [app.requireUser()], { ...onlyAll, nothing: 200, a: 200, b: 200, ab: 200, admin: 200 }],
  [
    'any token',
    (app) => [app.requireScope()],
    { ...onlyAll, nothing: 200, a: 200, b: 200, ab: 200, admin: 200, service: 200 }
  ],
  ['a scope', (app) => [app.requireScope('a')], { ...onlyAll, a: 200, ab: 200, service: 200 }],
  ['two scopes of one guard', (app) => [app.requireScope('a', 'b')], { ...onlyAll, ab: 200, service: 200 }],
  [
    'two scopes of two guards',
    (app) => [app.requireScope('a'), app.requireScope('b')],
    { ...onlyAll, ab: 200, service: 200 }
  ],
  ['a role', (app) => [app.requireRole('admin')], { ...onlyAll, admin: 200 }],
  ['two roles of one guard', (app) => [app.requireRole('admin', 'auditor')], onlyAll],
  ['two roles of two guards', (app) => [app.requireRole('admin'), app.requireRole('auditor')], onlyAll],
  ['a user with two scopes', (app) => [app.requireScope('b', 'a'), app.requireUser()], { ...onlyAll, ab: 200 }],
  ['user, scope and role', (app) => [app.requireUser(), app.requireScope('a'), app.requireRole('admin')], onlyAll],
  [
    'a scope after public access',
    (app) => [app.publicAccess, app.requireScope('a')],
    { ...onlyAll, a: 200, ab: 200, service: 200 }
  ],
  [
    'a scope before public access',
    (app) => [app.requireScope('a'), app.publicAccess],
    { ...onlyAll, a: 200, ab: 200, service: 200 }
  ]
]
for (const [name, guards, expected] of MERGED)
  t.test(`the guards of a route are merged into one demand: ${name}`, async (t) => {
    const app = await serve(t, (scope) => scope.get('/x', { preHandler: guards(scope) as never }, handler))
    t.strictSame(await statuses(app, '/x'), expected)
  })

const NEEDS_A = { none: 401, a: 200, b: 403, unknown: 401 }

t.test('a guard that is not in an array is enforced', async (t) => {
  const app = await serve(t, (scope) => scope.get('/x', { preHandler: scope.requireScope('a') }, handler))
  t.strictSame(await statuses(app, '/x', ['a', 'b']), NEEDS_A)
})

t.test('every method of a route is guarded', async (t) => {
  const app = await serve(t, (scope) =>
    scope.route({ method: ['GET', 'POST'], url: '/x', preHandler: scope.requireScope('a'), handler })
  )
  for (const method of ['GET', 'POST'] as const)
    for (const [token, status] of [
      [undefined, 401],
      ['b', 403],
      ['a', 200]
    ] as const)
      t.equal((await send(app, '/x', token, method)).statusCode, status, `${method} ${token}`)
})

t.test('two routes that share their options are both guarded', async (t) => {
  const app = await serve(t, (scope) => {
    const options = { preHandler: [scope.requireScope('a')], schema: { description: 'Shared.' } as object }
    scope.get('/x', options, handler)
    scope.get('/y', options, handler)
  })
  for (const path of ['/x', '/y']) t.strictSame(await statuses(app, path, ['a', 'b']), NEEDS_A)
})

t.test('a route at the root of a prefix is guarded with and without a trailing slash', async (t) => {
  const app = await serve(t, (scope) =>
    scope.register(async (child) => void child.get('/', { preHandler: child.requireScope('a') }, handler), {
      prefix: '/x'
    })
  )
  for (const path of ['/x', '/x/']) t.strictSame(await statuses(app, path, ['a', 'b']), NEEDS_A)
})

t.test('the default guard of a plugin applies to its routes that name no guard, and to no others', async (t) => {
  const app = await serve(t, async (scope) => {
    await scope.register(async (open) => {
      open.decorate('defaultGuard', open.publicAccess)
      open.get('/open', handler)
      open.get('/open/own', { preHandler: open.requireScope('a') }, handler)
      await open.register(async (child) => void child.get('/open/child', handler))
    })
    await scope.register(async (closed) => {
      closed.decorate('defaultGuard', closed.requireScope('a'))
      closed.get('/closed', handler)
      closed.get('/closed/hook', { preHandler: async () => {} }, handler)
      closed.get('/closed/own', { preHandler: closed.requireScope('b') }, handler)
      await closed.register(async (child) => void child.get('/closed/child', handler))
    })
    scope.get('/beside', { preHandler: scope.requireUser() }, handler)
  })
  const expected: Record<string, [none: number, a: number, b: number]> = {
    '/open': [200, 200, 200],
    '/open/own': [401, 200, 403],
    '/open/child': [200, 200, 200],
    '/closed': [401, 200, 403],
    '/closed/hook': [401, 200, 403],
    '/closed/own': [401, 403, 200],
    '/closed/child': [401, 200, 403],
    '/beside': [401, 200, 200]
  }
  for (const [path, [none, a, b]] of Object.entries(expected))
    t.strictSame(await statuses(app, path, ['a', 'b']), { none, a, b, unknown: none }, path)
})
