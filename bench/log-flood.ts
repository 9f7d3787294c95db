/**
 * One user and one client revoke tokens in loops, to fill the revocation log of a real service beside a guarded service. Prints what they
 * wrote, the memory of the guard, and the times and refusals of another user, on both databases.
 *
 *   node bench/log-flood.ts [seconds, by default 60]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePort, greeted, launch } from '../test/cli/process.ts'
import { startServices } from '../test/run/services.ts'

const SECONDS = Math.min(600, Math.max(1, Number(process.argv[2] ?? 60)))
const IDLE_SECONDS = Math.min(10, SECONDS)
/** Loops of each attacker, and of the other user at each service. */
const LOOPS = 3
const PASSWORD = 'a password for a bench only'
const AUDIENCE = 'https://orders.example.com'

const print = (line: string) => void process.stdout.write(`${line}\n`)
const p99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(0.99 * (times.length - 1))] ?? Number.NaN

interface Answer {
  status: number
  body: Record<string, string>
}

async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : {} }
}
const post = (url: string, form: Record<string, string>) =>
  ask(url, { method: 'POST', body: new URLSearchParams(form) })
const withToken = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

/** Registers the services, the users `mallory` and `alice`, and the client `worker`. Returns the secrets of the clients. */
async function register(origin: string): Promise<Record<string, string>> {
  const scope = 'users:write roles:write clients:write resources:write'
  const login = { grant_type: 'password', username: 'admin', password: PASSWORD, scope }
  const { access_token: admin } = (await post(`${origin}/token`, login)).body
  const create = async (path: string, body: object) => {
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
    const { status, body: made } = await ask(origin + path, { method: 'POST', headers, body: JSON.stringify(body) })
    if (status !== 201) throw new Error(`POST ${path}: ${status} ${JSON.stringify(made)}`)
    return made
  }
  const client = async (client_id: string, scope: string) =>
    (await create('/clients', { client_id, client_name: client_id, grant_types: ['client_credentials'], scope }))
      .client_secret as string
  const api = await client('orders-api', 'revocations:read')
  await create('/resources', {
    id: 'orders',
    resource: AUDIENCE,
    name: 'Orders',
    scopes: [{ name: 'orders:read', description: '' }],
    introspection_clients: ['orders-api']
  })
  const worker = await client('worker', 'orders:read')
  await create('/clients', {
    client_id: 'shop',
    client_name: 'Shop',
    token_endpoint_auth_method: 'none',
    first_party: true,
    grant_types: ['password', 'refresh_token'],
    scope: 'orders:read'
  })
  await create('/roles', { name: 'clerk', description: '', scopes: ['orders:read', 'profile'] })
  for (const username of ['mallory', 'alice'])
    await create('/users', { username, password: PASSWORD, roles: ['clerk'] })
  return { api, worker }
}

/** Starts the guarded service in a process of its own. */
async function startGuarded(origin: string, secret: string) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../test/cli/guarded-service.ts')], {
    env: {
      PATH: process.env.PATH,
      ISSUER: origin,
      AUDIENCE,
      CLIENT_ID: 'orders-api',
      CLIENT_SECRET: secret,
      SCOPE: 'orders:read',
      STALE_AFTER: '30'
    },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const [port] = await once(child.stdout, 'data')
  const url = `http://127.0.0.1:${String(port).trim()}`
  return { child, url, status: async () => (await ask(`${url}/status`)).body as unknown as Record<string, number> }
}

/** Calls both services as another user for some seconds. */
async function others(seconds: number, calls: Record<string, () => Promise<number>>) {
  const end = performance.now() + seconds * 1000
  const results = new Map(Object.keys(calls).map((name) => [name, { times: [] as number[], refused: 0 }]))
  async function loop(name: string, call: () => Promise<number>): Promise<void> {
    const result = results.get(name) as { times: number[]; refused: number }
    while (performance.now() < end) {
      const start = performance.now()
      if ((await call()) !== 200) result.refused++
      result.times.push(performance.now() - start)
      await sleep(20)
    }
  }
  const loops = Object.entries(calls).flatMap(([name, call]) => Array.from({ length: LOOPS }, () => loop(name, call)))
  await Promise.all(loops)
  return results
}

/** Revokes tokens as a user and as a client, as fast as possible. Returns the number of responses of `/revoke`, by status. */
async function attack(origin: string, seconds: number, secret: string): Promise<Record<string, number>> {
  const end = performance.now() + seconds * 1000
  const counts: Record<string, number> = {}
  const revoke = async (who: string, form: Record<string, string>) => {
    const name = `${who} ${(await post(`${origin}/revoke`, form)).status}`
    counts[name] = (counts[name] ?? 0) + 1
  }
  async function asUser(): Promise<void> {
    const shop = { client_id: 'shop' }
    const login = { grant_type: 'password', username: 'mallory', password: PASSWORD, scope: 'orders:read' }
    let tokens = (await post(`${origin}/token`, { ...shop, ...login })).body
    while (performance.now() < end) {
      await revoke('user', { ...shop, token: tokens.access_token as string })
      const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token as string }
      tokens = (await post(`${origin}/token`, { ...shop, ...refresh })).body
    }
  }
  async function asClient(): Promise<void> {
    const worker = { client_id: 'worker', client_secret: secret }
    while (performance.now() < end) {
      const { body } = await post(`${origin}/token`, { ...worker, grant_type: 'client_credentials' })
      await revoke('client', { ...worker, token: body.access_token as string })
    }
  }
  await Promise.all(Array.from({ length: LOOPS }, () => [asUser(), asClient()]).flat())
  return counts
}

async function flood(databaseUrl: string, dataDir: string): Promise<void> {
  const port = String(await freePort())
  const origin = `http://localhost:${port}`
  const env = {
    LATCHKEY_PORT: port,
    LATCHKEY_DATABASE_URL: databaseUrl,
    LATCHKEY_DATA_DIR: dataDir,
    LATCHKEY_ADMIN_PASSWORD: PASSWORD,
    LATCHKEY_SEALING_KEY: Buffer.alloc(32, 7).toString('base64'),
    LATCHKEY_LOG_LEVEL: 'warn'
  }
  const migrated = await launch(['migrate'], env).exited
  if (migrated.code !== 0) throw new Error(migrated.stderr)
  const server = launch(['serve'], env)
  await greeted(server)
  const { api = '', worker = '' } = await register(origin)
  const guarded = await startGuarded(origin, api)
  try {
    const login = { client_id: 'shop', grant_type: 'password', username: 'alice', password: PASSWORD }
    const ofOrders = (await post(`${origin}/token`, { ...login, scope: 'orders:read' })).body.access_token as string
    const { client_id: _, ...own } = login
    const ofLatchkey = (await post(`${origin}/token`, { ...own, scope: 'profile' })).body.access_token as string
    const calls = {
      'guarded service': async () => (await ask(guarded.url, withToken(ofOrders))).status,
      Latchkey: async () => (await ask(`${origin}/users/me`, withToken(ofLatchkey))).status
    }
    const idle = await others(IDLE_SECONDS, calls)
    const before = await guarded.status()
    const [counts, busy] = await Promise.all([attack(origin, SECONDS, worker), others(SECONDS, calls)])
    await sleep(1000)
    const after = await guarded.status()

    print(`responses of /revoke: ${JSON.stringify(counts)}`)
    print(`entries written: ${Number(after.seq) - Number(before.seq)}; in the memory of the guard: ${after.entries}`)
    const mb = (bytes = 0) => `${(bytes / 2 ** 20).toFixed(0)} MB`
    print(`memory of the guarded service: ${mb(before.memory)} before, ${mb(after.memory)} after`)
    for (const [name, { times, refused }] of busy) {
      const wasIdle = p99(idle.get(name)?.times ?? [])
      print(
        `another user at ${name}: p99 ${p99(times).toFixed(1)} ms (idle ${wasIdle.toFixed(1)} ms), ${refused} of ${times.length} good tokens refused`
      )
    }
  } finally {
    guarded.child.kill('SIGKILL')
    server.child.kill('SIGTERM')
    await server.exited
  }
}

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const services = await startServices({ postgres: true, browser: false })
try {
  const admin = new pg.Client({ connectionString: `${process.env.TEST_POSTGRES}/postgres` })
  await admin.connect()
  await admin.query('create database flood')
  await admin.end()
  for (const [name, url] of [
    ['SQLite', `sqlite:${join(directory, 'latchkey.db')}`],
    ['PostgreSQL', `${process.env.TEST_POSTGRES}/flood`]
  ] as const) {
    print(`\n${name}, ${SECONDS} s`)
    await flood(url, join(directory, name))
  }
} finally {
  await services.stop()
  rmSync(directory, { recursive: true, force: true })
}
