import { existsSync } from 'node:fs'
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { BEGINNINGS, drip } from './drip.ts'
import { ask, launch, login, serve } from './process.ts'

const ROUNDS = Math.ceil(Number(process.env.LATCHKEY_ROUNDS ?? 1) / 10)
/** Requests that are answered before the signal comes. */
const ENOUGH = 20

const settings = async (t: Test) => environment(await createDatabase(t, 'sqlite', 'ready'))

t.test('SIGTERM under load fails no request: first readiness is 503, then the process ends [F19]', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const server = await serve(t, await settings(t))
    const headers = { authorization: `Bearer ${await login(server.origin, 'alice', PASSWORD)}` }
    const agent = new Agent({ keepAlive: true })
    const outcomes: Record<string, number> = {}
    let stopping = false
    const client = async (path: string) => {
      for (;;) {
        const outcome = await ask(agent, server.origin + path, headers)
        // Nobody listens any more: a caller then asks another instance.
        if (outcome === 'ECONNREFUSED' && stopping) return
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        if (outcome !== 'ok') return
      }
    }
    const logins = async () => {
      for (;;) {
        const outcome = await login(server.origin, 'alice', PASSWORD).then(
          () => 'ok',
          ({ message, cause = {} }) => (cause as NodeJS.ErrnoException).code ?? message
        )
        if (outcome === 'ECONNREFUSED' && stopping) return
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        if (outcome !== 'ok') return
      }
    }
    const clients = Promise.all([logins(), ...Array.from({ length: 4 }, () => client('/users/me'))])
    while ((outcomes.ok ?? 0) < ENOUGH) await sleep(5)
    stopping = true
    server.process.kill('SIGTERM')
    let ready = 'ok'
    while (ready === 'ok') ready = await ask(agent, `${server.origin}/health/ready`, {})
    const live = await ask(agent, `${server.origin}/health/live`, {})
    const { code } = await server.exited
    await clients
    agent.destroy()
    t.strictSame([code, ready, live, Object.keys(outcomes)], [0, '503', 'ok', ['ok']], JSON.stringify(outcomes))
  }
})

t.test('a second signal ends the process at once', async (t) => {
  const server = await serve(t, await settings(t))
  // An unfinished request holds up the end for seconds.
  const open = drip(Number(new URL(server.origin).port), BEGINNINGS.body)
  await login(server.origin, 'alice', PASSWORD)
  server.process.kill('SIGTERM')
  await sleep(600)
  server.process.kill('SIGTERM')
  t.equal((await server.exited).code, 1)
  await open
})

t.test(
  'one Ctrl-C on "npm start" sends two signals, stops the service once and leaves no write-ahead log [F19]',
  async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const env = await settings(t)
      const server = await serve(t, { ...env, LATCHKEY_LOG_LEVEL: 'info' })
      await login(server.origin, 'alice', PASSWORD)
      server.process.kill('SIGINT')
      await sleep(Math.random() * 20)
      server.process.kill('SIGINT')
      const { code, stdout } = await server.exited
      t.equal(code, 0)
      const said = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).msg)
      t.match(said.at(-1), 'the service has stopped')
      t.ok(said.includes('SIGINT: the service finishes its requests and stops'))
      t.notOk(existsSync(`${env.LATCHKEY_DATABASE_URL?.slice('sqlite:'.length)}-wal`))
    }
  }
)

t.test('a signal during the start ends the process', async (t) => {
  const { child, exited } = launch(['serve'], { ...(await settings(t)), LATCHKEY_PORT: '0' })
  await sleep(300)
  child.kill('SIGTERM')
  const { code, signal } = await exited
  t.ok(code === 0 || signal === 'SIGTERM', `${code} ${signal}`)
})
