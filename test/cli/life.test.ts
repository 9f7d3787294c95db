import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync } from 'node:fs'
import { Agent, get as httpGet } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { BEGINNINGS, drip, readLate } from './drip.ts'
import { freePort, launch, login, me, serve } from './process.ts'

const ROUNDS = Math.max(1, Math.round(Number(process.env.LATCHKEY_ROUNDS ?? 10) / 10))

async function settings(t: Test): Promise<Record<string, string>> {
  return { ...environment(await createDatabase(t, 'sqlite', 'ready')), LATCHKEY_LOG_LEVEL: 'info' }
}

/** One request on a kept connection; the error's code, or `ok`. */
const ask = (agent: Agent, url: string, headers: Record<string, string>) =>
  new Promise<string>((resolve) => {
    const request = httpGet(url, { agent, headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode === 200 ? 'ok' : String(response.statusCode)))
      response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    })
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })

t.test(
  'F19 SIGTERM under load fails no request: readiness goes first, then the process, within ten seconds',
  async (t) => {
    for (let round = 0; round < Math.max(1, ROUNDS / 2.5); round++) {
      const server = await serve(t, await settings(t))
      const headers = { authorization: `Bearer ${await login(server.origin, 'alice', PASSWORD)}` }
      const agent = new Agent({ keepAlive: true })
      const outcomes: Record<string, number> = {}
      const ready: string[] = []
      let stopping = false
      const client = async (path: string) => {
        for (;;) {
          const outcome = await ask(agent, server.origin + path, headers)
          // Nobody listens any more: what a caller does then is to ask another instance.
          if (outcome === 'ECONNREFUSED' && stopping) return
          outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        }
      }
      const clients = Promise.all(Array.from({ length: 8 }, () => client('/users/me')))
      const logins = (async () => {
        for (;;) {
          try {
            await login(server.origin, 'alice', PASSWORD)
          } catch (error) {
            const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
            if (code === 'ECONNREFUSED' && stopping) return
            throw error
          }
        }
      })()
      await sleep(300)
      stopping = true
      const start = performance.now()
      server.process.kill('SIGTERM')
      await sleep(100)
      ready.push(
        await ask(agent, `${server.origin}/health/ready`, {}),
        await ask(agent, `${server.origin}/health/live`, {})
      )
      const { code } = await server.exited
      const took = performance.now() - start
      await Promise.all([clients, logins])
      agent.destroy()
      t.strictSame(
        [code, ready, Object.keys(outcomes)],
        [0, ['503', 'ok'], ['ok']],
        `${JSON.stringify(outcomes)}, ${Math.round(took)} ms`
      )
      t.ok(took < 10_000)
    }
  }
)

t.test('a second signal ends the process at once', async (t) => {
  const server = await serve(t, await settings(t))
  const start = performance.now()
  server.process.kill('SIGTERM')
  await sleep(600)
  server.process.kill('SIGTERM')
  t.equal((await server.exited).code, 1)
  t.ok(performance.now() - start < 1400, 'before the time to drain is over')
})

t.test(
  'F19 one Ctrl-C on "npm start", which sends two signals, is one stop: exit code 0, everything in the database',
  async (t) => {
    for (let round = 0; round < 3 * ROUNDS; round++) {
      const env = await settings(t)
      const server = await serve(t, env)
      await login(server.origin, 'alice', PASSWORD)
      server.process.kill('SIGINT')
      await sleep(Math.random() * 20)
      server.process.kill('SIGINT')
      t.equal((await server.exited).code, 0)
      t.notOk(existsSync(`${env.LATCHKEY_DATABASE_URL?.slice('sqlite:'.length)}-wal`))
    }
  }
)

t.test('a signal while it starts ends the process', async (t) => {
  const { child, exited } = launch(['serve'], { ...(await settings(t)), LATCHKEY_PORT: '0' })
  await sleep(300)
  child.kill('SIGTERM')
  const { code, signal } = await exited
  t.ok(code === 0 || signal === 'SIGTERM', `${code} ${signal}`)
})

t.test('F7 a log that nobody takes does not stop the service, nor its end', async (t) => {
  const env = { ...(await settings(t)), LATCHKEY_LOG_LEVEL: 'trace' }
  for (const sink of ['a pipe that nobody reads', 'a pipe whose reader is gone', 'a full disk']) {
    const port = await freePort()
    const child = spawn(process.execPath, ['src/cli.ts', 'serve'], {
      env: { PATH: process.env.PATH, ...env, LATCHKEY_PORT: String(port) },
      stdio: ['ignore', sink === 'a full disk' ? openSync('/dev/full', 'w') : 'pipe', 'pipe']
    })
    t.teardown(() => child.kill('SIGKILL'))
    child.stdout?.pause()
    for (let greeting = ''; !greeting.endsWith('\n\n'); )
      greeting += String((await once(child.stderr as NodeJS.ReadableStream, 'data'))[0])
    if (sink === 'a pipe whose reader is gone') child.stdout?.destroy()
    const origin = `http://localhost:${port}`
    const token = await login(origin, 'alice', PASSWORD)
    const agent = new Agent({ keepAlive: true, maxSockets: 4 })
    const headers = { authorization: `Bearer ${token}` }
    // Far more lines than a pipe and the memory kept for them hold.
    const path = `/users/me/${'x'.repeat(1500)}`
    await Promise.all(Array.from({ length: 800 }, () => ask(agent, origin + path, headers)))
    t.equal((await me(origin, token)).status, 200, sink)
    agent.destroy()
    const start = performance.now()
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    t.equal(code, 0, sink)
    t.ok(performance.now() - start < 10_000, sink)
  }
})

t.test(
  'HT7 headers and bodies that drip in, and answers that nobody reads, are cut off; others are served',
  async (t) => {
    const count = 10 * ROUNDS > 100 ? 300 : 20
    const server = await serve(t, await settings(t))
    const { port } = new URL(server.origin)
    const closed = Object.values(BEGINNINGS).flatMap((beginning) =>
      Array.from({ length: count }, () => drip(Number(port), beginning))
    )
    const bytes = readLate(Number(port), 17_500)
    const token = await login(server.origin, 'alice', PASSWORD)
    t.equal((await me(server.origin, token)).status, 200)
    const times = await Promise.all(closed)
    t.ok(Math.max(...times) < 10_000 + 500, `the last one after ${Math.round(Math.max(...times))} ms`)
    t.ok((await bytes) < 16 * 1_400_000, `${await bytes} bytes were sent to one who did not read`)
    t.equal((await me(server.origin, token)).status, 200)
  }
)

t.test('HT9 a connection is closed after a thousand requests', async (t) => {
  const server = await serve(t, await settings(t))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const sockets = new Map<Socket, number>()
  agent.on('free', (socket: Socket) => sockets.set(socket, (sockets.get(socket) ?? 0) + 1))
  for (let sent = 0; sent < 1001; sent++)
    if ((await ask(agent, `${server.origin}/health/live`, {})) !== 'ok') t.fail(`request ${sent}`)
  t.equal(sockets.size, 2)
  agent.destroy()
})

t.test(
  'HT9 of a thousand requests sent at once on one connection sixteen are served, the rest is refused',
  async (t) => {
    const server = await serve(t, await settings(t))
    const socket = connect(Number(new URL(server.origin).port), '127.0.0.1')
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => (text += chunk))
    socket.write('GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000))
    await once(socket, 'close')
    t.strictSame(text.match(/(?<=HTTP\/1\.1 )\d+/g), [...Array(16).fill('200'), '400'])
    t.match(text, /connection: close/i)
    t.equal((await fetch(`${server.origin}/health/live`)).status, 200)
  }
)
