import { mock } from 'node:test'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import sweep from '../../plugins/sweep.ts'

const MINUTE = 60_000

/** The plugin on an app whose rounds the test makes, with a clock that is moved by `mock.timers`. */
async function open(
  t: Test,
  sweepOnce: (signal: AbortSignal) => Promise<unknown>,
  tend: () => Promise<string> = async () => 'nothing'
) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const app = fastify()
  const warnings: unknown[] = []
  const infos: unknown[] = []
  app.log.warn = (...given: unknown[]) => void warnings.push(given)
  app.log.info = (...given: unknown[]) => void infos.push(given)
  const auth = fp(async (scope) => void scope.decorate('auth', { sweep: sweepOnce, keys: { tend } } as never), {
    name: 'auth'
  })
  await app.register(auth)
  await app.register(sweep)
  t.teardown(() => app.close())
  return { app, warnings, infos }
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

t.test('the keys are seen to after each round, also one that failed, and the log says what came of it', async (t) => {
  const outcomes = ['rotated', 'postponed', 'nothing', 'fails', 'rotated']
  let rounds = 0
  const { app, warnings, infos } = await open(
    t,
    async () => {
      if (rounds++ === 4) throw new Error('the database is away')
    },
    async () => {
      const outcome = outcomes.shift() as string
      if (outcome === 'fails') throw new Error('the database is away again')
      return outcome
    }
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  infos.length = 0 // where it listens
  for (let minutes = 0; minutes < 5; minutes++) {
    mock.timers.tick(MINUTE)
    await settled()
  }
  t.strictSame(outcomes, [])
  t.match(infos, [['the keys were rotated'], ['the keys were rotated']])
  t.match(warnings, [
    [/^the keys are due to rotate, after "latchkey key reseal"/],
    [{ err: { message: 'the database is away again' } }, 'could not see to the keys'],
    [{ err: { message: 'the database is away' } }, 'could not remove what has expired']
  ])
})
