import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, environment } from '../helper.ts'
import { plant, search } from '../secrets.ts'
import { freePort, run, serve } from './process.ts'

const ROOT = join(import.meta.dirname, '../..')
const RESTARTS = process.env.LATCHKEY_ROUNDS === undefined ? 2 : 10

/** Starts a program of `examples/`; it does not outlive the test. */
function example(t: Test, file: string, env: Record<string, string>) {
  const published = join(ROOT, 'test/published.ts')
  const child = spawn(process.execPath, ['--import', published, join(ROOT, 'examples', file)], {
    env: { PATH: process.env.PATH, ...env }
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

t.test('restarts of Latchkey during a run of examples/worker lose no call', async (t) => {
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
    const { code, stdout, stderr } = await run([...args, '--json'], env)
    if (code !== 0) throw new Error(stderr)
    const answer = JSON.parse(stdout)
    plant(answer.client_secret)
    return answer
  }
  await cli('resource', 'add', 'orders', audience, '--scope', 'orders:read')
  const grant = ['--grant', 'client_credentials']
  const api = await cli('client', 'add', 'Orders API', '--id', 'orders-api', ...grant, '--scope', 'revocations:read')
  // So short that each restart falls into the end of some token.
  const short = ['--scope', 'orders:read', '--access-token-ttl', '2s']
  const caller = await cli('client', 'add', 'Worker', '--id', 'worker', ...grant, ...short)

  let server = await serve(t, env)
  const orders = example(t, 'orders/server.ts', {
    ISSUER: issuer,
    AUDIENCE: audience,
    PORT: servicePort,
    CLIENT_ID: 'orders-api',
    CLIENT_SECRET: api.client_secret
  })
  while (!orders.lines.some((line) => line.includes('Server listening'))) {
    if (orders.child.exitCode !== null) throw new Error(orders.errors.join(''))
    await sleep(20)
  }
  const worker = example(t, 'worker/main.ts', {
    ISSUER: issuer,
    ORDERS: audience,
    INTERVAL_MS: '20',
    CLIENT_ID: 'worker',
    CLIENT_SECRET: caller.client_secret
  })

  for (let round = 0; round < RESTARTS; round++) {
    await sleep(3000)
    server.process.kill(round % 2 === 0 ? 'SIGTERM' : 'SIGKILL')
    await server.exited
    server = await serve(t, env)
  }
  await sleep(2000)
  worker.child.kill('SIGTERM')
  const [code] = await once(worker.child, 'exit')
  t.equal(code, 0)
  t.comment(`${RESTARTS} restarts, ${worker.lines.length} calls`)
  t.ok(worker.lines.length > 50 * RESTARTS)
  t.strictSame(
    worker.lines.filter((line) => line !== '200 []'),
    []
  )
})
