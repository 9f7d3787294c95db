import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { lock } from '../store/lock.ts'
import { command } from './command.ts'
import { type Exit, login, me, type Running, run, serve } from './process.ts'

const IS_SOAK = process.env.LATCHKEY_ROUNDS !== undefined

const UNAVAILABLE = 'The database is not available'

async function ready(t: Test) {
  const database = await createDatabase(t, 'sqlite', 'ready')
  return { ...database, file: join(database.dataDir, 'latchkey.db'), env: environment(database) }
}

async function tryLogin(origin: string) {
  const body = new URLSearchParams({ grant_type: 'password', username: 'alice', password: PASSWORD })
  const response = await fetch(`${origin}/token`, { method: 'POST', body })
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() }
}

async function addUser(origin: string, token: string, username: string) {
  const response = await fetch(`${origin}/users`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ username, password: PASSWORD })
  })
  return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() }
}

const refusedLogin = {
  status: 503,
  retryAfter: '1',
  body: { error: 'temporarily_unavailable', error_description: UNAVAILABLE }
}
const refusedUser = {
  status: 503,
  retryAfter: '1',
  body: { type: 'about:blank', title: 'Service Unavailable', status: 503, detail: UNAVAILABLE }
}

t.test('on a full disk writes get 503 and reads are answered, until there is room again [F6]', async (t) => {
  const { file, env } = await ready(t)
  // `ulimit` lets no file grow beyond the present size of the database, so the write-ahead log is soon full. Node.js ignores the signal
  // SIGXFSZ, but it would end a process into which tap has loaded its code by `NODE_OPTIONS`.
  const { origin } = await serve(t, env, `unset NODE_OPTIONS && ulimit -f ${Math.ceil(statSync(file).size / 512)}`)
  const token = await login(origin, 'admin', PASSWORD, 'profile users:write')
  let acknowledged = 1
  const fill = async () => {
    for (;;) {
      const answer = await tryLogin(origin)
      if (answer.status !== 200) return answer
      acknowledged++
    }
  }
  for (const round of [1, 2]) {
    t.strictSame(await fill(), refusedLogin)
    t.strictSame(await addUser(origin, token, `user${round}`), refusedUser)
    t.equal((await me(origin, token)).status, 200)
    t.equal((await fetch(`${origin}/.well-known/jwks.json`)).status, 200)

    const database = new DatabaseSync(file)
    t.equal(database.prepare('select count(*) as count from sessions').get()?.count, acknowledged)
    t.equal(database.prepare('pragma wal_checkpoint(truncate)').get()?.busy, 0, 'makes room')
    database.close()
    t.equal((await tryLogin(origin)).status, 200)
    t.equal((await addUser(origin, token, `user${round}`)).status, 201)
    acknowledged++
  }
})

t.test('while another process holds the lock, reads are answered and logins get 503 [F8]', async (t) => {
  const { file, env } = await ready(t)
  const { origin } = await serve(t, env)
  const token = await login(origin, 'alice', PASSWORD)
  const holder = await lock(t, file)
  let waiting = true
  const statuses = new Set<number>()
  let answered = 0
  const read = async (request: () => Promise<{ status: number }>) => {
    while (waiting) {
      statuses.add((await request()).status)
      if (waiting) answered++
    }
  }
  const live = async () => {
    const response = await fetch(`${origin}/health/live`)
    await response.arrayBuffer()
    return response
  }
  const logins = Promise.all([tryLogin(origin), sleep(500).then(() => tryLogin(origin))]).finally(() => {
    waiting = false
  })
  await Promise.all([logins, read(() => me(origin, token)), read(live)])
  holder.release()
  await once(holder.process, 'exit')
  t.strictSame(await logins, [refusedLogin, refusedLogin])
  t.strictSame([...statuses], [200])
  t.ok(answered > 3, 'reads are answered while the logins wait')
  t.equal((await tryLogin(origin)).status, 200)
})

t.test('serve refuses a database that is not its own in one line, and changes no file [F9]', async (t) => {
  const change = (sql: string) => (file: string) => {
    const database = new DatabaseSync(file)
    database.exec(sql)
    database.close()
  }
  const cases: Record<string, (file: string) => void> = {
    missing: (file) => rmSync(file),
    emptied: (file) => truncateSync(file),
    'overwritten with garbage': (file) => writeFileSync(file, 'no database '.repeat(20_000)),
    'of something else': (file) => {
      rmSync(file)
      change('pragma journal_mode = wal; create table notes (text)')(file)
    },
    newer: change('update schema_version set version = 99, compatible_from = 99'),
    'sealed with another key': (file) =>
      writeFileSync(join(file, '..', 'sealing-key'), Buffer.alloc(32, 8).toString('base64'))
  }
  for (const [what, prepare] of Object.entries(cases)) {
    const { dataDir, file, env } = await ready(t)
    const { LATCHKEY_SEALING_KEY: key = '', ...others } = env
    writeFileSync(join(dataDir, 'sealing-key'), key)
    prepare(file)
    const files = () => readdirSync(dataDir).map((name) => [name, readFileSync(join(dataDir, name), 'base64')])
    const before = files()
    const settings = { ...others, LATCHKEY_PORT: '0', LATCHKEY_LOG_LEVEL: 'warn' }
    // One case runs as a separate process, so that its log is checked too.
    const ends = what === 'of something else' ? run(['serve'], settings) : command(settings, ['serve'])
    const { code, stdout, stderr } = await ends
    t.equal(code, 1, what)
    t.match(stderr, /^[^\n]+\n$/, what)
    t.notMatch(stderr, / at /, what)
    t.notMatch(stdout, /"level":[56]0/, what)
    t.ok(JSON.stringify(files()) === JSON.stringify(before), `${what}: the files are as they were`)
  }
})

/** Lets the failure happen that was injected, and waits for the end of the process. */
function fail(server: Running): Promise<Exit> {
  server.process.kill('SIGCONT')
  return server.exited
}

const inject = (failure: string) => ({ TEST_FAILURE: failure, NODE_OPTIONS: '--import ./test/cli/inject.ts' })
const fatal = (stdout = '') => stdout.match(/^\{"level":60,.*$/gm) ?? []

t.test('a failed fsync ends the process, and no later request is acknowledged [F10]', async (t) => {
  const { file, env } = await ready(t)
  const server = await serve(t, { ...env, ...inject('fsync') })
  t.equal((await tryLogin(server.origin)).status, 200)
  const end = fail(server)
  while (!server.output().stderr.includes('injected')) await sleep(5)
  const answers = await Promise.allSettled(Array.from({ length: 16 }, () => tryLogin(server.origin)))
  t.strictSame([...new Set(answers.map((answer) => answer.status))], ['rejected'], 'the connections are gone')
  const { code, stdout } = await end
  t.equal(code, 1)
  t.equal(fatal(stdout).length, 1)
  t.match(fatal(stdout)[0], /disk I\/O error/)
  const database = new DatabaseSync(file)
  t.equal(database.prepare('select count(*) as count from sessions').get()?.count, 1)
  database.close()
})

const LOGS = ['read', 'a pipe whose reader is gone', 'a full disk'] as const

for (const [what, failure, logs] of [
  ['an uncaught exception', 'exception', IS_SOAK ? LOGS : ['read', 'a full disk']],
  ['an unhandled rejection', 'rejection', IS_SOAK ? LOGS : ['read']],
  ['a full heap', 'memory', IS_SOAK ? LOGS : ['a pipe whose reader is gone']]
] as const) {
  t.test(`${what} ends the process, also when the log cannot be written [F30]`, async (t) => {
    for (const log of logs) {
      const env = { ...(await ready(t)).env, ...inject(failure) }
      if (failure === 'memory') env.NODE_OPTIONS += ' --max-old-space-size=64'
      const server = await serve(t, env, log === 'a full disk' ? 'exec >/dev/full' : ':')
      if (log === 'a pipe whose reader is gone') server.process.stdout?.destroy()
      t.equal((await me(server.origin, await login(server.origin, 'alice', PASSWORD))).status, 200)
      const { code, signal, stdout } = await fail(server)
      if (failure === 'memory') t.not(code, 0, `${log}: ${code ?? signal}`)
      else t.equal(code, 1, log)
      if (failure !== 'memory' && log === 'read') {
        t.equal(fatal(stdout).length, 1)
        t.match(fatal(stdout)[0], what)
      }
    }
  })
}
