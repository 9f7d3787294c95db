import fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import drain from '../../plugins/drain.ts'

/** Whoever waits for the revocation log is answered. */
let answered = 0
const auth = fp(
  async (app) => {
    app.decorate('auth', { revocationLog: { stop: async () => void answered++ } } as never)
  },
  { name: 'auth' }
)

t.test('after letGo, and so in a close, the service is not ready and answers end their connections', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(auth)
  await app.register(drain)
  app.get('/ready', { config: { readiness: true } }, async () => 'ready')
  const under = Promise.withResolvers<void>()
  const going = Promise.withResolvers<void>()
  app.get('/slow', async () => {
    under.resolve()
    await going.promise
    return 'slow'
  })
  app.addHook('preClose', async () => going.resolve())
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
  const get = async (path: string) => {
    const { status, headers } = await fetch(`http://127.0.0.1:${port}${path}`)
    return [status, headers.get('connection')]
  }
  t.strictSame(await get('/ready'), [200, 'keep-alive'])
  const slow = get('/slow')
  await under.promise
  const closed = app.close()
  t.strictSame(await slow, [200, 'close'])
  await closed
  t.equal(answered, 1, 'and nobody waits for the revocation log any more')

  const other = fastify()
  t.teardown(() => other.close())
  await other.register(auth)
  await other.register(drain)
  other.get('/ready', { config: { readiness: true } }, async () => 'ready')
  other.get('/', async () => 'all else')
  t.equal((await other.inject('/ready')).statusCode, 200)
  await other.letGo()
  t.equal((await other.inject('/ready')).statusCode, 500, 'what the errors plugin makes 503 of')
  t.match(await other.inject('/'), { statusCode: 200, headers: { connection: 'close' } })
})
