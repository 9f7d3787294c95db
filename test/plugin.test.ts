import { existsSync, readFileSync } from 'node:fs'
import { request as send } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import fastifyJwt from '@fastify/jwt'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import guard from '../src/guard/core.ts'
import latchkey from '../src/plugin.ts'
import { command } from './cli/command.ts'
import { freePort } from './cli/process.ts'
import { createDatabase, environment, PASSWORD, routesOf } from './helper.ts'
import { plant, search } from './secrets.ts'

const SECRET = 'the host signs its own tokens with this'
const PROBLEM = 'application/problem+json; charset=utf-8'

/** An app with everything that could get into the way: parsers, hooks, error handlers, decorators, pages of its own. */
async function openHost(t: Test, options: object = {}) {
  const lines: Record<string, unknown>[] = []
  const stream = {
    write(line: string) {
      search('log lines', t.name, line)
      lines.push(JSON.parse(line))
    }
  }
  const host = fastify({ logger: { level: 'trace', stream }, bodyLimit: 64, ...options })
  t.teardown(() => host.close())
  const seen: string[] = []
  await host.register(fastifyJwt, { secret: SECRET })
  await host.register(fastifySwagger, { openapi: { openapi: '3.1.0', info: { title: 'Host', version: '1.0.0' } } })
  await host.register(fastifySwaggerUi, { routePrefix: '/docs' })
  host.decorateRequest('principal', null as never)
  host.decorateRequest('path', { getter: () => 'the host has one too' })
  host.decorate('auth', 'the host has one too' as never)
  host.removeAllContentTypeParsers()
  host.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume()
    done(null, 'the host has eaten the body')
  })
  host.addHook('onRequest', async (request) => void seen.push(`${request.method} ${request.url}`))
  for (const name of ['preParsing', 'preValidation', 'preHandler', 'onSend'] as const) {
    host.addHook(name, async (request: FastifyRequest) => {
      if (/^\/(auth|team\/login)(\/|\?|$)/.test(request.url))
        throw new Error(`the host's ${name} saw a request of Latchkey`)
    })
  }
  host.setErrorHandler((error, _request, reply) => reply.code(418).send({ host: (error as Error).message }))
  host.setNotFoundHandler((_request, reply) => reply.code(404).send({ host: 'nothing' }))
  host.get('/mine', async (request) => request.jwtVerify())
  host.post('/mine', async ({ body }) => ({ body }))
  return { host, lines, seen }
}

/** Settings for a Latchkey of its own, with the cheapest hashes that are allowed. */
async function settings(t: Test, issuer: string) {
  const { dataDir } = await createDatabase(t, 'sqlite')
  return {
    issuer,
    dataDir,
    databaseUrl: `sqlite:${join(dataDir, 'latchkey.db')}`,
    adminPassword: PASSWORD,
    argon2Memory: 7168,
    argon2Passes: 1,
    throttle: false
  }
}

/** `POST <path>/token` as one form. */
const login = (host: FastifyInstance, path: string, form: Record<string, string> = {}) =>
  host.inject({
    method: 'POST',
    url: `${path}/token`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ grant_type: 'password', username: 'admin', password: PASSWORD, ...form }).toString()
  })

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

t.test(
  'a host with its own tokens, parsers, hooks, error handlers and pages keeps them, and Latchkey its own',
  async (t) => {
    const { host, seen } = await openHost(t)
    const issuer = 'https://app.example.com/auth'
    const before = Reflect.ownKeys(host)
    await host.register(latchkey, await settings(t, issuer))
    await host.ready()
    t.strictSame(Reflect.ownKeys(host), before)
    for (const name of ['store', 'signer', 'hasher', 'requireScope', 'drain', 'letGo', 'startSweeping'])
      t.equal(host.hasDecorator(name), false, name)
    t.equal(host.hasRequestDecorator('clientAuth'), false)

    const answer = await login(host, '/auth')
    t.match(answer, { statusCode: 200, headers: { 'cache-control': 'no-store' } })
    const { access_token: token, refresh_token: refreshToken } = answer.json()
    plant(token.split('.')[2], refreshToken)
    const { host: wrong, ...me } = (await host.inject({ url: '/auth/users/me', headers: bearer(token) })).json()
    t.match(me, { username: 'admin', roles: ['admin'] })
    t.equal(wrong, undefined)
    const renewed = await login(host, '/auth', { grant_type: 'refresh_token', refresh_token: refreshToken })
    t.equal(renewed.statusCode, 200)
    plant(renewed.json().refresh_token)
    const patched = await host.inject({
      method: 'PATCH',
      url: '/auth/users/me',
      headers: bearer(token),
      payload: { full_name: 'x'.repeat(100) }
    })
    t.match([patched.statusCode, patched.json()], [200, { full_name: 'x'.repeat(100) }], 'longer than the host takes')

    const metadata = (await host.inject('/.well-known/oauth-authorization-server/auth')).json()
    t.match(metadata, { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/.well-known/jwks.json` })
    t.strictSame((await host.inject('/auth/.well-known/oauth-authorization-server')).json(), metadata)
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
    t.ok(seen.includes('POST /auth/token'), 'the onRequest hooks of the root have seen everything')
  }
)

t.test('what is not there is said in the words of who it belongs to', async (t) => {
  const { host } = await openHost(t)
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
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
  t.match((await host.inject('/%61uth/health/live')).json(), { status: 'ok' }, 'another way to write the same path')

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
  t.equal((await host.inject('/auth/%zz')).json().code, 'FST_ERR_BAD_URL', 'what the router refuses is the host’s')
})

t.test('over HTTP: bodies, pages and a connection that is used again', async (t) => {
  const port = await freePort()
  const issuer = `http://localhost:${port}/auth`
  const { host } = await openHost(t)
  await host.register(latchkey, await settings(t, issuer))
  await host.listen({ host: '127.0.0.1', port })
  const post = (form: Record<string, string>) =>
    fetch(`${issuer}/token`, { method: 'POST', body: new URLSearchParams(form) })
  const tokens = (await (
    await post({ grant_type: 'password', username: 'admin', password: PASSWORD })
  ).json()) as Record<'access_token' | 'refresh_token', string>
  plant(tokens.access_token.split('.')[2], tokens.refresh_token)
  const me = await fetch(`${issuer}/users/me`, { headers: bearer(tokens.access_token) })
  t.match(await me.json(), { username: 'admin' })

  const page = await (await fetch(`${issuer}/docs`)).text()
  const scripts = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path as string)
  t.ok(scripts.length > 5)
  for (const path of scripts) {
    const response = await fetch(new URL(path, `http://localhost:${port}`))
    t.equal(response.status, 200, path)
    await response.arrayBuffer()
  }
  const document = (await (await fetch(`${issuer}/openapi.json`)).json()) as {
    servers: { url: string }[]
    paths: object
    components: { securitySchemes: { password: { flows: { password: { tokenUrl: string } } } } }
  }
  t.equal(document.servers[0]?.url, '/auth')
  t.equal(document.components.securitySchemes.password.flows.password.tokenUrl, '/auth/token')
  t.ok('/users/me' in document.paths && '/' in document.paths)

  const chunked = send(`${issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', expect: '100-continue' }
  })
  chunked.write('grant_type=pass')
  chunked.end(`word&username=admin&password=${'wrong '.repeat(3).trim().replaceAll(' ', '+')}`)
  const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    chunked.on('error', reject)
    chunked.on('response', async (response) => resolve([response.statusCode, await text(response)]))
  })
  t.match([status, JSON.parse(body)], [400, { error: 'invalid_grant' }])

  const socket = connect(port, '127.0.0.1')
  socket.write('GET /auth/health/live HTTP/1.1\r\nHost: a\r\n\r\n')
  socket.write('GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n')
  socket.write('GET /auth/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const statuses = [...(await text(socket)).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code)
  t.strictSame(statuses, ['200', '404', '200'])
})

t.test('over HTTP/2, where a request has no Host', async (t) => {
  const port = await freePort()
  const issuer = `http://localhost:${port}/auth`
  const host = fastify({ http2: true })
  t.teardown(() => host.close())
  await host.register(latchkey, await settings(t, issuer))
  await host.listen({ host: '127.0.0.1', port })
  const session = connectHttp2(`http://localhost:${port}`)
  t.teardown(() => session.close())
  const ask = (method: string, path: string) =>
    session.request(
      { ':method': method, ':path': path, 'content-type': 'application/x-www-form-urlencoded' },
      { endStream: false }
    )
  const body = new URLSearchParams({ grant_type: 'password', username: 'admin', password: 'wrong' }).toString()
  for (let round = 0; round < 20; round++) ask('POST', '/auth/token').end(body).destroy()
  const stream = ask('POST', '/auth/token').end(body)
  const status = await new Promise((resolve) => stream.on('response', (headers) => resolve(headers[':status'])))
  t.match([status, JSON.parse(await text(stream))], [400, { error: 'invalid_grant' }])
})

t.test('two in one host, each with a database, keys and people of its own', async (t) => {
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

t.test('a first start makes everything, and the log says where the password is until somebody took it', async (t) => {
  const { adminPassword, ...given } = await settings(t, 'https://app.example.com/auth')
  const file = join(given.dataDir, 'admin-password')
  const started = async () => {
    const { host, lines } = await openHost(t)
    await host.register(latchkey, given)
    await host.ready()
    return { host, said: lines.filter(({ msg }) => /admin/.test(String(msg))).map(({ msg }) => msg) }
  }
  const first = await started()
  const password = readFileSync(file, 'utf8').trim()
  plant(password)
  t.strictSame(first.said, [`the password of admin is in ${file}: read it and delete the file`])
  t.equal((await login(first.host, '/auth', { password })).statusCode, 200)
  await first.host.close()
  t.ok(existsSync(join(given.dataDir, 'sealing-key')))
  const second = await started()
  t.strictSame(second.said, first.said)
  t.equal((await login(second.host, '/auth', { password: adminPassword })).statusCode, 400)
})

t.test('on PostgreSQL it makes nothing and says what helps', async (t) => {
  const { url, dataDir } = await createDatabase(t, 'postgres')
  const { LATCHKEY_ADMIN_PASSWORD, ...env } = environment({ url, dataDir })
  const { adminPassword, ...given } = await settings(t, 'https://app.example.com/auth')
  const options = { ...given, databaseUrl: url, sealingKey: env.LATCHKEY_SEALING_KEY as string }
  const { host: refused } = await openHost(t)
  await t.rejects(async () => void (await refused.register(latchkey, options)), {
    name: 'SetupError',
    message: 'the database is not set up: run "latchkey migrate"'
  })
  t.equal((await command(env, ['migrate'])).code, 0)
  const { host, lines } = await openHost(t)
  await host.register(latchkey, options)
  t.equal((await host.inject('/auth/health/ready')).statusCode, 200)
  const said = lines.filter(({ component }) => component === 'latchkey').map(({ msg }) => msg)
  t.ok(said.includes('there is no admin yet: run "latchkey user add <name> --role admin"'))
})

t.test('its log is part of the host’s, without queries, and follows its level', async (t) => {
  const { host, lines } = await openHost(t)
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
  await host.inject('/auth/health/live?secret=1')
  await host.inject('/mine?public=1')
  const requests = lines.filter(({ msg }) => msg === 'incoming request')
  t.match(requests, [
    { component: 'latchkey', req: { method: 'GET', path: '/auth/health/live' } },
    { req: { url: '/mine?public=1' } }
  ])
  t.equal(requests.length, 2)
  t.equal(lines.filter((line) => JSON.stringify(line).includes('secret=1')).length, 0)

  const quiet = await openHost(t)
  await quiet.host.register(latchkey, { ...(await settings(t, 'https://app.example.com/auth')), logLevel: 'error' })
  await quiet.host.inject('/auth/health/live')
  t.equal(quiet.lines.filter(({ component }) => component === 'latchkey').length, 0)
})

t.test('wrong settings stop the host, with one line for each', async (t) => {
  const given = await settings(t, 'https://app.example.com/auth')
  const refused = async (settings: object, prefix?: string) => {
    const { host } = await openHost(t)
    const plugin = latchkey as (host: object, options: object) => Promise<void>
    try {
      if (prefix === undefined) await host.register(plugin, settings)
      else await host.register(async (scope) => void (await scope.register(plugin, settings)), { prefix })
      return 'it started'
    } catch (error) {
      return String(error)
    }
  }
  t.match(
    await refused({ ...given, accessTokenTtl: 0, prefix: '/x' }),
    /^SetupError: LATCHKEY_PREFIX is no setting.*\nLATCHKEY_ACCESS_TOKEN_TTL: "0" is not allowed; allowed: an integer from 1 to 3600 s$/
  )
  t.match(
    await refused({ ...given, corsOrigins: ['https://a.example.com', 'x'] }),
    /^SetupError: LATCHKEY_CORS_ORIGINS: /
  )
  for (const issuer of [
    'https://app.example.com',
    'https://app.example.com/:id',
    'https://app.example.com/a%20b',
    undefined
  ])
    t.match(
      await refused({ ...given, issuer }),
      /^SetupError: LATCHKEY_ISSUER: .*allowed: an issuer with a path/,
      issuer ?? 'none'
    )
  t.match(await refused(given, '/scope'), /^SetupError: Latchkey is registered under \/scope; register it at the root/)
  const foreign = { ...given, databaseUrl: 'sqlite:package.json' }
  t.match(await refused(foreign), /^\w*Error: /)
})

t.test('a host that asks of every route who may call it lets Latchkey see to its own', async (t) => {
  const host = fastify()
  t.teardown(() => host.close())
  await host.register(guard, { verify: async () => null, flows: { user: [], client: [] } })
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
  host.get('/mine', { preHandler: host.requireUser() }, async () => 'mine')
  t.equal((await host.inject('/auth/health/live')).statusCode, 200)
  t.equal((await host.inject('/mine')).statusCode, 401)
})

t.test('a close of the host lets what is under way end, and closes the database after it', async (t) => {
  const port = await freePort()
  const issuer = `http://localhost:${port}/auth`
  const { host } = await openHost(t, { return503OnClosing: false })
  const order: string[] = []
  await host.register(latchkey, await settings(t, issuer))
  await host.register(fp(async (scope) => void scope.addHook('preClose', async () => void order.push('preClose'))))
  await host.listen({ host: '127.0.0.1', port })
  const body = `grant_type=password&username=admin&password=${PASSWORD.replaceAll(' ', '+')}`
  const slow = send(`${issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length }
  })
  const answered = new Promise<unknown[]>((resolve, reject) => {
    slow.on('error', reject)
    slow.on('response', (response) =>
      response.resume().on('end', () => resolve([response.statusCode, response.headers.connection]))
    )
  })
  slow.write(body.slice(0, 10))
  await new Promise((resolve) => setTimeout(resolve, 100))
  const closed = host.close().then(() => order.push('closed'))
  while (!order.includes('preClose')) await new Promise(setImmediate)
  slow.end(body.slice(10))
  t.strictSame(await answered, [200, 'close'])
  await closed
  t.strictSame(order, ['preClose', 'closed'])
})

t.test('every route of a mounted Latchkey is under its path', async (t) => {
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
    ['GET', 'HEAD'].map((method) => `${method} /.well-known/oauth-authorization-server/auth`)
  )
  t.strictSame(mounted?.swagger(), proxied?.swagger(), 'the document is the same')
})
