import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import argon2 from 'argon2'
import fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import deadline from '../../plugins/deadline.ts'
import { callerSignal, timeLeft } from '../../src/deadline.ts'
import { REQUEST_MS } from '../../src/limits.ts'
import { build, PASSWORD } from '../helper.ts'
import { asOAuthError, asProblem, FORM, LOGIN, refusal } from '../http.ts'
import { sql } from '../sql.ts'

const app = await build(t, { logger: false })
await app.app.listen({ host: '127.0.0.1', port: 0 })
const bearer = await app.login('alice')
const body = new URLSearchParams(LOGIN).toString()
const settled = () => new Promise(setImmediate)

const rowsOf = async (table: string) => (await sql<{ n: number }>(app, `select count(*) as n from ${table}`))[0]?.n

/**
 * Sends a login over a connection of its own. Returns its socket, and a promise that resolves when the server has closed the connection.
 * @param isSplit sends the body only after the headers have arrived
 */
async function sendLogin(
  server: FastifyInstance,
  isSplit = false
): Promise<{ socket: Socket; closed: Promise<unknown> }> {
  const accepted = once(server.server, 'connection')
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  const arrived = once(server.server, 'request')
  socket.write(
    `POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${FORM}\r\nContent-Length: ${body.length}\r\n\r\n`
  )
  if (isSplit) await arrived
  if (isSplit) await settled()
  socket.write(body)
  const [other] = (await accepted) as [Socket]
  return { socket, closed: once(other, 'close') }
}

/** Lets each verification wait until `release`. Counts them. */
function hold(t: Test) {
  const { promise, resolve } = Promise.withResolvers<void>()
  t.teardown(resolve)
  const counts = { started: 0 }
  const { verify } = argon2
  t.capture(argon2, 'verify', async (...args: Parameters<typeof verify>) => {
    counts.started++
    await promise
    return verify(...args)
  })
  return { counts, release: resolve }
}

/** Waits until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await settled()
}

t.test('a login whose caller has gone is dropped before its hash, and opens no session [UA2 F20]', async (t) => {
  const { counts, release } = hold(t)
  const before = await rowsOf('sessions')
  const first = app.token(LOGIN)
  await until(() => counts.started === 1)
  const [gone, patient] = [await sendLogin(app.app), app.token({ ...LOGIN, username: 'admin' })]
  // The queue of one account and network is open to one attempt at a time, so this one waits behind the first.
  await settled()
  gone.socket.destroy()
  await gone.closed
  release()
  t.strictSame([(await first).statusCode, (await patient).statusCode], [200, 200])
  await until(() => counts.started >= 2)
  for (let turn = 0; turn < 20; turn++) await settled()
  t.equal(counts.started, 2, 'the login of the caller that left was not verified')
  t.equal(await rowsOf('sessions'), Number(before) + 2)
})

t.test('a login whose caller leaves during its hash opens no session [UA2]', async (t) => {
  const { counts, release } = hold(t)
  const before = await rowsOf('sessions')
  const gone = await sendLogin(app.app)
  await until(() => counts.started === 1)
  gone.socket.destroy()
  await gone.closed
  await settled()
  release()
  t.equal((await app.token(LOGIN)).statusCode, 200)
  t.equal(await rowsOf('sessions'), Number(before) + 1)
})

t.test('the signal of a caller that left before anything asked for it is aborted [UA2]', async (t) => {
  const server = fastify()
  t.teardown(() => server.close())
  await server.register(deadline)
  const { promise: isAborted, resolve } = Promise.withResolvers<boolean | undefined>()
  server.get('/', async (request, reply) => {
    const closed = once(reply.raw, 'close')
    request.raw.socket.destroy()
    await closed
    resolve(callerSignal()?.aborted)
  })
  await server.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {}).write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  t.equal(await isAborted, true)
})

t.test(
  'a request that reaches its deadline is 503 with Retry-After, in the format of the endpoint [UA2 F13]',
  async (t) => {
    const { now } = performance
    let late = 0
    t.intercept(performance, 'now', { value: () => now.call(performance) + late })
    const { store } = app.app
    const { credentials } = store.users
    t.teardown(() => Object.assign(store.users, { credentials }))
    /** A query that takes as long as a request may take. */
    const slow =
      <T extends unknown[], R>(query: (...args: T) => Promise<R>) =>
      async (...args: T) => {
        const result = await query(...args)
        late += REQUEST_MS
        return result
      }
    const { state } = store
    t.teardown(() => Object.assign(store, { state }))
    store.users.credentials = slow(credentials)
    store.state = slow(state)
    const [login, me] = [await app.token(LOGIN), await app.get('/users/me/sessions', bearer)]
    t.strictSame(refusal(login), asOAuthError(503, 'temporarily_unavailable', 'The request took too long'))
    t.strictSame(refusal(me), asProblem(503, 'The request took too long'))
    t.strictSame([login.headers['retry-after'], me.headers['retry-after']], ['1', '1'])
    Object.assign(store.users, { credentials })
    Object.assign(store, { state })
    t.equal((await app.token(LOGIN)).statusCode, 200, 'the next request has a deadline of its own')
  }
)

t.test('the time in which a body arrives and a password is hashed does not count for the deadline [UA2]', async (t) => {
  const { now } = performance
  let late = 0
  t.intercept(performance, 'now', { value: () => now.call(performance) + late })
  const { verify } = argon2
  t.capture(argon2, 'verify', async (...args: Parameters<typeof verify>) => {
    const isRight = await verify(...args)
    late += 10 * REQUEST_MS
    return isRight
  })
  t.equal((await app.token(LOGIN)).statusCode, 200)
  const head = `POST /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: ${FORM}\r\nContent-Length: ${body.length}\r\n\r\n`
  const socket = connect((app.app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(head + body.slice(0, 5))
  const arrived = once(app.app.server, 'request')
  await arrived
  await settled()
  late += 2 * REQUEST_MS
  socket.write(body.slice(5))
  let text = ''
  for await (const chunk of socket) text += chunk
  t.match(text, /^HTTP\/1\.1 200 /)
})

t.test('a request has its deadline in hooks and handlers, also after a body was parsed [UA2]', async (t) => {
  const { exchange } = app.app.auth
  const { list } = app.app.store.keys
  t.teardown(() => Object.assign(app.app.auth, { exchange }))
  t.teardown(() => Object.assign(app.app.store.keys, { list }))
  const seen: boolean[] = []
  const see = () => seen.push(timeLeft() <= REQUEST_MS)
  app.app.store.keys.list = async () => {
    see()
    return list()
  }
  Object.assign(app.app.auth, {
    exchange: async (...args: Parameters<typeof exchange>) => {
      see()
      return exchange(...args)
    }
  })
  const { socket } = await sendLogin(app.app, true)
  await once(socket, 'data')
  socket.destroy()
  await app.token({ grant_type: 'password', username: 'alice', password: PASSWORD })
  await app.inject({ url: '/.well-known/jwks.json' })
  t.strictSame(seen, [true, true, true])
})
