import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { buildApp } from '../src/app.ts'
import { bootstrap } from '../src/bootstrap.ts'
import { loadConfig } from '../src/config.ts'

/**
 * Whether the time of a refused login tells who exists: logins of an unknown user, with a wrong password and of a
 * disabled user take turns. Prints the medians; they should lie within 5 % or 2 ms of each other.
 *
 *     node bench/password-timing.ts [logins of each kind, 60]
 */
const count = Number(process.argv[2] ?? 60)
const WARM_UP = 5
const PASSWORD = 'correct horse battery staple'
const KINDS = {
  unknown: { username: 'nobody', password: PASSWORD },
  wrong: { username: 'alice', password: 'wrong horse battery staple' },
  disabled: { username: 'bob', password: PASSWORD }
}

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const file = join(directory, 'latchkey.db')
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: `sqlite:${file}`,
  LATCHKEY_ADMIN_PASSWORD: PASSWORD
})
const app = await buildApp(config, { logger: false })

async function login(form: { username: string; password: string }): Promise<number> {
  const start = performance.now()
  const { statusCode } = await app.inject({
    method: 'POST',
    url: '/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ grant_type: 'password', ...form }).toString()
  })
  const took = performance.now() - start
  if (statusCode !== 400) throw new Error(`${form.username} got ${statusCode} and not the refusal that is measured`)
  return took
}

const print = (line: string) => void process.stdout.write(`${line}\n`)
const sorted = (times: number[]) => times.toSorted((a, b) => a - b)
const quantile = (times: number[], q: number) => sorted(times)[Math.floor(q * (times.length - 1))] ?? Number.NaN
const ms = (time: number) => `${time.toFixed(2).padStart(8)} ms`

try {
  await bootstrap(app, config, { mayBeginAnew: true })
  for (const username of ['alice', 'bob'])
    await app.auth.users.create({ username, password: PASSWORD, roles: ['user'] }, null)
  const database = new DatabaseSync(file)
  database.prepare("update users set disabled_at = 1 where username_key = 'bob'").run()
  database.close()

  const kinds = Object.entries(KINDS).map(([name, form]) => ({ name, form, times: [] as number[] }))
  for (let round = -WARM_UP; round < count; round++) {
    // Each kind comes as often first, second and last.
    for (let turn = 0; turn < kinds.length; turn++) {
      const { form, times } = kinds[(turn + round + WARM_UP) % kinds.length] as (typeof kinds)[number]
      const took = await login(form)
      if (round >= 0) times.push(took)
    }
  }

  const { argon2Memory, argon2Passes, argon2Lanes } = config
  print(`${count} logins of each kind in turns, argon2id m=${argon2Memory} t=${argon2Passes} p=${argon2Lanes}`)
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
