import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp } from '../src/app.ts'
import { bootstrap } from '../src/bootstrap.ts'
import { loadConfig } from '../src/config.ts'

/**
 * Whether the time of a refused client tells which clients exist: an unknown client, a wrong secret and a disabled client
 * with its right secret take turns. Prints the medians; they should lie within 5 % or 0.3 ms of each other.
 *
 *     node bench/client-timing.ts [tries of each kind, 2000]
 */
const count = Number(process.argv[2] ?? 2000)
const WARM_UP = 300
const WRONG = `lks_${'A'.repeat(43)}`

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: `sqlite:${join(directory, 'latchkey.db')}`,
  LATCHKEY_ADMIN_PASSWORD: 'correct horse battery staple'
})
const app = await buildApp(config, { logger: false })

async function ask(form: { client_id: string; client_secret: string }): Promise<number> {
  const start = performance.now()
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ grant_type: 'client_credentials', ...form }).toString()
  })
  const took = performance.now() - start
  if (statusCode !== 401) throw new Error(`${form.client_id} got ${statusCode} and not the refusal that is measured`)
  return took
}

const print = (line: string) => void process.stdout.write(`${line}\n`)
const sorted = (times: number[]) => times.toSorted((a, b) => a - b)
const quantile = (times: number[], q: number) => sorted(times)[Math.floor(q * (times.length - 1))] ?? Number.NaN
const ms = (time: number) => `${time.toFixed(3).padStart(8)} ms`

try {
  await bootstrap(app, config, { mayBeginAnew: true })
  const { clients } = app.auth
  const add = async (id: string) =>
    (await clients.create({ id, name: id, grantTypes: ['client_credentials'] })).secret as string
  await add('enabled')
  const secret = await add('stopped')
  await clients.change('stopped', { disabled: true }, null)

  const kinds = Object.entries({
    unknown: { client_id: 'unknown', client_secret: WRONG },
    wrong: { client_id: 'enabled', client_secret: WRONG },
    disabled: { client_id: 'stopped', client_secret: secret }
  }).map(([name, form]) => ({ name, form, times: [] as number[] }))
  for (let round = -WARM_UP; round < count; round++) {
    // Each kind comes as often first, second and last.
    for (let turn = 0; turn < kinds.length; turn++) {
      const { form, times } = kinds[(turn + round + WARM_UP) % kinds.length] as (typeof kinds)[number]
      const took = await ask(form)
      if (round >= 0) times.push(took)
    }
  }

  print(`${count} tries of each kind in turns, SQLite`)
  print(`${''.padEnd(10)}${'median'.padStart(11)}${'10 %'.padStart(11)}${'90 %'.padStart(11)}`)
  for (const { name, times } of kinds) {
    print(`${name.padEnd(10)}${[0.5, 0.1, 0.9].map((q) => ms(quantile(times, q))).join('')}`)
  }
  const medians = kinds.map(({ times }) => quantile(times, 0.5))
  const [least, most] = [Math.min(...medians), Math.max(...medians)]
  print(`${'spread'.padEnd(10)}${ms(most - least)}${`${((100 * (most - least)) / least).toFixed(2)} %`.padStart(11)}`)
} catch (error) {
  print(String(error))
} finally {
  await app.close()
  rmSync(directory, { recursive: true, force: true })
}
