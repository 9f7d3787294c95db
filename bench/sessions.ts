import { randomUUIDv7 } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { buildApp } from '../src/app.ts'
import { bootstrap } from '../src/bootstrap.ts'
import { loadConfig } from '../src/config.ts'

/**
 * What many sessions cost. Waves of sessions that are put in through the store, expire and are swept away before the next: the
 * size of the database after each. And a refresh among a thousand living sessions and among many.
 *
 *     node bench/sessions.ts [url of an empty PostgreSQL database; else SQLite] [sessions of a wave, 100000] [living ones, 1000000]
 */
const [given = 'sqlite', wave = '100000', living = '1000000'] = process.argv.slice(2)
const WAVES = 10
const AT_ONCE = 8
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
await bootstrap(app, config, { mayBeginAnew: true })
const { id: userId } = await app.auth.users.find('admin')
const clientAuth = await app.auth.clients.docs()
const print = (what: string, value: string) => process.stdout.write(`${what.padEnd(40)} ${value}\n`)

async function size(): Promise<number> {
  if (given === 'sqlite') return statSync(file).size
  const connection = new pg.Client({ connectionString: given })
  await connection.connect()
  const { rows } = await connection.query('select pg_database_size(current_database()) as size')
  await connection.end()
  return Number(rows[0].size)
}

/** Sessions of an hour. */
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
      await app.store.sessions.open(
        { ...login, ...times, id: randomUUIDv7(), salt: 'AAAAAAAAAAAAAAAAAAAAAA' },
        1,
        Number.MAX_SAFE_INTEGER
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

async function sweep(): Promise<number> {
  let removed = 0
  for (;;) {
    const count = await app.auth.sweep()
    removed += count
    if (count === 0) return removed
    now += 61_000
  }
}

/** The median of refreshes of one session, in milliseconds. */
async function refresh(): Promise<number> {
  const exchange = (params: Record<string, string>) =>
    app.auth.exchange({ clientAuth, params, origin: { address: null, userAgent: null } })
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
print('after the last wave and the second', `${((sizes.at(-1) as number) / (sizes[1] as number)).toFixed(2)} ×`)

await add(FEW)
await refresh()
const few = await refresh()
await add(Number(living) - FEW)
const many = await refresh()
print(`a refresh among ${FEW} sessions`, `${few.toFixed(3)} ms`)
print(`a refresh among ${living} sessions`, `${many.toFixed(3)} ms, ${(many / few).toFixed(2)} ×`)
await app.close()
rmSync(directory, { recursive: true })
