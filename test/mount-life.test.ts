import { existsSync, readFileSync } from 'node:fs'
import { request as send } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import latchkey from '../src/mount.ts'
import { command } from './cli/command.ts'
import { freePort } from './cli/process.ts'
import { createDatabase, environment, PASSWORD } from './helper.ts'
import { bearer, login, openHost, settings } from './host.ts'
import { plant } from './secrets.ts'

t.test('over HTTP, bodies arrive, pages load, and a connection serves several requests', async (t) => {
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

t.test('over HTTP/2, requests without Host are answered, also after cancelled ones', async (t) => {
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

t.test(
  'a first start sets up the database, and every start logs the path of the password file while the file exists',
  async (t) => {
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
    t.strictSame(first.said, [`the password of admin is in the file ${file}: read it and delete the file`])
    t.equal((await login(first.host, '/auth', { password })).statusCode, 200)
    await first.host.close()
    t.ok(existsSync(join(given.dataDir, 'sealing-key')))
    const second = await started()
    t.strictSame(second.said, first.said)
    t.equal((await login(second.host, '/auth', { password: adminPassword })).statusCode, 400)
  }
)

t.test('on PostgreSQL a start sets up nothing, and the error names the command to run', async (t) => {
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

t.test('Latchkey logs to the log of the host, without query strings and at the level of its settings', async (t) => {
  const { host, lines } = await openHost(t)
  await host.register(latchkey, await settings(t, 'https://app.example.com/auth'))
  await host.inject('/auth/users/me?secret=1')
  await host.inject('/mine?public=1')
  const requests = lines.filter(({ msg }) => msg === 'request' || msg === 'incoming request')
  t.match(requests, [
    { component: 'latchkey', method: 'GET', path: '/auth/users/me', status: 401 },
    { req: { url: '/mine?public=1' } }
  ])
  t.equal(requests.length, 2)
  t.equal(lines.filter((line) => JSON.stringify(line).includes('secret=1')).length, 0)

  const quiet = await openHost(t)
  await quiet.host.register(latchkey, { ...(await settings(t, 'https://app.example.com/auth')), logLevel: 'error' })
  await quiet.host.inject('/auth/health/live')
  t.equal(quiet.lines.filter(({ component }) => component === 'latchkey').length, 0)
})

t.test('invalid settings stop the host, with one line for each', async (t) => {
  const given = await settings(t, 'https://app.example.com/auth')
  const refused = async (settings: object, prefix?: string) => {
    const host = fastify()
    t.teardown(() => host.close())
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
    /^SetupError: LATCHKEY_PREFIX is not a setting.*\nLATCHKEY_ACCESS_TOKEN_TTL must be an integer from 1 to 3600 s; got "0"$/
  )
  t.match(
    await refused({ ...given, corsOrigins: ['https://a.example.com', 'x'] }),
    /^SetupError: LATCHKEY_CORS_ORIGINS must be origins/
  )
  for (const issuer of [
    'https://app.example.com',
    'https://app.example.com/:id',
    'https://app.example.com/a%20b',
    undefined
  ])
    t.match(
      await refused({ ...given, issuer }),
      /^SetupError: LATCHKEY_ISSUER must be a URL with the path/,
      issuer ?? 'none'
    )
  t.match(
    await refused(given, '/scope'),
    /^SetupError: Latchkey is registered under the prefix \/scope; register it at the root/
  )
  const foreign = { ...given, databaseUrl: 'sqlite:package.json' }
  t.match(await refused(foreign), /^\w*Error: /)
})

t.test('a close of the host answers requests that are under way, and then closes the database', async (t) => {
  const port = await freePort()
  const issuer = `http://localhost:${port}/auth`
  const { host, seen } = await openHost(t, { return503OnClosing: false })
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
  while (!seen.includes('POST /auth/token')) await new Promise(setImmediate)
  const closed = host.close().then(() => order.push('closed'))
  while (!order.includes('preClose')) await new Promise(setImmediate)
  slow.end(body.slice(10))
  t.strictSame(await answered, [200, 'close'])
  await closed
  t.strictSame(order, ['preClose', 'closed'])
})
