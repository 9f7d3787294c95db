import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mock } from 'node:test'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import { createLocalJWKSet, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import backchannelLogout from '../../plugins/backchannel-logout.ts'
import type { Event, EventType } from '../../src/domain/events.ts'
import type { SendLogout } from '../../src/domain/ports/logouts.ts'
import { ISSUER } from '../helper.ts'
import { pkce } from '../jar.ts'
import { listen } from '../listen.ts'
import { openSignIn } from '../routes/sign-in-world.ts'

/** The plugin on an app with a domain of the test's own. `send` sends what the plugin would send. */
async function open(
  t: Test,
  deliverLogouts: (send: SendLogout, signal: AbortSignal) => Promise<void>,
  { issuer = ISSUER, networks = [] as string[] } = {}
) {
  const app = fastify()
  const listeners: ((event: Event) => void)[] = []
  const warnings: unknown[] = []
  app.log.warn = (...args: unknown[]) => void warnings.push(args)
  const core = (name: string, decorators: object) =>
    fp(
      async (scope) => {
        for (const [key, value] of Object.entries(decorators)) scope.decorate(key, value)
      },
      { name }
    )
  await app.register(core('auth', { auth: { deliverLogouts } }))
  await app.register(core('events', { onEvent: (listener: (event: Event) => void) => listeners.push(listener) }))
  await app.register(backchannelLogout, { issuer, networks })
  t.teardown(() => app.close())
  const signOut = (type: EventType = 'login.ended') => {
    for (const listener of listeners) listener({ type } as Event)
  }
  return { app, signOut, warnings }
}

/** Sends one logout token, and returns what the plugin made of the answer. */
async function sendTo(t: Test, uri: string, options = {}): Promise<string | null> {
  let sent: Promise<string | null> | undefined
  const { signOut, app } = await open(
    t,
    async (send) => {
      sent = send(uri, 'a.b.c')
      await sent
    },
    options
  )
  await app.ready()
  signOut()
  return (await sent) as string | null
}

t.test('a logout tells a client at once, with a signed token, and does not wait for its response', async (t) => {
  const world = await openSignIn(t)
  const { register, codeOf, redeem, app, clock } = world
  let release = () => {}
  let arrived: (body: { type: string | undefined; text: string }) => void
  const arrival = new Promise<{ type: string | undefined; text: string }>((resolve) => {
    arrived = resolve
  })
  const url = await listen(t, async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    arrived({ type: request.headers['content-type'], text })
    release = () => response.end()
  })
  const backchannelLogoutUri = `${url}/logout?a=b`
  await register('told', { scopes: ['openid'], firstParty: true, backchannelLogoutUri })
  const jar = world.jar()
  const { verifier, challenge } = pkce()
  const code = await codeOf({ client_id: 'told', scope: 'openid', code_challenge: challenge }, jar)
  t.equal((await redeem(code, verifier, { client_id: 'told' })).statusCode, 200)

  t.equal((await jar.submit(await jar.get('/logout'), {})).statusCode, 303, 'while the client has not answered')
  const { type, text } = await arrival
  t.match(type, 'application/x-www-form-urlencoded')
  const token = new URLSearchParams(text).get('logout_token') as string
  const keys = createLocalJWKSet((await app.auth.keys.jwks()) as never)
  const { payload } = await jwtVerify(token, keys, {
    issuer: ISSUER,
    audience: 'told',
    typ: 'logout+jwt',
    currentDate: new Date(clock.now())
  })
  t.match(payload, { sid: String, sub: String, events: {} })
  release()
})

t.test('status 200 and 204 are success, every other answer is not, and no redirect is followed', async (t) => {
  let visits = 0
  const url = await listen(t, (request, response) => {
    if (request.url === '/elsewhere') visits++
    const status = Number(request.url?.slice(1)) || 200
    response.writeHead(status, status >= 300 && status < 400 ? { location: '/elsewhere' } : {})
    response.end(status === 204 ? undefined : 'x')
  })
  for (const status of [200, 204]) t.equal(await sendTo(t, `${url}/${status}`), null)
  for (const status of [302, 307, 400, 404, 500, 503]) t.equal(await sendTo(t, `${url}/${status}`), `status ${status}`)
  t.equal(visits, 0)
})

t.test('a response of any length is not read', async (t) => {
  let written = 0
  const url = await listen(t, (_request, response) => {
    response.on('error', () => {})
    const more = () => {
      while (!response.destroyed && written < 1e9) {
        written += 65_536
        if (!response.write('x'.repeat(65_536))) return void response.once('drain', more)
      }
    }
    more()
  })
  t.equal(await sendTo(t, url), null)
  t.ok(written < 1e8)
})

t.test('an internal address gets nothing unless its network is listed, also by a name', async (t) => {
  let visits = 0
  const url = await listen(t, (_request, response) => {
    visits++
    response.end()
  })
  const issuer = 'https://id.example.com'
  const refusal = (address: string) =>
    `the address ${address} is not public, and LATCHKEY_LOGOUT_NETWORKS does not allow it`
  t.equal(await sendTo(t, url, { issuer }), refusal('127.0.0.1'))
  t.equal(
    await sendTo(t, 'https://169.254.169.254/latest', { networks: ['169.254.0.0/16'] }),
    refusal('169.254.169.254')
  )
  t.equal(await sendTo(t, 'https://[fe80::1]/', {}), refusal('fe80::1'))
  const byName = url.replace('127.0.0.1', 'localhost')
  t.match(await sendTo(t, byName, { issuer }), /^the address (127\.0\.0\.1|::1) is not public/)
  t.equal(visits, 0)
  t.equal(await sendTo(t, url, { issuer, networks: ['127.0.0.1'] }), null)
  t.equal(await sendTo(t, byName), null)
  t.equal(visits, 2)
})

t.test('a client that changes the protocol has not accepted the token, and holds nothing up', async (t) => {
  const url = await listen(t, ({ socket }) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
  })
  t.equal(await sendTo(t, url), 'no connection: closed without a response')
})

t.test('a client that cannot be reached, or whose URI is not safe, is a reason and no error', async (t) => {
  const url = await listen(t, () => {})
  const gone = createServer()
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
  const { port } = gone.address() as AddressInfo
  await new Promise((resolve) => gone.close(resolve))
  t.match(await sendTo(t, `http://127.0.0.1:${port}`), /^no connection: \w+$/)
  t.equal(
    await sendTo(t, url.replace('127.0.0.1', 'clients.example')),
    'the URI is neither https nor on a loopback host'
  )
})

t.test('a client that does not answer holds up neither the stop of the service nor a response', async (t) => {
  const url = await listen(t, () => {})
  let reason: string | null | undefined
  const { app, signOut } = await open(t, async (send) => {
    reason = await send(url, 'a.b.c')
  })
  await app.ready()
  signOut()
  await app.close()
  t.match(reason, /^no connection: /)
})

t.test('logouts during a round get one more round, and a failed round is a warning', async (t) => {
  let rounds = 0
  let finish = () => {}
  const { app, signOut, warnings } = await open(t, async () => {
    rounds++
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    if (rounds === 1) throw new Error('planted by a test')
  })
  await app.ready()
  for (let times = 0; times < 3; times++) signOut()
  t.equal(rounds, 1)
  finish()
  await new Promise(setImmediate)
  t.equal(rounds, 2)
  t.match(warnings, [[{ err: { message: 'planted by a test' } }, 'could not deliver logout tokens']])
  finish()
  await new Promise(setImmediate)
  t.equal(rounds, 2)
})

t.test('tokens are sent at once after each event that can end a session, and after no other event', async (t) => {
  const types: EventType[] = [
    ...(['login.ended', 'session.ended', 'session.replayed', 'code.replayed', 'consent.removed'] as const),
    ...(['password.changed', 'password.reset', 'user.changed', 'user.deleted', 'everything.revoked'] as const)
  ]
  let rounds = 0
  const { app, signOut } = await open(t, async () => void rounds++)
  await app.ready()
  for (const [index, type] of types.entries()) {
    signOut(type)
    await new Promise(setImmediate)
    t.equal(rounds, index + 1, type)
  }
  signOut('login.succeeded')
  await new Promise(setImmediate)
  t.equal(rounds, types.length)
})

t.test('tokens that are due are sent every 15 s while the service listens', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let rounds = 0
  const { app } = await open(t, async () => void rounds++)
  await app.listen({ port: 0, host: '127.0.0.1' })
  for (const expected of [1, 2]) {
    mock.timers.tick(15_000)
    await new Promise(setImmediate)
    t.equal(rounds, expected)
  }
  await app.close()
  mock.timers.tick(60_000)
  t.equal(rounds, 2)
})
