import { mock } from 'node:test'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import sweep from '../../plugins/sweep.ts'

const MINUTE = 60_000

/** The plugin on an app with a domain of the test's own. Its clock is moved by `mock.timers`. */
async function open(
  t: Test,
  removeExpired: (signal: AbortSignal) => Promise<unknown>,
  maintain: () => Promise<string> = async () => 'nothing'
) {
  mock.timers.enable({ apis: ['setInterval'] })
  const app = fastify()
  t.teardown(async () => {
    await app.close()
    mock.timers.reset()
  })
  const warnings: unknown[] = []
  const infos: unknown[] = []
  app.log.warn = (...args: unknown[]) => void warnings.push(args)
  app.log.info = (...args: unknown[]) => void infos.push(args)
  const auth = fp(async (scope) => void scope.decorate('auth', { removeExpired, keys: { maintain } } as never), {
    name: 'auth'
  })
  await app.register(auth)
  await app.register(sweep)
  return { app, warnings, infos }
}

const settled = () => new Promise(setImmediate)

async function pass(minutes: number) {
  for (let minute = 0; minute < minutes; minute++) {
    mock.timers.tick(MINUTE)
    await settled()
  }
}

t.test('expired rows are removed once a minute while the service listens, and not before or after', async (t) => {
  let rounds = 0
  const { app } = await open(t, async () => rounds++)
  await app.ready()
  await pass(10)
  t.equal(rounds, 0)
  await app.listen({ port: 0, host: '127.0.0.1' })
  for (const expected of [1, 2, 3]) {
    await pass(1)
    t.equal(rounds, expected)
  }
  await app.close()
  await pass(1)
  t.equal(rounds, 3)
})

t.test('a stop aborts the round that is under way, and waits for its end', async (t) => {
  const events: string[] = []
  const { app } = await open(t, async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    events.push('aborted')
    await settled()
    events.push('ended')
  })
  app.addHook('onClose', async () => void events.push('closed'))
  await app.listen({ port: 0, host: '127.0.0.1' })
  await pass(1)
  await app.close()
  t.strictSame(events, ['aborted', 'ended', 'closed'])
})

t.test('every round maintains the keys, and a failure is logged and stops no later round', async (t) => {
  const outcomes = ['rotated', 'postponed', 'nothing', 'fails', 'rotated', 'nothing']
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
  infos.length = 0 // drops the line with the address
  await pass(6)
  t.strictSame(outcomes, [])
  t.equal(rounds, 6)
  t.match(infos, [['the keys were rotated'], ['the keys were rotated']])
  t.match(warnings, [
    [/^a rotation of the keys is due, but .* run "latchkey key reseal"/],
    [{ err: { message: 'the database is away again' } }, 'could not maintain the keys'],
    [{ err: { message: 'the database is away' } }, 'could not remove expired rows']
  ])
  t.equal(warnings.length, 3)
})
