import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BEGINNINGS, drip } from '../test/cli/drip.ts'
import { freePort, greeted, launch, login, me } from '../test/cli/process.ts'

/**
 * Measures the effect of slow clients on others. For 20 seconds connections send headers, and as many send bodies, byte by byte; each that
 * the server closes is opened again. Prints how long they stayed open, and the p99 of `GET /users/me` of other clients before and meanwhile.
 *
 *     node bench/slow-clients.ts [connections of each kind, 300]
 */
const count = Number(process.argv[2] ?? 300)
const SECONDS = 20
const READERS = 4
const PASSWORD = 'correct horse battery staple'

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const port = await freePort()
const origin = `http://localhost:${port}`
const env = {
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_ADMIN_PASSWORD: PASSWORD,
  LATCHKEY_PORT: String(port),
  LATCHKEY_LOG_LEVEL: 'warn',
  LATCHKEY_ACCESS_TOKEN_TTL: '600'
}

/** The times of requests of a few clients, each with a pause after its answer. */
async function others(token: string, seconds: number): Promise<number[]> {
  const until = performance.now() + seconds * 1000
  const times: number[] = []
  const read = async () => {
    while (performance.now() < until) {
      const start = performance.now()
      const { status } = await me(origin, token)
      times.push(performance.now() - start)
      if (status !== 200) throw new Error(`GET /users/me: ${status}`)
      await sleep(10)
    }
  }
  await Promise.all(Array.from({ length: READERS }, read))
  return times
}
const p99 = (times: number[]): number => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] as number

const server = launch(['serve'], env)
try {
  await greeted(server)
  const token = await login(origin, 'admin', PASSWORD)
  await others(token, 5)
  const before = await others(token, SECONDS)
  const until = performance.now() + SECONDS * 1000
  const lifetimes: number[] = []
  const dripping = [BEGINNINGS.headers, BEGINNINGS.body].flatMap((beginning) =>
    Array.from({ length: count }, async () => {
      while (performance.now() < until) lifetimes.push(await drip(port, beginning))
    })
  )
  const meanwhile = await others(token, SECONDS)
  await Promise.all(dripping)
  const ratio = p99(meanwhile) / p99(before)
  const print = (line: string) => process.stdout.write(`${line}\n`)
  print(
    `${lifetimes.length} connections dripped; the shortest was open for ${Math.round(Math.min(...lifetimes))} ms, the longest for ${Math.round(Math.max(...lifetimes))} ms`
  )
  print(
    `others, p99: ${p99(before).toFixed(2)} ms before (${before.length} requests), ${p99(meanwhile).toFixed(2)} ms meanwhile (${meanwhile.length}): ${ratio.toFixed(2)} ×`
  )
} finally {
  server.child.kill('SIGKILL')
  await server.exited
  rmSync(directory, { recursive: true, force: true })
}
