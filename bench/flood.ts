/**
 * Floods the real service with logins that it must refuse, behind a proxy that it trusts, on both databases. Prints the p99 of token checks of
 * others, idle and under each flood, how many logins of a user from a known network succeed within 3 s, and what the service has written
 * for the logins that it refused.
 *
 *   node bench/flood.ts [seconds of each flood, by default 15] [sqlite or postgres, by default both]
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePort, greeted, launch } from '../test/cli/process.ts'
import { startServices } from '../test/run/services.ts'

const SECONDS = Math.min(60, Math.max(3, Number(process.argv[2] ?? 15)))
const ONLY = process.argv[3]
const PASSWORD = 'a password for a bench only'
const WRONG = 'a wrong password for a bench'
/** Logins of the user from the known network, spread over the last flood. */
const LOGINS = 20
const READERS = 2
const HOME = '192.0.2.7'
const MARKS = '\u0301'.repeat(4080) + '\u0316'.repeat(4080)

const print = (line: string) => void process.stdout.write(`${line}\n`)
const p99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(0.99 * (times.length - 1))] ?? Number.NaN
const count = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1)
const shown = (counts: Map<string, number>) => [...counts].map(([name, times]) => `${name}: ${times}`).join(', ')

interface Login {
  username: string
  password: string
  /** The address that the proxy reports. */
  address: string
  /** Milliseconds after which the caller closes the connection. */
  leavesAfter?: number
}

/** Sends a login over a connection of its own. Returns the status, or `gone` when the caller has left before the response. */
function login(port: number, { username, password, address, leavesAfter }: Login): Promise<string> {
  const body = `grant_type=password&username=${username}&password=${password}`
  const head = `POST /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Forwarded-For: ${address}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    const end = (outcome: string) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(outcome)
    }
    const timer = leavesAfter === undefined ? undefined : setTimeout(end, leavesAfter, 'gone')
    socket.on('error', ({ message }) => end(message))
    socket.on('close', () => end(text.split(' ')[1] ?? 'cut'))
    socket.setEncoding('latin1').on('data', (chunk) => (text += chunk))
    socket.write(head + body)
  })
}

/** Checks a token again and again until the promise ends. Returns the times of the checks. */
async function check(port: number, token: string, until: Promise<unknown>): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: READERS })
  const times: number[] = []
  let isOver = false
  void until.finally(() => (isOver = true))
  const once = () =>
    new Promise<void>((resolve, reject) => {
      const start = performance.now()
      get({ port, path: '/users/me', agent, headers: { authorization: `Bearer ${token}` } }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`GET /users/me: ${response.statusCode}`))
        response.resume().on('end', () => resolve(void times.push(performance.now() - start)))
      }).on('error', reject)
    })
  const read = async () => {
    while (!isOver) {
      await once()
      await sleep(10)
    }
  }
  await Promise.all(Array.from({ length: READERS }, read))
  agent.destroy()
  return times
}

/** Starts this many calls a second, evenly. Returns when all calls have ended. */
async function atRate(perSecond: number, seconds: number, call: (index: number) => Promise<unknown>): Promise<void> {
  const start = performance.now()
  const calls: Promise<unknown>[] = []
  for (let sent = 0; sent < perSecond * seconds; ) {
    const due = Math.min(perSecond * seconds, ((performance.now() - start) / 1000) * perSecond)
    for (; sent < due; sent++) calls.push(call(sent))
    await sleep(5)
  }
  await Promise.all(calls)
}

/** Returns all rows of a query. */
async function query<R>(url: string, sql: string): Promise<R[]> {
  if (url.startsWith('sqlite:')) {
    const database = new DatabaseSync(url.slice('sqlite:'.length), { readOnly: true })
    const rows = database.prepare(sql).all() as R[]
    database.close()
    return rows
  }
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query(sql)
  await client.end()
  return rows as R[]
}

const addressOf = (index: number) => `10.${(index >> 8) & 255}.${index & 255}.1`

async function run(databaseUrl: string, dataDir: string): Promise<void> {
  const port = await freePort()
  const env = {
    LATCHKEY_PORT: String(port),
    LATCHKEY_DATABASE_URL: databaseUrl,
    LATCHKEY_DATA_DIR: dataDir,
    LATCHKEY_ADMIN_PASSWORD: PASSWORD,
    LATCHKEY_SEALING_KEY: Buffer.alloc(32, 7).toString('base64'),
    LATCHKEY_TRUSTED_PROXIES: '127.0.0.1',
    LATCHKEY_ACCESS_TOKEN_TTL: '3600'
  }
  const migrated = await launch(['migrate'], env).exited
  if (migrated.code !== 0) throw new Error(migrated.stderr)
  const added = await launch(['user', 'add', 'mallory'], env, PASSWORD).exited
  if (added.code !== 0) throw new Error(added.stderr)
  const server = launch(['serve'], env)
  try {
    await greeted(server)
    const right = { username: 'admin', password: PASSWORD, address: HOME }
    const form = new URLSearchParams({
      grant_type: 'password',
      username: 'admin',
      password: PASSWORD,
      scope: 'profile'
    })
    const issued = await fetch(`http://localhost:${port}/token`, {
      method: 'POST',
      body: form,
      headers: { 'x-forwarded-for': HOME }
    })
    const { access_token: token } = (await issued.json()) as { access_token: string }

    const started = performance.now()
    let hashes = 0
    while (performance.now() - started < 2000) hashes += (await login(port, right)) === '200' ? 1 : 0
    const capacity = Math.max(1, Math.round(hashes / 2))
    const idle = p99(await check(port, token, sleep(SECONDS * 500)))
    print(`one login after the other: ${capacity}/s; token checks, idle: p99 ${idle.toFixed(1)} ms`)

    const during = async (name: string, flood: Promise<void>) => {
      const times = await check(port, token, flood)
      await flood
      print(
        `${name}: p99 ${p99(times).toFixed(1)} ms, ${(p99(times) / idle).toFixed(1)} x idle (${times.length} checks)`
      )
    }

    const ofMarks = new Map<string, number>()
    const marks = { username: 'a', password: MARKS, address: '198.51.100.7' }
    await during(
      '20/s with 16 KB of combining marks from one address',
      atRate(20, SECONDS, async () => count(ofMarks, await login(port, marks)))
    )
    print(`  ${shown(ofMarks)}`)

    const ofNames = new Map<string, number>()
    await during(
      '22/s with made-up names from one address behind the proxy',
      atRate(22, SECONDS, async (index) =>
        count(ofNames, await login(port, { username: `made-up-${index}`, password: WRONG, address: '203.0.113.7' }))
      )
    )
    print(`  ${shown(ofNames)}`)

    const sessionsOf = `select count(*) as n from sessions join users on users.id = sessions.user_id where username_key = 'mallory'`
    const outcomes = new Map<string, number>()
    const refused: string[] = []
    const ofLogins: number[] = []
    let received = 0
    const logBefore = server.output.stdout.length
    const flood = atRate(10 * capacity, SECONDS, async (index) => {
      // Every tenth has the right password of another user, so that it would open a session. Half of the callers leave.
      const username = index % 10 === 0 ? 'mallory' : `nobody-${index}`
      const password = index % 10 === 0 ? PASSWORD : WRONG
      const leavesAfter = index % 2 === 0 ? { leavesAfter: 50 + (index % 400) } : {}
      const outcome = await login(port, { username, password, address: addressOf(index), ...leavesAfter })
      count(outcomes, outcome)
      if (outcome === '200') received++
      if (outcome === '503' && username !== 'mallory') refused.push(username)
    })
    const known = atRate(LOGINS / SECONDS, SECONDS, async () => {
      const start = performance.now()
      if ((await login(port, right)) === '200') ofLogins.push(performance.now() - start)
    })
    await during(
      `${10 * capacity}/s from many networks, half of the callers leave`,
      Promise.all([flood, known]).then(() => {})
    )
    await sleep(1000)
    print(`  ${shown(outcomes)}`)
    const inTime = ofLogins.filter((time) => time <= 3000)
    print(
      `  right logins from a known network: ${inTime.length} of ${LOGINS} within 3 s, the slowest ${Math.max(0, ...ofLogins).toFixed(0)} ms`
    )

    const keys = new Set((await query<{ key: string }>(databaseUrl, 'select key from guesses')).map(({ key }) => key))
    const hashed = (name: string) => createHash('sha256').update(name).digest('base64url')
    const rows = refused.filter((name) => keys.has(`account ${hashed(name)}`)).length
    const lines = server.output.stdout.slice(logBefore).split('\n')
    const samples = lines.filter((line) => line.includes('too many wait for a password hash')).length
    const ofRefused = lines.filter((line) => line.includes('"status":503')).length
    const sessions = Number((await query<{ n: number }>(databaseUrl, sessionsOf))[0]?.n)
    print(
      `  refused for overload: ${outcomes.get('503') ?? 0}; rows with counts of them: ${rows}; lines of their own: ${ofRefused}; sampled lines: ${samples}; stacks: ${lines.filter((line) => line.includes('"stack"')).length}`
    )
    print(`  sessions opened for callers that left: ${sessions - received}`)
  } finally {
    server.child.kill('SIGTERM')
    await server.exited
  }
}

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const services = await startServices({ postgres: ONLY !== 'sqlite', browser: false })
try {
  if (ONLY !== 'postgres') {
    print(`SQLite, ${SECONDS} s each`)
    await run(`sqlite:${join(directory, 'latchkey.db')}`, join(directory, 'sqlite'))
  }
  if (ONLY !== 'sqlite') {
    const admin = new pg.Client({ connectionString: `${process.env.TEST_POSTGRES}/postgres` })
    await admin.connect()
    await admin.query('create database flood')
    await admin.end()
    print(`PostgreSQL, ${SECONDS} s each`)
    await run(`${process.env.TEST_POSTGRES}/flood`, join(directory, 'postgres'))
  }
} finally {
  await services.stop()
  rmSync(directory, { recursive: true, force: true })
}
