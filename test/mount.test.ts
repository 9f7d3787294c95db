import fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import guard from '../src/guard/core.ts'
import latchkey from '../src/mount.ts'
import { refusal } from '../src/token/refusal.ts'
import { declareOrders, setUp } from './guard/service.ts'
import { routesOf } from './helper.ts'
import { bearer, login, openHost, settings } from './host.ts'
import { plant } from './secrets.ts'

const PROBLEM = 'application/problem+json; charset=utf-8'

const issuer = 'https://app.example.com/auth'
const shared = await openHost(t)
const ownKeys = Reflect.ownKeys(shared.host)
await shared.host.register(latchkey, await settings(t, issuer))
await shared.host.ready()

t.test(
  'a host keeps its tokens, parsers, hooks, error handlers and pages, and Latchkey is not affected by them',
  async (t) => {
    const { host, seen } = shared
    t.strictSame(Reflect.ownKeys(host), ownKeys)
    for (const name of ['store', 'signer', 'hasher', 'requireScope', 'drain', 'finishConnections', 'startSweeping'])
      t.equal(host.hasDecorator(name), false, name)
    t.equal(host.hasRequestDecorator('clientAuth'), false)

    const answer = await login(host, '/auth', { scope: 'profile account' })
    t.match(answer, { statusCode: 200, headers: { 'cache-control': 'no-store' } })
    const { access_token: token, refresh_token: refreshToken } = answer.json()
    plant(token.split('.')[2], refreshToken)
    const me = (await host.inject({ url: '/auth/users/me', headers: bearer(token) })).json()
    t.match(me, { username: 'admin', roles: ['admin'] })
    const renewed = await login(host, '/auth', { grant_type: 'refresh_token', refresh_token: refreshToken })
    t.equal(renewed.statusCode, 200)
    plant(renewed.json().refresh_token)
    const patched = await host.inject({
      method: 'PATCH',
      url: '/auth/users/me',
      headers: bearer(token),
      payload: { full_name: 'x'.repeat(100) }
    })
    t.match(
      [patched.statusCode, patched.json()],
      [200, { full_name: 'x'.repeat(100) }],
      'longer than the limit of the host'
    )

    const metadata = (await host.inject('/.well-known/oauth-authorization-server/auth')).json()
    t.match(metadata, { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/.well-known/jwks.json` })
    for (const url of [
      '/auth/.well-known/oauth-authorization-server',
      '/auth/.well-known/openid-configuration',
      '/.well-known/openid-configuration/auth'
    ])
      t.strictSame((await host.inject(url)).json(), metadata, url)
    t.equal((await host.inject('/auth/.well-known/jwks.json')).json().keys.length, 2)
    const index = (await host.inject('/auth')).json()
    t.strictSame((await host.inject('/auth/')).json(), index)
    for (const [name, link] of Object.entries<string>(index.links)) {
      const { statusCode } = await host.inject({
        url: new URL(link).pathname,
        method: name === 'token' ? 'POST' : 'GET'
      })
      t.equal(statusCode, name === 'token' ? 415 : 200, `${name}: ${link}`)
    }

    const mine = { url: '/mine', headers: bearer(host.jwt.sign({ sub: 'somebody' })) }
    t.match((await host.inject(mine)).json(), { sub: 'somebody' })
    t.match((await host.inject({ ...mine, headers: bearer(token) })).statusCode, 418)
    t.match((await host.inject({ ...mine, url: '/auth/users/me' })).json(), { status: 401 })
    t.strictSame((await host.inject({ method: 'POST', url: '/mine', payload: { a: 1 } })).json(), {
      body: 'the host has eaten the body'
    })
    const document = (await host.inject('/docs/json')).json()
    t.strictSame(Object.keys(document.paths), ['/mine'], 'the host documents itself only')
    t.match((await host.inject('/docs')).body, 'Swagger UI')
    t.ok(seen.includes('POST /auth/token'), 'the onRequest hooks of the root see every request')
  }
)

t.test('Latchkey answers for unknown paths below its own, and the host for all others', async (t) => {
  const { host } = shared
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const cases: [method: string, url: string, status: number, allow?: string][] = [
    ['GET', '/auth/nothing', 404],
    ['GET', '/auth//users/me', 404],
    ['GET', '/auth/users%2Fme', 404],
    ['GET', `/auth/${'x'.repeat(300)}`, 404],
    ['GET', '/auth/token', 405, 'POST'],
    ['HEAD', '/auth/token', 405, 'POST'],
    ['PROPFIND', '/auth/token', 405, 'POST'],
    ['PROPFIND', '/auth/nothing', 404],
    ['POST', '/auth/', 405, 'GET, HEAD'],
    ['DELETE', '/auth', 405, 'GET, HEAD'],
    ['POST', '/.well-known/oauth-authorization-server/auth', 405, 'GET, HEAD'],
    ['GET', '/auth/.well-known/oauth-authorization-server/auth', 404],
    ['OPTIONS', '/auth/users/me', 405, 'GET, HEAD, PATCH']
  ]
  for (const [method, url, status, allow] of cases) {
    const { statusCode, headers, body } = await host.inject({ method: method as 'GET', url })
    const type = url === '/auth/token' ? 'application/json; charset=utf-8' : PROBLEM
    t.match([statusCode, headers['content-type'], headers.allow], [status, type, allow], `${method} ${url}`)
    t.notMatch(body, 'host', `${method} ${url}`)
  }
  const post = (url: string, headers: object, payload: string) =>
    host.inject({ method: 'POST', url, headers: { ...headers }, payload })
  t.match((await post('/auth/token', { 'content-type': 'text/xml' }, '<a/>')).json(), { error: 'invalid_request' })
  t.equal((await post('/auth/token', { 'content-type': 'text/xml' }, '<a/>')).statusCode, 415)
  t.equal((await post('/auth/token', form, `a=${'x'.repeat(20_000)}`)).statusCode, 413)
  t.match(await host.inject({ method: 'HEAD', url: '/auth/health/live' }), { statusCode: 200, body: '' })
  t.match((await host.inject('/%61uth/health/live')).json(), { status: 'ok' }, 'another spelling of the path')

  for (const url of [
    '/authx',
    '/authx/token',
    '/auth%2Ftoken',
    '/',
    '/token',
    '//auth/token',
    '/.well-known/jwks.json'
  ])
    t.match(await host.inject(url), { statusCode: 404, body: '{"host":"nothing"}' }, url)
  for (const path of ['', '/auth/x', '/authx'])
    t.equal((await host.inject(`/.well-known/oauth-authorization-server${path}`)).json().host, 'nothing', path)
  t.equal((await host.inject('/auth/%zz')).json().code, 'FST_ERR_BAD_URL', 'the router of the host refuses it')
})

t.test('the trustProxy of the host decides which address a caller has [UA3]', async (t) => {
  const addresses = async (options: object) => {
    const { host, lines } = await openHost(t, options)
    await host.register(latchkey, { ...(await settings(t, issuer)), throttle: true })
    const payload = 'grant_type=password&username=nobody&password=wrong'
    for (const client of ['203.0.113.1', '203.0.113.2'])
      await host.inject({
        method: 'POST',
        url: '/auth/token',
        remoteAddress: '192.0.2.1',
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': `10.9.9.9, ${client}` },
        payload
      })
    const of = (message: RegExp) => lines.filter(({ msg }) => message.test(String(msg)))
    return [
      of(/^login.failed/).map((line) => (line as { caller: { address: string } }).caller.address),
      of(/^X-Forwarded-For/).map(({ level, component, peer, msg }) => [level, component, peer, msg])
    ]
  }
  t.strictSame(await addresses({ trustProxy: '192.0.2.0/24' }), [['203.0.113.1', '203.0.113.2'], []])
  t.strictSame(await addresses({}), [
    ['192.0.2.1', '192.0.2.1'],
    [
      [
        40,
        'latchkey',
        '192.0.2.1',
        'X-Forwarded-For is ignored: set trustProxy of the app to the addresses of its proxies'
      ]
    ]
  ])
  await t.rejects(
    openHost(t).then(async ({ host }) =>
      host.register(latchkey, { ...(await settings(t, issuer)), trustedProxies: ['192.0.2.1'] } as never)
    ),
    { message: 'trustedProxies has no effect in another app; set trustProxy of that app' }
  )
})

t.test('two Latchkeys in one host have separate databases, keys and users', async (t) => {
  const { host } = await openHost(t)
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
  await host.register(latchkey, { ...(await settings(t, 'https://app.example.com/team/login')), adminUsername: 'root' })
  const first = (await login(host, '/auth')).json().access_token
  const second = (await login(host, '/team/login', { username: 'root' })).json().access_token
  plant(first.split('.')[2], second.split('.')[2])
  t.equal((await login(host, '/team/login')).statusCode, 400)
  const status = async (path: string, token: string) =>
    (await host.inject({ url: `${path}/users/me`, headers: bearer(token) })).statusCode
  t.strictSame([await status('/auth', first), await status('/team/login', second)], [200, 200])
  t.strictSame([await status('/auth', second), await status('/team/login', first)], [401, 401])
  for (const path of ['/auth', '/team/login']) {
    const { issuer } = (await host.inject(`/.well-known/oauth-authorization-server${path}`)).json()
    t.equal(issuer, `https://app.example.com${path}`)
  }
  t.equal((await host.inject('/team')).json().host, 'nothing')
})

t.test('a host whose guard requires a guard of every route accepts the routes of Latchkey', async (t) => {
  const host = fastify()
  t.teardown(() => host.close())
  await host.register(guard, { verify: async () => refusal('malformed', 'unknown'), flows: { user: [], client: [] } })
  host.options('*', async () => 'preflight')
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
  host.get('/mine', { preHandler: host.requireUser() }, async () => 'mine')
  t.equal((await host.inject('/auth/health/live')).statusCode, 200)
  t.equal((await host.inject('/mine')).statusCode, 401)
})

for (const when of ['before', 'after'] as const)
  t.test(`a host starts with the guard and Latchkey, which is registered ${when} the guard`, async (t) => {
    const mounted = await settings(t, 'https://app.example.com/auth')
    const mountIt = (host: FastifyInstance) => host.register(latchkey, mounted)
    const { app, status, token } = await setUp(
      t,
      { revocation: 'none' },
      {
        before: async (host) => void (when === 'before' && (await mountIt(host))),
        async declare(host) {
          host.options('*', async () => 'a preflight of another path')
          if (when === 'after') await mountIt(host)
          declareOrders(host)
        }
      }
    )
    t.equal((await app.inject('/auth/health/live')).statusCode, 200)
    t.equal((await app.inject('/auth/users/me')).json().detail, 'Not authenticated')
    t.strictSame([(await app.inject('/orders')).statusCode, await status(token())], [401, 200])
  })

t.test('a mounted Latchkey calls onRefused for a request that its API refuses, and logs the same reason', async (t) => {
  const { host, lines } = await openHost(t)
  const told: unknown[] = []
  await host.register(latchkey, {
    ...(await settings(t, 'https://app.example.com/auth')),
    onRefused: ({ code, message }, { method, url }) => told.push([code, message, method, url])
  })
  t.equal((await host.inject('/auth/users/me')).statusCode, 401)
  t.strictSame(told, [['no_token', 'The request has no Bearer token', 'GET', '/auth/users/me']])
  t.match(
    lines.filter(({ refused }) => refused !== undefined),
    [{ level: 30, component: 'latchkey', refused: 'no_token', msg: 'The request has no Bearer token' }]
  )
})

t.test(
  'every route of a mounted Latchkey is below its path, and its OpenAPI document is the same as behind a proxy',
  async (t) => {
    const config = loadConfig({
      LATCHKEY_ISSUER: 'https://app.example.com/auth',
      LATCHKEY_DATABASE_URL: 'sqlite::memory:'
    })
    const [mounted, proxied] = await Promise.all(
      [true, false].map((mounted) => buildApp(config, { logger: false, mounted }))
    )
    t.teardown(() => Promise.all([mounted?.close(), proxied?.close()]))
    const outside = routesOf(mounted as FastifyInstance).filter((route) => !/^\w+ \/auth(\/|$)/.test(route))
    t.strictSame(
      outside.filter((route) => route !== 'OPTIONS *').toSorted(),
      ['GET', 'HEAD'].flatMap((method) =>
        ['oauth-authorization-server', 'openid-configuration'].map((name) => `${method} /.well-known/${name}/auth`)
      )
    )
    t.strictSame(mounted?.swagger(), proxied?.swagger())
  }
)
