import { once } from 'node:events'
import { connect } from 'node:net'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import drain from '../../plugins/drain.ts'

async function open(t: Test) {
  const app = fastify()
  t.teardown(() => app.close())
  /** Counts the calls of `revocationLog.stop`, which responds to the clients that wait for new entries. */
  const stops = { count: 0 }
  const stop = async () => void stops.count++
  await app.register(
    fp(async (scope) => void scope.decorate('auth', { revocationLog: { stop } } as never), { name: 'auth' })
  )
  await app.register(drain, { keepServingMs: 0, lastRequestsMs: 0 })
  app.get('/ready', { config: { readiness: true } }, async () => 'ready')
  app.get('/', async () => 'all else')
  return { app, stops }
}

t.test('finishConnections makes the service not ready, and closes connections after the next response', async (t) => {
  const { app, stops } = await open(t)
  t.match(await app.inject('/ready'), { statusCode: 200 })
  await app.finishConnections()
  t.equal((await app.inject('/ready')).statusCode, 500, '503 with the errors plugin')
  t.match(await app.inject('/'), { statusCode: 200, headers: { connection: 'close' } })
  t.equal(stops.count, 1)
})

t.test('close() responds to the requests in progress, and closes their connections', async (t) => {
  const { app, stops } = await open(t)
  const started = Promise.withResolvers<void>()
  const finished = Promise.withResolvers<void>()
  app.get('/slow', async () => {
    started.resolve()
    await finished.promise
    return 'slow'
  })
  app.addHook('preClose', async () => finished.resolve())
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const get = async (path: string) => {
    const { status, headers } = await fetch(origin + path)
    return [status, headers.get('connection')]
  }
  t.strictSame(await get('/ready'), [200, 'keep-alive'])
  const slow = get('/slow')
  await started.promise
  const closed = app.close()
  t.strictSame(await slow, [200, 'close'])
  await closed
  t.equal(stops.count, 1)
})

t.test(
  'drain() first serves while the service is not ready, then refuses new connections and responds on open ones',
  async (t) => {
    const { app, stops } = await open(t)
    const origin = await app.listen({ host: '127.0.0.1', port: 0 })
    const idle = connect(Number(new URL(origin).port), '127.0.0.1')
    t.teardown(() => idle.destroy())
    await once(idle, 'connect')
    // Holds the drain between its two parts.
    const held = Promise.withResolvers<void>()
    const { finishConnections } = app
    app.finishConnections = async () => {
      await held.promise
      await finishConnections()
    }
    const drained = app.drain()
    t.equal((await fetch(`${origin}/ready`)).status, 500, 'not ready')
    t.strictSame([await (await fetch(`${origin}/`)).text(), stops.count], ['all else', 0])

    held.resolve()
    while (app.server.listening) await new Promise(setImmediate)
    t.equal(stops.count, 1)
    const refused = connect(Number(new URL(origin).port), '127.0.0.1')
    t.match(await once(refused, 'error'), [{ code: 'ECONNREFUSED' }])
    idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    const [answer] = await once(idle.setEncoding('latin1'), 'data')
    t.match(answer, /^HTTP\/1\.1 200 OK/)
    t.match(answer, /\r\nconnection: close\r\n/)
    await drained
  }
)
