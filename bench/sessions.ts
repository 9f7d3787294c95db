import { randomUUIDv7 } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { OPERATOR } from '../src/domain/caller.ts'
import { runFirstStart } from '../src/first-start.ts'

/**
 * Measures the cost of many sessions. Adds waves of sessions, each of which expires and is removed before the next, and
 * prints the size of the database after each wave. Then measures a refresh among a thousand living sessions and among
 * many.
 *
 *     node bench/sessions.ts [database, sqlite] [sessions per wave, 100000] [living sessions, 1000000]
 *
 * The database is `sqlite` or the URL of an empty PostgreSQL database.
 */
const [given = 'sqlite', wave = '100000', living = '1000000'] = process.argv.slice(2)
const WAVES = 10
const CONCURRENCY = 8
const REFRESHES = 2000
const FEW = 1000
const PASSWORD = 'correct horse battery staple'

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const file = join(directory, 'latchkey.db')
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: given === 'sqlite' ? `sqlite:${file}` : given,
  LATCHKEY_SEALING_KEY: Buffer.alloc(32, 7).toString('base64'),
  LATCHKEY_ADMIN_PASSWORD: PASSWORD,
  LATCHKEY_REFRESH_LEEWAY: '0'
})
let now = Date.now()
const app = await buildApp(config, { logger: false, clock: { now: () => now, sleep: async () => {} } })
await runFirstStart(app, config, { mayCreateDatabase: true })
const { id: userId } = await app.auth.users.find('admin')
const clientAuth = await app.auth.clientAuthentication.docsClient()
const print = (label: string, value: string) => process.stdout.write(`${label.padEnd(40)} ${value}\n`)

/** Returns the size of the database in bytes. */
async function size(): Promise<number> {
  if (given === 'sqlite') return statSync(file).size
  const connection = new pg.Client({ connectionString: given })
  await connection.connect()
  const { rows } = await connection.query('select pg_database_size(current_database()) as size')
  await connection.end()
  return Number(rows[0].size)
}

/** Adds sessions that expire after an hour without use. */
async function add(count: number): Promise<void> {
  let left = count
  const work = async () => {
    while (left-- > 0) {
      const login = {
        userId,
        clientId: 'docs',
        scopes: ['profile'],
        amr: ['pwd'],
        address: '192.0.2.7',
        userAgent: 'bench'
      }
      const times = {
        authAt: now,
        createdAt: now,
        lastUsedAt: now,
        idleExpiresAt: now + 3_600_000,
        expiresAt: now + 7_200_000
      }
      await app.store.sessions.open(OPERATOR, {
        session: { ...login, ...times, id: randomUUIDv7(), salt: 'AAAAAAAAAAAAAAAAAAAAAA', loginId: null },
        authVersion: 1,
        rev: Number.MAX_SAFE_INTEGER
      })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
}

/** Removes all expired sessions and returns their number. Moves the clock past the lease of each call. */
async function sweep(): Promise<number> {
  let removed = 0
  for (;;) {
    const count = await app.auth.removeExpired()
    removed += count
    if (count === 0) return removed
    now += 61_000
  }
}

/** Returns the median time of a refresh of one session in milliseconds. */
async function refresh(): Promise<number> {
  const exchange = (params: Record<string, string>) => app.auth.exchange(OPERATOR, { clientAuth, params })
  let token = (await exchange({ grant_type: 'password', username: 'admin', password: PASSWORD })).refreshToken
  const times: number[] = []
  for (let index = 0; index < REFRESHES; index++) {
    const start = performance.now()
    token = (await exchange({ grant_type: 'refresh_token', refresh_token: token as string })).refreshToken
    times.push(performance.now() - start)
  }
  return times.toSorted((a, b) => a - b)[REFRESHES >> 1] as number
}

const sizes: number[] = []
for (let index = 1; index <= WAVES; index++) {
  const start = performance.now()
  await add(Number(wave))
  now += 7_300_000
  const removed = await sweep()
  sizes.push(await size())
  print(
    `wave ${index}: ${removed} removed in ${((performance.now() - start) / 1000).toFixed(0)} s`,
    `${((sizes.at(-1) as number) / 1e6).toFixed(1)} MB`
  )
}
print('size after the last wave / the second', `${((sizes.at(-1) as number) / (sizes[1] as number)).toFixed(2)} ×`)

await add(FEW)
await refresh()
const few = await refresh()
await add(Number(living) - FEW)
const many = await refresh()
print(`a refresh among ${FEW} sessions`, `${few.toFixed(3)} ms`)
print(`a refresh among ${living} sessions`, `${many.toFixed(3)} ms, ${(many / few).toFixed(2)} ×`)
await app.close()
rmSync(directory, { recursive: true })
