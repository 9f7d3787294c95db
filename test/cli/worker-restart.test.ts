import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, environment } from '../helper.ts'
import { plant, search } from '../secrets.ts'
import { command } from './command.ts'
import { freePort, serve } from './process.ts'

const ROOT = join(import.meta.dirname, '../..')
const RESTARTS = process.env.LATCHKEY_ROUNDS === undefined ? 2 : 10
/** Seconds: each restart falls near the end of a token. */
const TOKEN_TTL = 2
/** Minimum number of calls between two restarts. */
const ENOUGH = 20

/** Starts a program of `examples/`; it does not outlive the test. */
function example(t: Test, file: string, env: Record<string, string>) {
  const published = join(ROOT, 'test/published.ts')
  const child = spawn(process.execPath, ['--import', published, join(ROOT, 'examples', file)], {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...env }
  })
  const lines: string[] = []
  const errors: string[] = []
  child.stdout.on('data', (chunk) => lines.push(...String(chunk).split('\n').filter(Boolean)))
  child.stderr.on('data', (chunk) => errors.push(String(chunk)))
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    search('outputs', file, [...lines, ...errors].join('\n'))
  })
  return { child, lines, errors }
}

t.test('the examples run, and restarts of Latchkey lose no call of examples/worker', async (t) => {
  const [port, servicePort] = [String(await freePort()), String(await freePort())]
  const issuer = `http://localhost:${port}`
  const audience = `http://localhost:${servicePort}`
  const env = {
    ...environment(await createDatabase(t, 'sqlite', 'ready')),
    LATCHKEY_ISSUER: issuer,
    LATCHKEY_PORT: port,
    LATCHKEY_ACCESS_TOKEN_TTL: '60'
  }
  const cli = async (...args: string[]) => {
    const { code, stdout, stderr } = await command(env, [...args, '--json'])
    if (code !== 0) throw new Error(stderr)
    const answer = JSON.parse(stdout)
    plant(answer.client_secret)
    return answer
  }
  const grant = ['--grant', 'client_credentials']
  const api = await cli('client', 'add', 'Orders API', '--id', 'orders-api', ...grant, '--scope', 'revocations:read')
  await cli('resource', 'add', 'orders', audience, '--introspect', 'orders-api', '--scope', 'orders:read')
  const short = ['--scope', 'orders:read', '--access-token-ttl', `${TOKEN_TTL}s`]
  const caller = await cli('client', 'add', 'Worker', '--id', 'worker', ...grant, ...short)

  let server = await serve(t, env)
  const orders = example(t, 'orders/server.ts', {
    ISSUER: issuer,
    AUDIENCE: audience,
    PORT: servicePort,
    CLIENT_SECRET: api.client_secret
  })
  while (!orders.lines.some((line) => line.includes('Server listening'))) {
    if (orders.child.exitCode !== null) throw new Error(orders.errors.join(''))
    await sleep(20)
  }
  const health = await fetch(`${audience}/health`)
  t.match([health.status, await health.json()], [200, { status: 'ok', guard: { revocation: 'log' } }])
  const worker = example(t, 'worker/main.ts', {
    ISSUER: issuer,
    ORDERS: audience,
    INTERVAL_MS: '20',
    CLIENT_SECRET: caller.client_secret
  })

  const more = async () => {
    const enough = worker.lines.length + ENOUGH
    while (worker.lines.length < enough) {
      if (worker.child.exitCode !== null) throw new Error(worker.errors.join(''))
      await sleep(20)
    }
  }

  for (let round = 0; round < RESTARTS; round++) {
    await more()
    await sleep(Math.random() * TOKEN_TTL * 1000)
    server.process.kill(round % 2 === 0 ? 'SIGTERM' : 'SIGKILL')
    await server.exited
    server = await serve(t, env)
  }
  // The token that the worker held at the restart has expired.
  await sleep(TOKEN_TTL * 1000)
  await more()
  worker.child.kill('SIGTERM')
  const [code] = await once(worker.child, 'exit')
  t.equal(code, 0)
  orders.child.kill('SIGTERM')
  t.strictSame(await once(orders.child, 'exit'), [0, null])
  t.comment(`${RESTARTS} restarts, ${worker.lines.length} calls`)
  t.strictSame(
    worker.lines.filter((line) => line !== '200 []'),
    []
  )
})
