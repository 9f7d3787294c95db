import { randomUUIDv7 } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, sql } from 'kysely'
import t, { type Test } from 'tap'
import { DomainError, SetupError } from '../../src/domain/errors.ts'
import type { NewUser, Store } from '../../src/domain/ports.ts'
import { openStore } from '../../src/store/index.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { createDatabase } from '../helper.ts'
import { lock } from './lock.ts'

const UNAVAILABLE = { constructor: DomainError, code: 'unavailable', retryAfter: 1 }

async function newFile(t: Test): Promise<{ file: string; open: () => Store }> {
  const file = join((await createDatabase(t, 'sqlite')).dataDir, 'deep', 'er', 'latchkey.db')
  const open = () => {
    const store = openStore(`sqlite:${file}`)
    t.teardown(() => store.close())
    return store
  }
  return { file, open }
}

async function migrated(t: Test): Promise<{ file: string; store: Store; open: () => Store }> {
  const { file, open } = await newFile(t)
  const store = open()
  await store.migrate()
  return { file, store, open }
}

let names = 0
function newUser(more: Partial<NewUser> = {}): NewUser {
  const name = `user${++names}`
  const user = { id: randomUUIDv7(), username: name, usernameKey: name, passwordHash: 'hash', now: 1 }
  return { ...user, email: null, emailKey: null, fullName: null, roles: [], ...more }
}

/** The longest time for which the event loop did nothing else. */
function watchEventLoop(): () => number {
  let last = performance.now()
  let longest = 0
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  }, 10)
  return () => {
    clearInterval(timer)
    return Math.max(longest, performance.now() - last)
  }
}

async function timed<T>(work: Promise<T>): Promise<{ result: PromiseSettledResult<T>; took: number }> {
  const start = performance.now()
  const [result] = await Promise.allSettled([work])
  return { result, took: performance.now() - start }
}

t.test('KS3 the database is readable by its owner only, whatever the umask', async (t) => {
  const { file, open } = await newFile(t)
  const umask = process.umask(0)
  try {
    const store = open()
    await store.migrate()
    await store.users.create(newUser(), null)
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    for (const path of ['', '-wal', '-shm']) t.equal(mode(file + path), '600', path)
    t.equal(mode(dirname(file)), '700')
    t.equal(mode(dirname(dirname(file))), '700')
  } finally {
    process.umask(umask)
  }
})

t.test('F5 the connection that writes has a write-ahead log and waits for the disk at each commit', async (t) => {
  const { file } = await migrated(t)
  const db = new Kysely({ dialect: openSqlite(file).dialect })
  t.teardown(() => db.destroy())
  t.match((await sql`pragma journal_mode`.execute(db)).rows, [{ journal_mode: 'wal' }])
  t.match((await sql`pragma synchronous`.execute(db)).rows, [{ synchronous: 2 }], 'full')
})

t.test('F9 a missing file is said and not made; after migrate the same store works', async (t) => {
  const { file, open } = await newFile(t)
  const store = open()
  t.equal(await store.schema(), null)
  const missing = { constructor: SetupError, message: `the database ${file} is missing` }
  await t.rejects(store.users.get('x'), missing)
  await t.rejects(store.users.create(newUser(), null), missing)
  await t.rejects(store.bootstrapped(), missing)
  t.equal(existsSync(dirname(file)), false)

  await store.migrate()
  const user = newUser()
  await store.users.create(user, null)
  t.equal((await store.users.get(user.id))?.username, user.username)
})

for (const [what, content] of [
  ['a short text', Buffer.from('hello\n')],
  ['a long text', Buffer.from('no database at all\n'.repeat(1000))],
  ['random bytes', Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7919) % 251))]
] as const) {
  t.test(`F9 a file that is ${what} is refused and left alone`, async (t) => {
    const { dataDir } = await createDatabase(t, 'sqlite')
    const file = join(dataDir, 'latchkey.db')
    writeFileSync(file, content)
    const store = openStore(`sqlite:${file}`)
    t.teardown(() => store.close())
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
    await t.rejects(store.users.get('x'), SetupError)
    t.ok(readFileSync(file).equals(content))
    t.strictSame(readdirSync(dataDir), ['latchkey.db'])
  })
}

t.test('F9 a damaged database is refused', async (t) => {
  const { file, store, open } = await migrated(t)
  await store.users.create(newUser(), null)
  await store.close()
  const content = readFileSync(file)
  content.fill(0xff, 100, 4096)
  writeFileSync(file, content)
  const damaged = open()
  await t.rejects(damaged.schema(), SetupError)
  await t.rejects(damaged.users.list({ after: null, limit: 1 }, {}), SetupError)
})

t.test('any path is a path, and not a URI', async (t) => {
  const { dataDir } = await createDatabase(t, 'sqlite')
  const store = openStore(`sqlite:${join(dataDir, 'ä b?mode=ro&x=%41#y.db')}`)
  t.teardown(() => store.close())
  await store.migrate()
  await store.users.create(newUser(), null)
  t.ok(existsSync(join(dataDir, 'ä b?mode=ro&x=%41#y.db')))
})

t.test('a database in memory works and is on no disk', async (t) => {
  const store = openStore('sqlite::memory:')
  t.teardown(() => store.close())
  t.equal(await store.schema(), null)
  await store.migrate()
  const users = Array.from({ length: 20 }, () => newUser())
  await Promise.all(users.map((user) => store.users.create(user, null)))
  t.equal((await store.users.list({ after: null, limit: 100 }, {})).length, 20)
  t.equal(existsSync(':memory:'), false)
})

t.test(
  'F8 while another process has the lock for a second, writes wait, reads go on, and the event loop too',
  async (t) => {
    const { file, store } = await migrated(t)
    const [before, user] = [newUser(), newUser()]
    await store.users.create(before, null)
    const { release } = await lock(t, file)
    const longest = watchEventLoop()
    const write = timed(store.users.create(user, null))
    const reads: number[] = []
    const end = performance.now() + 1000
    while (performance.now() < end) {
      const read = await timed(store.users.get(before.id))
      t.equal(read.result.status, 'fulfilled')
      reads.push(read.took)
      await sleep(20)
    }
    release()
    const { result, took } = await write
    const gap = longest()
    t.equal(result.status, 'fulfilled')
    t.equal((await store.users.get(user.id))?.id, user.id)
    t.ok(took >= 900 && took < 10_000, `the write took ${Math.round(took)} ms`)
    t.ok(Math.max(...reads) < 600, `the slowest read took ${Math.round(Math.max(...reads))} ms`)
    t.ok(gap < 600, `the event loop stood still for at most ${Math.round(gap)} ms`)
  }
)

t.test('F8 while another process has the lock for long, every write is unavailable after two seconds', async (t) => {
  const { file, store } = await migrated(t)
  const { release, process: holder } = await lock(t, file)
  const longest = watchEventLoop()
  const user = newUser()
  const writes = await Promise.all([
    timed(store.users.create(user, null)),
    timed(store.users.create(newUser(), null)),
    timed(store.users.change('x', { fullName: 'x' }, null, 1)),
    timed(sleep(700).then(() => store.users.replaceHash('x', 'y', 'z')))
  ])
  const gap = longest()
  for (const { result, took } of writes) {
    t.match(result.status === 'rejected' ? result.reason : result, UNAVAILABLE)
    t.ok(took > 1500 && took < 10_000, `took ${Math.round(took)} ms`)
  }
  t.ok(gap < 600, `the event loop stood still for at most ${Math.round(gap)} ms`)
  release()
  await once(holder, 'exit')
  await store.users.create(user, null)
  t.equal((await store.users.list({ after: null, limit: 10 }, {})).length, 1)
})

t.test('a process that dies with the lock leaves it', async (t) => {
  const { file, store } = await migrated(t)
  const { process: holder } = await lock(t, file)
  const write = store.users.create(newUser(), null)
  await sleep(100)
  holder.kill('SIGKILL')
  await write
  t.equal((await store.users.list({ after: null, limit: 10 }, {})).length, 1)
})

t.test('a transaction that fails is rolled back, and writes beside and after it are not', async (t) => {
  const { store } = await migrated(t)
  const unknownRole = () => newUser({ roles: ['nobody has it'] })
  await t.rejects(store.users.create(unknownRole(), null))
  await store.users.create(newUser(), null)

  const calls = Array.from({ length: 40 }, (_, index) =>
    store.users.create(index % 2 ? unknownRole() : newUser(), null)
  )
  const results = await Promise.allSettled(calls)
  t.strictSame(
    results.map((result) => result.status),
    Array.from({ length: 40 }, (_, index) => (index % 2 ? 'rejected' : 'fulfilled'))
  )
  t.equal((await store.users.list({ after: null, limit: 100 }, {})).length, 21)
})

t.test('200 concurrent writes all succeed, through one store and through two', async (t) => {
  const { store, open } = await migrated(t)
  const other = open()
  for (const stores of [[store], [store, other]]) {
    const users = Array.from({ length: 200 }, () => newUser())
    const results = await Promise.allSettled(
      users.map((user, index) => (stores[index % stores.length] as Store).users.create(user, null))
    )
    t.strictSame(
      results.filter((result) => result.status === 'rejected').map((result) => result.reason.code),
      []
    )
  }
  t.equal((await other.users.list({ after: null, limit: 1000 }, {})).length, 400)
})

t.test('a reader sees what was written before it asked', async (t) => {
  const { store } = await migrated(t)
  const user = newUser()
  await store.users.create(user, null)
  for (let round = 0; round < 50; round++) {
    await store.users.change(user.id, { fullName: `name ${round}` }, null, round)
    const found = await store.users.get(user.id)
    if (found?.fullName !== `name ${round}`) t.fail(`round ${round} reads ${found?.fullName}`)
  }
  t.equal((await store.users.get(user.id))?.updatedAt, 49)
})
