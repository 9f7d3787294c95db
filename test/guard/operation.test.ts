import type { FastifyInstance, RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { handler, send, serve } from './core.ts'

type Schema = { security: unknown; description?: string }

/** Starts a server, and returns the final schemas of its routes by method and path. */
async function serveDescribed(t: Test, declare: (app: FastifyInstance) => unknown) {
  const schemas = new Map<string, Schema>()
  const before = (app: FastifyInstance) =>
    app.addHook('onRoute', ({ method, url, schema }: RouteOptions) => {
      schemas.set(`${[method].flat().join(',')} ${url}`, { ...(schema as Schema) })
    })
  return { app: await serve(t, declare, { before }), schemas }
}

t.test('HEAD of a GET route is guarded, and has the same operation', async (t) => {
  const { app, schemas } = await serveDescribed(t, (scope) => {
    scope.get('/x', { preHandler: scope.requireScope('a'), schema: { description: 'Reads.' } as object }, handler)
    scope.get('/open', { preHandler: scope.publicAccess }, handler)
  })
  const status = async (url: string, token?: string) => (await send(app, url, token, 'HEAD')).statusCode
  t.strictSame([await status('/x'), await status('/x', 'b'), await status('/x', 'a')], [401, 403, 200])
  t.equal(await status('/open'), 200)
  t.strictSame([...schemas.keys()].sort(), ['GET /open', 'GET /x', 'HEAD /open', 'HEAD /x'])
  t.strictSame(schemas.get('HEAD /x'), schemas.get('GET /x'))
  t.equal(schemas.get('GET /x')?.description, 'Reads.\n\nNeeds a token with the scope `a`.')
})

t.test('the OpenAPI operation of a route states the requirements of its guards, for each flow', async (t) => {
  const { schemas } = await serveDescribed(t, (scope) => {
    const { requireUser, requireScope, requireRole, publicAccess } = scope
    scope.get(
      '/merged',
      {
        preHandler: [requireUser(), requireScope('b', 'a'), requireScope('a', 'c'), requireRole('admin')],
        schema: { description: 'Reads.', tags: ['x'] } as object
      },
      handler
    )
    scope.get('/user', { preHandler: requireUser() }, handler)
    scope.get('/hidden', { preHandler: requireScope('a'), schema: { hide: true } as object }, handler)
    scope.get('/open', { preHandler: publicAccess, schema: { description: 'Open.' } as object }, handler)
  })
  t.strictSame(schemas.get('GET /merged'), {
    tags: ['x'],
    security: [{ password: ['b', 'a', 'c'] }, { code: ['b', 'a', 'c'] }],
    description: 'Reads.\n\nNeeds a user’s token with the scope `b`, `a`, `c` and the role `admin`.'
  })
  t.strictSame(schemas.get('GET /user'), {
    security: [{ password: [] }, { code: [] }],
    description: 'Needs a user’s token.'
  })
  t.strictSame(schemas.get('GET /hidden'), {
    hide: true,
    security: [{ password: ['a'] }, { code: ['a'] }, { clientCredentials: ['a'] }],
    description: 'Needs a token with the scope `a`.'
  })
  t.strictSame(schemas.get('GET /open'), { description: 'Open.', security: [] })
})
