import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { runFirstStart } from '../src/first-start.ts'
import { forgeriesFor } from '../test/forged/app.ts'

/**
 * Whether a forged token costs more than a good one: requests with each token of the tests' list take turns with requests
 * with good tokens that were never seen before. Prints the medians, and the forged token that cost most.
 *
 *     node bench/forged-tokens.ts [requests with each token, 200]
 */
const count = Number(process.argv[2] ?? 200)
const PASSWORD = 'correct horse battery staple'

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const env = {
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_SEALING_KEY: Buffer.alloc(32, 7).toString('base64'),
  LATCHKEY_ADMIN_PASSWORD: PASSWORD
}
const config = loadConfig(env)
const app = await buildApp(config, { logger: false })
await runFirstStart(app, config, { mayCreateDatabase: true })

const payload = new URLSearchParams({ grant_type: 'password', username: 'admin', password: PASSWORD }).toString()
const headers = { 'content-type': 'application/x-www-form-urlencoded' }
const inject = app.inject.bind(app) as (options: object) => ReturnType<typeof app.inject>
const good = (await app.inject({ method: 'POST', url: '/token', headers, payload })).json().access_token
const { forge, forged } = await forgeriesFor({ app, env, inject: inject as never, clock: { now: Date.now } }, good)

async function took(token: string, expected: number): Promise<number> {
  const start = performance.now()
  const { statusCode } = await app.inject({ url: '/users/me', headers: { authorization: `Bearer ${token}` } })
  const time = performance.now() - start
  if (statusCode !== expected) throw new Error(`${statusCode} and not ${expected} for ${token}`)
  return time
}
const median = (times: number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] as number
const micros = (time: number): string => `${Math.round(time * 1000)} µs`

const times = forged.map(() => [] as number[])
const fresh: number[] = []
const seen: number[] = []
for (let round = 0; round < count; round++) {
  for (const [index, { token }] of forged.entries()) {
    times[index]?.push(await took(token, 401))
    if (index % 5 > 0) continue
    fresh.push(await took(forge.token({}, { jti: randomUUID() }), 200))
    seen.push(await took(good, 200))
  }
}
await app.close()
rmSync(directory, { recursive: true })

const medians = forged.map(({ id, name }, index) => ({ name: `${id} ${name}`, time: median(times[index] as number[]) }))
const worst = medians.toSorted((a, b) => b.time - a.time).slice(0, 3)
const base = median(fresh)
const print = (line: string) => process.stdout.write(`${line}\n`)
print(
  `${forged.length} forged tokens, ${count} requests with each: ${micros(median(medians.map(({ time }) => time)))} in the middle`
)
print(`a good token: ${micros(base)} when it is new, ${micros(median(seen))} when it was seen before`)
for (const { name, time } of worst) print(`${(time / base).toFixed(2)} × a new good one: ${name}, ${micros(time)}`)
