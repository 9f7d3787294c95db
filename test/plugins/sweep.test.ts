import { mock } from 'node:test'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import sweep from '../../plugins/sweep.ts'

const MINUTE = 60_000

/** The plugin on an app whose rounds the test makes, with a clock that is moved by `mock.timers`. */
async function open(t: Test, round: (signal: AbortSignal) => Promise<unknown>) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const app = fastify()
  const warnings: unknown[] = []
  app.log.warn = (...given: unknown[]) => void warnings.push(given)
  const auth = fp(async (scope) => void scope.decorate('auth', { sweep: round } as never), { name: 'auth' })
  await app.register(auth)
  await app.register(sweep)
  t.teardown(() => app.close())
  return { app, warnings }
}

/** Lets what was awaited go on. */
const settled = () => new Promise(setImmediate)

t.test('what has expired is removed once a minute while the service listens, and not before', async (t) => {
  let rounds = 0
  const { app } = await open(t, async () => rounds++)
  await app.ready()
  mock.timers.tick(10 * MINUTE)
  t.equal(rounds, 0)
  await app.listen({ port: 0, host: '127.0.0.1' })
  for (const expected of [1, 2, 3]) {
    mock.timers.tick(MINUTE)
    await settled()
    t.equal(rounds, expected)
  }
  await app.close()
  mock.timers.tick(MINUTE)
  await settled()
  t.equal(rounds, 3)
})

t.test('a round that fails is logged, and the next one comes all the same', async (t) => {
  let rounds = 0
  const { app, warnings } = await open(t, async () => {
    if (rounds++ === 0) throw new Error('the database is away')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  for (let minutes = 0; minutes < 2; minutes++) {
    mock.timers.tick(MINUTE)
    await settled()
  }
  t.equal(rounds, 2)
  t.match(warnings, [[{ err: { message: 'the database is away' } }, 'could not remove what has expired']])
})

t.test('a stop ends the round that is under way, and waits for its end', async (t) => {
  const events: string[] = []
  const { app } = await open(t, async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    events.push('told')
    await settled()
    events.push('ended')
  })
  app.addHook('onClose', async () => void events.push('closed'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  mock.timers.tick(MINUTE)
  await settled()
  await app.close()
  t.strictSame(events, ['told', 'ended', 'closed'])
})
