import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import argon2 from 'argon2'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { runFirstStart } from '../src/first-start.ts'

/**
 * Whether the time of a refused login tells who exists. Half of the users have a hash with old parameters. Logins with a wrong password
 * take turns: of users with a new hash, with an old hash, of disabled users, and of names that nobody has, from networks that nobody
 * logged in from and from networks from which the users logged in before; each without earlier failures, and locked by 100 failures.
 * Prints the medians. Within one line (the same cost of the hash, the same failures) they should lie within 5 % or 2 ms of each other.
 *
 *     node bench/password-timing.ts [logins of each kind, 200]
 *
 * The delay of a locked account is shortened to a fortieth, so that the run ends within minutes.
 */
const COUNT = Number(process.argv[2] ?? 200)
const SHORTER = 40
/** Users of each kind. Each has about COUNT / USERS failures from its known network; after the fifth it would have to wait. */
const USERS = 100
const PASSWORD = 'correct horse battery staple'
const OLD = { type: argon2.argon2id, memoryCost: 7168, timeCost: 1, parallelism: 1 }

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const file = join(directory, 'latchkey.db')
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: `sqlite:${file}`,
  LATCHKEY_ADMIN_PASSWORD: PASSWORD
})
const clock = { now: Date.now, sleep: (span: number) => sleep(span / SHORTER) }
const app = await buildApp(config, { logger: false, clock })

type Existence = 'new hash' | 'old hash' | 'disabled' | 'nobody'
const EXISTENCES: Existence[] = ['new hash', 'old hash', 'disabled', 'nobody']

const key = (text: string) => createHash('sha256').update(text).digest('base64url')
const nameOf = (existence: Existence, locked: boolean, index: number) =>
  `${existence.replace(' ', '-')}-${locked ? 'locked' : 'fresh'}-${index % USERS}`
/** The known network of the users with this number. */
const knownNetwork = (index: number) => `10.1.${index % USERS}.1`
let networks = 0
const newNetwork = () => `10.${2 + (networks >> 8)}.${networks++ & 255}.1`

/** Adds the users, their known networks and the failures of the locked accounts. */
async function fill(): Promise<void> {
  const hashes = {
    'new hash': await app.hasher.hash(PASSWORD),
    'old hash': await argon2.hash(PASSWORD, OLD),
    disabled: await app.hasher.hash(PASSWORD)
  }
  const database = new DatabaseSync(file)
  const user = database.prepare(
    'insert into users (id, username, username_key, auth_version, created_at, updated_at, disabled_at) values (?, ?, ?, 1, 1, 1, ?)'
  )
  const credentials = database.prepare('insert into credentials (user_id, password_hash) values (?, ?)')
  const guess = database.prepare('insert into guesses (key, count, last_at, expires_at) values (?, ?, ?, ?)')
  database.exec('begin')
  for (const locked of [false, true])
    for (const existence of EXISTENCES)
      for (let index = 0; index < USERS; index++) {
        const name = nameOf(existence, locked, index)
        let account = name
        if (existence !== 'nobody') {
          account = crypto.randomUUID()
          user.run(account, name, name, existence === 'disabled' ? 1 : null)
          credentials.run(account, hashes[existence])
          const network = knownNetwork(index).split('.').slice(0, 3).join('.')
          guess.run(`known ${key(account)} ${network}`, 1, Date.now(), Date.now() + 90 * 86_400_000)
        }
        if (locked) guess.run(`account ${key(account)}`, 100, Date.now(), Date.now() + 100 * 900_000)
      }
  database.exec('commit')
  database.close()
}

try {
  await runFirstStart(app, config, { mayCreateDatabase: true })
  await fill()
  let parameters = ''
  const { verify } = app.hasher
  app.hasher.verify = (hash, password, ...more) => {
    parameters = hash?.split('$')[3] ?? 'none'
    return verify(hash, password, ...more)
  }

  const times = new Map<string, number[]>()
  const kinds = [false, true].flatMap((locked) =>
    EXISTENCES.flatMap((existence) => [false, true].map((known) => ({ locked, existence, known })))
  )
  const WARM_UP = 3
  for (let round = -WARM_UP; round < COUNT; round++)
    for (let turn = 0; turn < kinds.length; turn++) {
      const { locked, existence, known } = kinds[(turn + round + WARM_UP) % kinds.length] as (typeof kinds)[number]
      const index = round + WARM_UP
      const start = performance.now()
      const { statusCode } = await app.inject({
        method: 'POST',
        url: '/token',
        remoteAddress: known ? knownNetwork(index) : newNetwork(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        payload: new URLSearchParams({
          grant_type: 'password',
          username: nameOf(existence, locked, index),
          password: 'wrong horse battery staple'
        }).toString()
      })
      const took = performance.now() - start
      if (statusCode !== 400) throw new Error(`${existence} got ${statusCode}`)
      if (round < 0) continue
      const row = `${parameters.padEnd(18)} ${locked ? 'locked' : 'no failures'}`
      const cell = `${existence}, ${known ? 'known' : 'new'} network`
      const id = `${row}|${cell}`
      times.set(id, [...(times.get(id) ?? []), took])
    }

  const median = (all: number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] as number
  const rows = new Map<string, { cell: string; samples: number; at: number }[]>()
  for (const [id, all] of times) {
    const [row = '', cell = ''] = id.split('|')
    rows.set(row, [...(rows.get(row) ?? []), { cell, samples: all.length, at: median(all) }])
  }
  const print = (line: string) => void process.stdout.write(`${line}\n`)
  print(`${COUNT} logins of each kind in turns; the delay of locked accounts is divided by ${SHORTER}`)
  for (const [row, cells] of [...rows].toSorted()) {
    const medians = cells.map(({ at }) => at)
    const [least, most] = [Math.min(...medians), Math.max(...medians)]
    const spread = most - least
    const verdict = spread <= 2 || spread <= 0.05 * least ? 'within 5 % or 2 ms' : 'NOT within 5 % or 2 ms'
    print(`\n${row}: spread ${spread.toFixed(2)} ms, ${((100 * spread) / least).toFixed(1)} %, ${verdict}`)
    for (const { cell, samples, at } of cells)
      print(`  ${cell.padEnd(26)}${at.toFixed(2).padStart(9)} ms  (${samples})`)
  }
} finally {
  await app.close()
  rmSync(directory, { recursive: true, force: true })
}
