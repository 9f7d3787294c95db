import fastify, { type FastifyInstance, type FastifyRequest, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import guard, { type GuardOptions, selfGuarded } from '../../src/guard/core.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import type { Principal } from '../../src/token/principal.ts'

const CLAIMS = { jti: 'x' } as AccessTokenClaims

const user = (scopes: string[] = [], roles: string[] = []): Principal => ({
  kind: 'user',
  sub: 'user-1',
  clientId: 'app',
  sid: 'session-1',
  scopes,
  roles,
  token: CLAIMS
})

const TOKENS: Record<string, Principal> = {
  nothing: user(),
  a: user(['a']),
  b: user(['b']),
  ab: user(['a', 'b']),
  admin: user([], ['admin']),
  all: user(['a', 'b'], ['admin', 'auditor']),
  service: { kind: 'client', sub: 'app', clientId: 'app', sid: null, scopes: ['a', 'b'], roles: [], token: CLAIMS }
}

const verify: GuardOptions['verify'] = async (token) => TOKENS[token] ?? null

/** A bare server with the guard and these routes, declared in a plugin of their own. */
async function serve(
  t: Test,
  declare: (app: FastifyInstance) => unknown,
  options: Partial<GuardOptions> = {}
): Promise<FastifyInstance> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, {
    verify,
    flows: { user: ['password', 'code'], client: ['clientCredentials'] },
    ...options
  })
  await app.register(async (scope) => void (await declare(scope)))
  await app.ready()
  return app
}

const ask = async (app: FastifyInstance, url: string, token?: string, method: 'GET' | 'HEAD' | 'POST' = 'GET') =>
  app.inject({ method, url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })

/** Status with each of the tokens, and without one as `none`. */
async function statuses(app: FastifyInstance, url: string, tokens = Object.keys(TOKENS)) {
  const entries = [['none', (await ask(app, url)).statusCode]]
  for (const token of [...tokens, 'unknown']) entries.push([token, (await ask(app, url, token)).statusCode])
  return Object.fromEntries(entries)
}

/** The routes of a server as their schemas stand at the end, by method and path. */
function described(app: FastifyInstance) {
  const schemas = new Map<string, { security: unknown; description?: string }>()
  app.addHook('onRoute', ({ method, url, schema }: RouteOptions) => {
    schemas.set(`${[method].flat().join(',')} ${url}`, { ...(schema as { security: unknown; description?: string }) })
  })
  return schemas
}

const handler = async () => 'in'

const UNGUARDED: [name: string, declare: (app: FastifyInstance) => unknown, names: string][] = [
  ['in short', (app) => app.get('/x', handler), 'GET /x'],
  ['with options', (app) => app.get('/x', { schema: { summary: 'X' } }, handler), 'GET /x'],
  ['hidden from the document', (app) => app.get('/x', { schema: { hide: true } as object }, handler), 'GET /x'],
  ['in full', (app) => app.route({ method: 'PUT', url: '/x', handler }), 'PUT /x'],
  ['for several methods', (app) => app.route({ method: ['GET', 'POST'], url: '/x', handler }), 'GET, POST /x'],
  ['for HEAD', (app) => app.head('/x', handler), 'HEAD /x'],
  ['for OPTIONS', (app) => app.options('*', handler), 'OPTIONS *'],
  ['for every method', (app) => app.all('/x', handler), '/x'],
  ['in a child plugin', (app) => app.register(async (child) => void child.get('/x', handler)), 'GET /x'],
  [
    'in a grandchild under a prefix',
    (app) =>
      app.register(async (child) => void child.register(async (grandchild) => void grandchild.get('/', handler)), {
        prefix: '/x'
      }),
    'GET /x'
  ],
  ['with no preHandlers', (app) => app.get('/x', { preHandler: [] }, handler), 'GET /x'],
  ['with a preHandler that is no guard', (app) => app.get('/x', { preHandler: async () => {} }, handler), 'GET /x'],
  [
    'with a guard that was not called',
    (app) => app.get('/x', { preHandler: app.requireUser as never }, handler),
    'GET /x'
  ],
  [
    'with a guard inside of another function',
    (app) => {
      const inner = app.requireUser()
      app.get('/x', { preHandler: (request, reply) => inner.call(app, request, reply) }, handler)
    },
    'GET /x'
  ],
  ['with a guard under onRequest', (app) => app.get('/x', { onRequest: app.requireUser() }, handler), 'GET /x'],
  ['with a guard under preValidation', (app) => app.get('/x', { preValidation: app.requireUser() }, handler), 'GET /x'],
  [
    'beside a scope that has a guard of its own',
    async (app) => {
      await app.register(async (child) => {
        child.decorate('guardOfScope', child.publicAccess)
        child.get('/open', handler)
      })
      app.get('/x', handler)
    },
    'GET /x'
  ]
]
for (const [name, declare, names] of UNGUARDED) {
  t.test(`a route without a guard stops the boot: ${name}`, async (t) => {
    await t.rejects(serve(t, declare), { message: new RegExp(`${names.replace(/[*/]/g, '\\$&')} names no guard: `) })
  })
}

t.test('a route without a guard stops the boot: at the top level', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, { verify, flows: { user: [], client: [] } })
  t.throws(() => app.get('/x', handler), { message: /^GET \/x names no guard: / })
})

t.test('a route with public access takes every caller and looks at no token', async (t) => {
  let verified = 0
  const app = await serve(
    t,
    (scope) => scope.get('/x', { preHandler: scope.publicAccess }, async (r) => ({ p: r.principal })),
    {
      verify: async () => {
        verified++
        throw new Error('must not be asked')
      }
    }
  )
  for (const token of [undefined, 'all', 'unknown', '']) {
    const response = await ask(app, '/x', token)
    t.strictSame([response.statusCode, response.json()], [200, { p: null }])
  }
  t.equal(verified, 0)
})

const nobody = { none: 401, nothing: 403, a: 403, b: 403, ab: 403, admin: 403, all: 200, service: 403, unknown: 401 }
const MERGED: [name: string, guards: (app: FastifyInstance) => unknown[], expected: Record<string, number>][] = [
  ['a user', (app) => [app.requireUser()], { ...nobody, nothing: 200, a: 200, b: 200, ab: 200, admin: 200 }],
  [
    'any token',
    (app) => [app.requireScope()],
    { ...nobody, nothing: 200, a: 200, b: 200, ab: 200, admin: 200, service: 200 }
  ],
  ['a scope', (app) => [app.requireScope('a')], { ...nobody, a: 200, ab: 200, service: 200 }],
  ['both scopes of one guard', (app) => [app.requireScope('a', 'b')], { ...nobody, ab: 200, service: 200 }],
  [
    'both scopes of two guards',
    (app) => [app.requireScope('a'), app.requireScope('b')],
    { ...nobody, ab: 200, service: 200 }
  ],
  ['a role', (app) => [app.requireRole('admin')], { ...nobody, admin: 200 }],
  ['both roles of one guard', (app) => [app.requireRole('admin', 'auditor')], nobody],
  ['both roles of two guards', (app) => [app.requireRole('admin'), app.requireRole('auditor')], nobody],
  ['a user with both scopes', (app) => [app.requireScope('b', 'a'), app.requireUser()], { ...nobody, ab: 200 }],
  ['user, scope and role', (app) => [app.requireUser(), app.requireScope('a'), app.requireRole('admin')], nobody],
  [
    'a scope, whatever public access says before',
    (app) => [app.publicAccess, app.requireScope('a')],
    { ...nobody, a: 200, ab: 200, service: 200 }
  ],
  [
    'a scope, whatever public access says after',
    (app) => [app.requireScope('a'), app.publicAccess],
    { ...nobody, a: 200, ab: 200, service: 200 }
  ]
]
for (const [name, guards, expected] of MERGED) {
  t.test(`guards of one route are one demand: ${name}`, async (t) => {
    const app = await serve(t, (scope) => scope.get('/x', { preHandler: guards(scope) as never }, handler))
    t.strictSame(await statuses(app, '/x'), expected)
  })
}

t.test('a guard alone, not in a list, is enforced', async (t) => {
  const app = await serve(t, (scope) => scope.get('/x', { preHandler: scope.requireScope('a') }, handler))
  t.strictSame(await statuses(app, '/x', ['a', 'b']), { none: 401, a: 200, b: 403, unknown: 401 })
})

const ELSEWHERE: [name: string, declare: (app: FastifyInstance) => unknown][] = [
  ['under onRequest', (app) => app.get('/x', { onRequest: app.requireScope('a') }, handler)],
  ['under preValidation', (app) => app.get('/x', { preValidation: [app.requireScope('a')] }, handler)],
  [
    'as a hook of its scope',
    (app) => {
      app.addHook('onRequest', app.requireScope('a'))
      app.get('/x', handler)
    }
  ],
  [
    'as a hook of its scope, beside public access',
    (app) => {
      app.addHook('preHandler', app.requireScope('a'))
      app.get('/x', { preHandler: app.publicAccess }, handler)
    }
  ],
  [
    'given by a hook of its scope for routes',
    (app) => {
      app.addHook('onRoute', (route) => {
        route.preHandler = app.requireScope('a')
      })
      app.get('/x', handler)
    }
  ],
  [
    'inside of another function',
    (app) => {
      const inner = app.requireScope('a')
      app.get('/x', { preHandler: (request, reply) => inner.call(app, request, reply) }, handler)
    }
  ]
]
for (const [name, declare] of ELSEWHERE) {
  t.test(`a guard that is not under preHandler of its route is enforced all the same: ${name}`, async (t) => {
    const app = await serve(t, declare, { unguarded: 'allow' })
    t.strictSame(await statuses(app, '/x', ['a', 'b']), { none: 401, a: 200, b: 403, unknown: 401 })
    const { headers } = await ask(app, '/x')
    t.match(headers['www-authenticate'], /^Bearer /)
  })
}

t.test('every method of a route is guarded', async (t) => {
  const app = await serve(t, (scope) =>
    scope.route({ method: ['GET', 'POST'], url: '/x', preHandler: scope.requireScope('a'), handler })
  )
  for (const method of ['GET', 'POST'] as const) {
    t.equal((await ask(app, '/x', undefined, method)).statusCode, 401)
    t.equal((await ask(app, '/x', 'b', method)).statusCode, 403)
    t.equal((await ask(app, '/x', 'a', method)).statusCode, 200)
  }
})

t.test('options that two routes share guard both', async (t) => {
  const app = await serve(t, (scope) => {
    const options = { preHandler: [scope.requireScope('a')], schema: { description: 'Shared.' } as object }
    scope.get('/x', options, handler)
    scope.get('/y', options, handler)
  })
  for (const path of ['/x', '/y'])
    t.strictSame(await statuses(app, path, ['a', 'b']), { none: 401, a: 200, b: 403, unknown: 401 })
})

t.test('a route at the root of a prefix is guarded with and without the slash', async (t) => {
  const app = await serve(t, (scope) =>
    scope.register(async (child) => void child.get('/', { preHandler: child.requireScope('a') }, handler), {
      prefix: '/x'
    })
  )
  for (const path of ['/x', '/x/'])
    t.strictSame(await statuses(app, path, ['a', 'b']), { none: 401, a: 200, b: 403, unknown: 401 })
})

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
    'Bearer realm="latchkey", error="insufficient_scope", error_description="Not enough permissions", scope="a b"'
  ],
  ['ab', 403, 'Bearer realm="latchkey", error="insufficient_scope", error_description="Not enough permissions"'],
  ['service', 403, 'Bearer realm="latchkey", error="insufficient_scope", error_description="Not enough permissions"'],
  ['all', 200, undefined]
]
t.test('a refusal carries its challenge, also in a server that has no error handler of its own', async (t) => {
  const app = await serve(t, (scope) =>
    scope.get(
      '/x',
      {
        preHandler: [scope.requireUser(), scope.requireScope('a'), scope.requireScope('b'), scope.requireRole('admin')]
      },
      handler
    )
  )
  for (const [token, status, challenge] of CHALLENGES) {
    const response = await ask(app, '/x', token)
    t.strictSame([response.statusCode, response.headers['www-authenticate']], [status, challenge], token ?? 'none')
  }
})

t.test('two Authorization lines are refused on every route', async (t) => {
  const app = await serve(t, (scope) => {
    scope.get('/x', { preHandler: scope.requireUser() }, handler)
    scope.get('/open', { preHandler: scope.publicAccess }, handler)
  })
  for (const url of ['/x', '/open']) {
    const headers = { authorization: ['Bearer all', 'Bearer all'] as unknown as string }
    t.equal((await app.inject({ method: 'GET', url, headers })).statusCode, 400, url)
  }
})

t.test('a handler gets the principal that verify gave for exactly the token of the request', async (t) => {
  const asked: string[] = []
  let seen: Principal | undefined
  const app = await serve(
    t,
    (scope) =>
      scope.get('/x', { preHandler: [scope.requireUser(), scope.requireScope('a')] }, async ({ principal }) => {
        seen = principal
      }),
    {
      verify: async (token) => {
        asked.push(token)
        return TOKENS.all as Principal
      }
    }
  )
  await ask(app, '/x')
  await app.inject({ method: 'GET', url: '/x', headers: { authorization: 'Basic all' } })
  t.strictSame(asked, [], 'without a token nobody is asked')
  await ask(app, '/x', 'a.b-c_d~e+f/g=')
  t.strictSame(asked, ['a.b-c_d~e+f/g='])
  t.equal(seen, TOKENS.all)
})

const FAILURES: [name: string, error: unknown][] = [
  ['an error', new Error('the database is away')],
  ['a type error', new TypeError('x is not a function')],
  ['an error with statusCode 401', Object.assign(new Error('the key server said no'), { statusCode: 401 })],
  ['an error with status 403', Object.assign(new Error('the key server said no'), { status: 403 })],
  ['an error with statusCode 404', Object.assign(new Error('the key server has no keys'), { statusCode: 404 })]
]
for (const [name, error] of FAILURES) {
  t.test(`what verify throws is our failure, never the caller’s: ${name}`, async (t) => {
    const app = await serve(t, (scope) => scope.get('/x', { preHandler: scope.requireUser() }, handler), {
      verify: async () => {
        throw error
      }
    })
    const response = await ask(app, '/x', 'all')
    t.strictSame([response.statusCode, response.headers['www-authenticate']], [500, undefined])
  })
}

t.test('guards run before everything that reads the request', async (t) => {
  const seen: string[] = []
  const note = (name: string) => async () => void seen.push(name)
  const app = await serve(t, (scope) => {
    scope.addContentTypeParser('application/x-note', { parseAs: 'string' }, (_request, _body, done) => {
      seen.push('parser')
      done(null, {})
    })
    scope.post(
      '/x',
      {
        preHandler: [scope.requireScope('a'), note('preHandler')],
        onRequest: [note('onRequest')],
        preParsing: async (_request, _reply, payload) => {
          seen.push('preParsing')
          return payload
        },
        preValidation: [note('preValidation')],
        schema: { body: { type: 'object', required: ['x'] } }
      },
      handler
    )
  })
  const post = (contentType: string, token?: string) =>
    app.inject({
      method: 'POST',
      url: '/x',
      headers: { 'content-type': contentType, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      payload: '{"broken'
    })
  for (const contentType of ['application/json', 'application/x-note', 'text/html', 'nonsense']) {
    t.equal((await post(contentType)).statusCode, 401)
    t.equal((await post(contentType, 'unknown')).statusCode, 401)
    t.equal((await post(contentType, 'b')).statusCode, 403)
  }
  t.strictSame(seen, [])
  t.equal((await post('application/x-note', 'a')).statusCode, 400)
  t.strictSame(seen, ['onRequest', 'preParsing', 'parser', 'preValidation'])
})

t.test('preHandlers that are no guards keep their order, and see the principal', async (t) => {
  const seen: string[] = []
  const note = (name: string) => async (request: FastifyRequest) => void seen.push(`${name} ${request.principal.sub}`)
  const app = await serve(t, (scope) => {
    const { requireUser, requireScope, requireRole } = scope
    scope.get(
      '/x',
      {
        preHandler: [note('1'), requireUser(), note('2'), requireScope('a'), requireRole('admin'), note('3'), note('4')]
      },
      handler
    )
  })
  t.equal((await ask(app, '/x', 'a')).statusCode, 403)
  t.strictSame(seen, [])
  t.equal((await ask(app, '/x', 'all')).statusCode, 200)
  t.strictSame(seen, ['1 user-1', '2 user-1', '3 user-1', '4 user-1'])
})

t.test('HEAD, which comes with GET, is guarded and described once', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, { verify, flows: { user: ['password', 'code'], client: ['clientCredentials'] } })
  const schemas = described(app)
  app.get('/x', { preHandler: app.requireScope('a'), schema: { description: 'Reads.' } as object }, handler)
  app.get('/open', { preHandler: app.publicAccess }, handler)
  await app.ready()
  t.strictSame(
    [(await ask(app, '/x', undefined, 'HEAD')).statusCode, (await ask(app, '/x', 'b', 'HEAD')).statusCode],
    [401, 403]
  )
  t.equal((await ask(app, '/x', 'a', 'HEAD')).statusCode, 200)
  t.equal((await ask(app, '/open', undefined, 'HEAD')).statusCode, 200)
  t.strictSame([...schemas.keys()].sort(), ['GET /open', 'GET /x', 'HEAD /open', 'HEAD /x'])
  t.strictSame(schemas.get('HEAD /x'), schemas.get('GET /x'))
  t.equal(schemas.get('GET /x')?.description?.match(/`a`/g)?.length, 1)
})

t.test('a route’s demand is written into its operation, once for each flow', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, { verify, flows: { user: ['password', 'code'], client: ['clientCredentials'] } })
  const schemas = described(app)
  const { requireUser, requireScope, requireRole, publicAccess } = app
  app.get(
    '/merged',
    {
      preHandler: [requireUser(), requireScope('b', 'a'), requireScope('a', 'c'), requireRole('admin')],
      schema: { description: 'What it does.', tags: ['x'] } as object
    },
    handler
  )
  app.get('/user', { preHandler: requireUser() }, handler)
  app.get('/hidden', { preHandler: requireScope('a'), schema: { hide: true } as object }, handler)
  app.get('/open', { preHandler: publicAccess, schema: { description: 'Open.' } as object }, handler)
  await app.ready()

  const { description = '', ...merged } = schemas.get('GET /merged') ?? { security: null }
  t.strictSame(merged, { tags: ['x'], security: [{ password: ['b', 'a', 'c'] }, { code: ['b', 'a', 'c'] }] })
  t.match(description, /^What it does\.\n\n/)
  for (const name of ['`a`', '`b`', '`c`', '`admin`']) t.equal(description.split(name).length, 2, `${name} stands once`)
  t.strictSame(schemas.get('GET /user')?.security, [{ password: [] }, { code: [] }])
  t.match(schemas.get('GET /user')?.description, /user/)
  t.strictSame(
    schemas.get('GET /hidden')?.security,
    [{ password: ['a'] }, { code: ['a'] }, { clientCredentials: ['a'] }],
    'a client may call it too'
  )
  t.strictSame(schemas.get('GET /open'), { description: 'Open.', security: [] })
})

t.test('the guard of a scope is that of its routes that name none, and of no others', async (t) => {
  const app = await serve(t, async (scope) => {
    await scope.register(async (open) => {
      open.decorate('guardOfScope', open.publicAccess)
      open.get('/open', handler)
      open.get('/open/own', { preHandler: open.requireScope('a') }, handler)
      await open.register(async (child) => void child.get('/open/child', handler))
    })
    await scope.register(async (closed) => {
      closed.decorate('guardOfScope', closed.requireScope('a'))
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
  for (const [path, [none, a, b]] of Object.entries(expected)) {
    const unknown = none
    t.strictSame(await statuses(app, path, ['a', 'b']), { none, a, b, unknown }, path)
  }
})

/** A guard that sees to its callers itself: those that know the word. */
const sesame = selfGuarded(async (request) => {
  if (request.headers['x-word'] !== 'sesame') throw Object.assign(new Error('the word is wrong'), { statusCode: 401 })
})
const knock = async (app: FastifyInstance, url: string, word: string, token?: string) =>
  app.inject({
    method: 'GET',
    url,
    headers: { 'x-word': word, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  })

t.test('a guard that sees to its callers itself is a guard, and runs', async (t) => {
  const app = await serve(t, (scope) => scope.get('/x', { preHandler: sesame }, handler))
  t.strictSame(
    [(await knock(app, '/x', 'sesame')).statusCode, (await knock(app, '/x', 'barley')).statusCode],
    [200, 401]
  )
})

t.test('a guard that sees to its callers itself runs also beside one that asks for a token', async (t) => {
  const app = await serve(t, (scope) => {
    scope.get('/x', { preHandler: [sesame, scope.requireScope('a')] }, handler)
    scope.get('/y', { preHandler: [scope.requireScope('a'), sesame] }, handler)
  })
  for (const path of ['/x', '/y']) {
    t.equal((await knock(app, path, 'sesame', 'a')).statusCode, 200, path)
    t.equal((await knock(app, path, 'sesame')).statusCode, 401, `${path} without a token`)
    t.equal((await knock(app, path, 'barley', 'a')).statusCode, 401, `${path} without the word`)
  }
})

t.test('a guard that sees to its callers itself runs also as the guard of a scope', async (t) => {
  const app = await serve(t, (scope) => {
    scope.decorate('guardOfScope', sesame)
    scope.get('/x', handler)
  })
  t.strictSame(
    [(await knock(app, '/x', 'sesame')).statusCode, (await knock(app, '/x', 'barley')).statusCode],
    [200, 401]
  )
})
