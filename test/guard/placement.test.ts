import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { selfGuarded } from '../../src/guard/core.ts'
import { handler, send, serve, statuses } from './core.ts'

const ELSEWHERE: [name: string, declare: (app: FastifyInstance) => unknown][] = [
  ['under onRequest', (app) => app.get('/x', { onRequest: app.requireScope('a') }, handler)],
  ['under preValidation', (app) => app.get('/x', { preValidation: [app.requireScope('a')] }, handler)],
  [
    'as a hook',
    (app) => {
      app.addHook('onRequest', app.requireScope('a'))
      app.get('/x', handler)
    }
  ],
  [
    'as a hook, beside public access',
    (app) => {
      app.addHook('preHandler', app.requireScope('a'))
      app.get('/x', { preHandler: app.publicAccess }, handler)
    }
  ],
  [
    'set by an onRoute hook',
    (app) => {
      app.addHook('onRoute', (route) => {
        route.preHandler = app.requireScope('a')
      })
      app.get('/x', handler)
    }
  ],
  [
    'in another function',
    (app) => {
      const inner = app.requireScope('a')
      app.get('/x', { preHandler: (request, reply) => inner.call(app, request, reply) }, handler)
    }
  ]
]
for (const [name, declare] of ELSEWHERE)
  t.test(`a guard outside the preHandler of its route is enforced too: ${name}`, async (t) => {
    const app = await serve(t, declare, { unguarded: 'allow' })
    t.strictSame(await statuses(app, '/x', ['a', 'b']), { none: 401, a: 200, b: 403, unknown: 401 })
    t.match((await send(app, '/x')).headers['www-authenticate'], /^Bearer /)
  })

/** Accepts the callers that send the word. */
const byWord = selfGuarded(async (request) => {
  if (request.headers['x-word'] !== 'sesame') throw Object.assign(new Error('the word is wrong'), { statusCode: 401 })
})
/** Returns the status of `GET url` with the word, and with another word. */
async function statusesByWord(app: FastifyInstance, url: string, headers: Record<string, string> = {}) {
  const status = async (word: string) => (await app.inject({ url, headers: { 'x-word': word, ...headers } })).statusCode
  return [await status('sesame'), await status('barley')]
}

t.test('a route may have a guard that checks its callers itself', async (t) => {
  const app = await serve(t, (scope) => scope.get('/x', { preHandler: byWord }, handler))
  t.strictSame(await statusesByWord(app, '/x'), [200, 401])
})

t.test('a guard that checks its callers itself runs beside a guard that requires a token', async (t) => {
  const app = await serve(t, (scope) => {
    scope.get('/x', { preHandler: [byWord, scope.requireScope('a')] }, handler)
    scope.get('/y', { preHandler: [scope.requireScope('a'), byWord] }, handler)
  })
  for (const path of ['/x', '/y']) {
    t.strictSame(await statusesByWord(app, path, { authorization: 'Bearer a' }), [200, 401], path)
    t.strictSame(await statusesByWord(app, path), [401, 401], `${path} without a token`)
  }
})

t.test('a guard that checks its callers itself may be the guard of a scope', async (t) => {
  const app = await serve(t, (scope) => {
    scope.decorate('defaultGuard', byWord)
    scope.get('/x', handler)
  })
  t.strictSame(await statusesByWord(app, '/x'), [200, 401])
})
