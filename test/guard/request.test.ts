import type { FastifyRequest } from 'fastify'
import t from 'tap'
import type { Principal } from '../../src/token/principal.ts'
import { handler, send, serve, TOKENS } from './core.ts'

const CHALLENGES: [token: string | undefined, status: number, challenge: string | undefined][] = [
  [undefined, 401, 'Bearer realm="latchkey"'],
  [
    'unknown',
    401,
    'Bearer realm="latchkey", error="invalid_token", error_description="Could not validate credentials"'
  ],
  [
    'b',
    403,
    'Bearer realm="latchkey", error="insufficient_scope", error_description="The token lacks the scope a and the role admin", scope="a b"'
  ],
  [
    'ab',
    403,
    'Bearer realm="latchkey", error="insufficient_scope", error_description="The token lacks the role admin"'
  ],
  [
    'service',
    403,
    'Bearer realm="latchkey", error="insufficient_scope", error_description="The token is not a token of a user"'
  ],
  ['all', 200, undefined]
]
t.test('a refusal has a challenge, also on a server without an error handler', async (t) => {
  const app = await serve(t, (scope) => {
    const { requireUser, requireScope, requireRole } = scope
    const preHandler = [requireUser(), requireScope('a'), requireScope('b'), requireRole('admin')]
    scope.get('/x', { preHandler }, handler)
  })
  for (const [token, status, challenge] of CHALLENGES) {
    const response = await send(app, '/x', token)
    t.strictSame([response.statusCode, response.headers['www-authenticate']], [status, challenge], token ?? 'none')
  }
})

t.test('no answer to a token may be stored, unless the handler of the route says so', async (t) => {
  const app = await serve(t, (scope) => {
    scope.get('/x', { preHandler: scope.requireUser() }, handler)
    scope.get('/open', { preHandler: scope.publicAccess }, handler)
    scope.get('/own', { preHandler: scope.requireUser() }, async (_request, reply) => {
      reply.header('cache-control', 'private, max-age=60')
      return 'own'
    })
    scope.get('/failing', { preHandler: scope.requireUser() }, async () => {
      throw new Error('planted by a test')
    })
  })
  const cacheOf = async (url: string, token?: string) => (await send(app, url, token)).headers['cache-control']
  for (const url of ['/x', '/failing', '/none', '/open']) t.equal(await cacheOf(url, 'all'), 'no-store', url)
  for (const url of ['/x', '/own']) t.equal(await cacheOf(url, 'unknown'), 'no-store', `${url} with an invalid token`)
  t.equal(await cacheOf('/x'), 'no-store', 'without a token')
  t.equal(await cacheOf('/own', 'all'), 'private, max-age=60')
  t.equal(await cacheOf('/open'), undefined)
})

t.test('two Authorization headers are refused on every route', async (t) => {
  const app = await serve(t, (scope) => {
    scope.get('/x', { preHandler: scope.requireUser() }, handler)
    scope.get('/open', { preHandler: scope.publicAccess }, handler)
  })
  for (const url of ['/x', '/open']) {
    const headers = { authorization: ['Bearer all', 'Bearer all'] as unknown as string }
    t.equal((await app.inject({ method: 'GET', url, headers })).statusCode, 400, url)
  }
})

t.test('`verify` gets the token of the request, and the handler gets its principal', async (t) => {
  const tokens: string[] = []
  let seen: Principal | undefined
  const app = await serve(
    t,
    (scope) =>
      scope.get('/x', { preHandler: [scope.requireUser(), scope.requireScope('a')] }, async ({ principal }) => {
        seen = principal
      }),
    {
      verify: async (token) => {
        tokens.push(token)
        return TOKENS.all as Principal
      }
    }
  )
  await send(app, '/x')
  await app.inject({ method: 'GET', url: '/x', headers: { authorization: 'Basic all' } })
  t.strictSame(tokens, [], 'without a token `verify` is not called')
  await send(app, '/x', 'a.b-c_d~e+f/g=')
  t.strictSame(tokens, ['a.b-c_d~e+f/g='])
  t.equal(seen, TOKENS.all)
})

const FAILURES: [name: string, error: unknown][] = [
  ['an error', new Error('the database is unavailable')],
  ['a type error', new TypeError('x is not a function')],
  ['an error with statusCode 401', Object.assign(new Error('the key server refused'), { statusCode: 401 })],
  ['an error with status 403', Object.assign(new Error('the key server refused'), { status: 403 })],
  ['an error with statusCode 404', Object.assign(new Error('the key server has no keys'), { statusCode: 404 })]
]
for (const [name, error] of FAILURES)
  t.test(`an error that \`verify\` throws gets 500 without a challenge: ${name}`, async (t) => {
    const app = await serve(t, (scope) => scope.get('/x', { preHandler: scope.requireUser() }, handler), {
      verify: async () => {
        throw error
      }
    })
    const response = await send(app, '/x', 'all')
    t.strictSame([response.statusCode, response.headers['www-authenticate']], [500, undefined])
  })

t.test('a guard runs before everything that reads the request', async (t) => {
  const calls: string[] = []
  const note = (name: string) => async () => void calls.push(name)
  const app = await serve(t, (scope) => {
    scope.addContentTypeParser('application/x-note', { parseAs: 'string' }, (_request, _body, done) => {
      calls.push('parser')
      done(null, {})
    })
    scope.post(
      '/x',
      {
        preHandler: [scope.requireScope('a'), note('preHandler')],
        onRequest: [note('onRequest')],
        preParsing: async (_request, _reply, payload) => {
          calls.push('preParsing')
          return payload
        },
        preValidation: [note('preValidation')],
        schema: { body: { type: 'object', required: ['x'] } }
      },
      handler
    )
  })
  const post = async (contentType: string, token?: string) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const headers = { 'content-type': contentType, ...authorization }
    return (await app.inject({ method: 'POST', url: '/x', headers, payload: '{"broken' })).statusCode
  }
  for (const contentType of ['application/json', 'application/x-note', 'text/html', 'nonsense'])
    t.strictSame(
      [await post(contentType), await post(contentType, 'unknown'), await post(contentType, 'b')],
      [401, 401, 403]
    )
  t.strictSame(calls, [])
  t.equal(await post('application/x-note', 'a'), 400)
  t.strictSame(calls, ['onRequest', 'preParsing', 'parser', 'preValidation'])
})

t.test('preHandlers that are no guards run after the guards, in their order, with the principal', async (t) => {
  const calls: string[] = []
  const note = (name: string) => async (request: FastifyRequest) => void calls.push(`${name} ${request.principal?.sub}`)
  const app = await serve(t, (scope) => {
    const guards = [scope.requireUser(), scope.requireScope('a'), scope.requireRole('admin')] as const
    const preHandler = [note('1'), guards[0], note('2'), guards[1], guards[2], note('3'), note('4')]
    scope.get('/x', { preHandler }, handler)
  })
  t.equal((await send(app, '/x', 'a')).statusCode, 403)
  t.strictSame(calls, [])
  t.equal((await send(app, '/x', 'all')).statusCode, 200)
  t.strictSame(calls, ['1 user-1', '2 user-1', '3 user-1', '4 user-1'])
})
