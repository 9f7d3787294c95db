import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, sql } from 'kysely'
import t, { type Test } from 'tap'
import { RequestOver, runInRequest } from '../../src/deadline.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError, SetupError } from '../../src/domain/errors.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { openStore } from '../../src/store/index.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { requestTime } from '../request-time.ts'
import { lock } from './lock.ts'
import { createDirectory } from './open.ts'
import { addSession, addUser, CLIENT, NOW, newUser, notIntrospected, outcomes, ROUNDS, SEED } from './rows.ts'

const UNAVAILABLE = { constructor: DomainError, code: 'unavailable', retryAfter: 1 }

async function openFile(t: Test, file: string): Promise<Store> {
  const store = await openStore(`sqlite:${file}`, { record: () => {} })
  t.teardown(() => store.close())
  return store
}

/** Returns a database that does not exist yet, in directories that do not exist yet. */
function newFile(t: Test): { file: string; open: () => Promise<Store> } {
  const file = join(createDirectory(t), 'deep', 'er', 'latchkey.db')
  return { file, open: () => openFile(t, file) }
}

async function migrated(t: Test): Promise<{ file: string; store: Store; open: () => Promise<Store> }> {
  const { file, open } = newFile(t)
  const store = await open()
  await store.migrate()
  return { file, store, open }
}

const create = (store: Store, user = newUser()) => store.users.create(OPERATOR, user)
const rename = (store: Store, id: string, fullName: string, now = 1) =>
  store.users.change(OPERATOR, { id, changes: { fullName }, now })
const count = async (store: Store) => (await store.users.list({ after: null, limit: 1000 }, {})).length

t.test('the database is readable by its owner only, with any umask [KS3]', async (t) => {
  const { file, open } = newFile(t)
  const umask = process.umask(0)
  try {
    const store = await open()
    await store.migrate()
    await create(store)
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    for (const path of ['', '-wal', '-shm']) t.equal(mode(file + path), '600', path)
    t.equal(mode(dirname(file)), '700')
    t.equal(mode(dirname(dirname(file))), '700')
  } finally {
    process.umask(umask)
  }
})

t.test('the writing connection has a write-ahead log and waits for the disk at each commit [F5]', async (t) => {
  const { file } = await migrated(t)
  const db = new Kysely({ dialect: openSqlite(file).dialect })
  t.teardown(() => db.destroy())
  t.match((await sql`pragma journal_mode`.execute(db)).rows, [{ journal_mode: 'wal' }])
  t.match((await sql`pragma synchronous`.execute(db)).rows, [{ synchronous: 2 }], 'full')
})

t.test('a missing file is an error and is not created; after migrate the same store works [F9]', async (t) => {
  const { file, open } = newFile(t)
  const store = await open()
  t.equal(await store.schema(), null)
  const missing = { constructor: SetupError, message: `the database ${file} does not exist: restore a backup` }
  await t.rejects(store.users.get('x'), missing)
  await t.rejects(create(store), missing)
  await t.rejects(store.setupState(), missing)
  t.equal(existsSync(dirname(file)), false)

  await store.migrate()
  const user = newUser()
  await create(store, user)
  t.equal((await store.users.get(user.id))?.username, user.username)
})

t.test('a directory in place of the file is an error that names the directory and the setting', async (t) => {
  const directory = createDirectory(t)
  await t.rejects((await openFile(t, directory)).schema(), {
    constructor: SetupError,
    message: `the database ${directory} is a directory: set LATCHKEY_DATABASE_URL to a file in it`
  })
})

for (const [name, content] of [
  ['a short text', Buffer.from('hello\n')],
  ['a long text', Buffer.from('no database at all\n'.repeat(1000))],
  ['random bytes', Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 7919) % 251))]
] as const) {
  t.test(`a file with ${name} is refused and left alone [F9]`, async (t) => {
    const directory = createDirectory(t)
    const file = join(directory, 'latchkey.db')
    writeFileSync(file, content)
    const store = await openFile(t, file)
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
    await t.rejects(store.users.get('x'), SetupError)
    t.ok(readFileSync(file).equals(content))
    t.strictSame(readdirSync(directory), ['latchkey.db'])
  })
}

t.test('a damaged database is refused [F9]', async (t) => {
  const { file, store, open } = await migrated(t)
  await create(store)
  await store.close()
  const content = readFileSync(file)
  content.fill(0xff, 100, 4096)
  writeFileSync(file, content)
  const damaged = await open()
  await t.rejects(damaged.schema(), SetupError)
  await t.rejects(damaged.users.list({ after: null, limit: 1 }, {}), SetupError)
})

t.test('any path is read as a path, and not as a URI', async (t) => {
  const file = join(createDirectory(t), 'ä b?mode=ro&x=%41#y.db')
  const store = await openFile(t, file)
  await store.migrate()
  await create(store)
  t.ok(existsSync(file))
})

t.test('a database in memory works and is on no disk', async (t) => {
  const store = await openFile(t, ':memory:')
  t.equal(await store.schema(), null)
  await store.migrate()
  await Promise.all(Array.from({ length: 20 }, () => create(store)))
  t.equal(await count(store), 20)
  t.equal(existsSync(':memory:'), false)
})

t.test('while another process holds the lock, writes wait, and reads and timers go on [F8]', async (t) => {
  const { file, store } = await migrated(t)
  const [before, user] = [newUser(), newUser()]
  await create(store, before)
  const { release } = await lock(t, file)
  let isWritten = false
  const write = create(store, user).then(() => {
    isWritten = true
  })
  for (let round = 0; round < 10; round++) {
    t.equal((await store.users.get(before.id))?.id, before.id)
    await sleep(10)
  }
  t.equal(isWritten, false, 'the write waits')
  release()
  await write
  t.equal((await store.users.get(user.id))?.id, user.id)
})

t.test('a write waits for the lock until the deadline of its request, which ends the request [UA2]', async (t) => {
  const { file, store } = await migrated(t)
  const { release } = await lock(t, file)
  let hasWaited = false
  // Through another store, because the writes of one store wait for each other.
  const patient = create(await openFile(t, file)).finally(() => (hasWaited = true))
  // Two requests: if they ignored their deadlines, their waits of full length, one after the other, would outlast that of `patient`.
  for (let count = 0; count < 2; count++)
    await runInRequest(requestTime(100).time, async () => {
      await Promise.all([t.rejects(create(store)), t.rejects(create(store))])
      await t.rejects(store.users.get('x'), new RequestOver({ callerLeft: false }), 'no step begins after it')
    })
  t.equal(hasWaited, false, 'a write without a request still waits')
  release()
  await patient
})

t.test('a write that waits for the lock for too long is unavailable [F8]', async (t) => {
  const { file, store } = await migrated(t)
  const { release, process: holder } = await lock(t, file)
  const user = newUser()
  let ticks = 0
  const timer = setInterval(() => ticks++, 10)
  // All of these end before the lock is released.
  await Promise.all([
    t.rejects(create(store, user), UNAVAILABLE),
    t.rejects(create(store), UNAVAILABLE),
    t.rejects(rename(store, 'x', 'x'), UNAVAILABLE),
    t.rejects(
      sleep(700).then(() => store.users.replaceHash('x', 'y', 'z')),
      UNAVAILABLE
    )
  ])
  clearInterval(timer)
  t.ok(ticks > 1, 'timers run in the meantime')
  release()
  await once(holder, 'exit')
  await create(store, user)
  t.equal(await count(store), 1)
})

t.test('the lock of a killed process is free', async (t) => {
  const { file, store } = await migrated(t)
  const { process: holder } = await lock(t, file)
  const write = create(store)
  await sleep(100)
  holder.kill('SIGKILL')
  await write
  t.equal(await count(store), 1)
})

t.test('a failed transaction is rolled back, and concurrent and later writes are not', async (t) => {
  const { file, store } = await migrated(t)
  await create(store)
  /** Fails after the insert of the user, at the insert of a password that is no text. */
  const failing = () => create(store, newUser({ passwordHash: {} as never }))
  await t.rejects(failing(), /cannot be bound/)
  await create(store)

  const calls = Array.from({ length: 40 }, (_, index) => (index % 2 ? failing() : create(store)))
  const results = await Promise.allSettled(calls)
  t.strictSame(
    results.map((result) => result.status),
    Array.from({ length: 40 }, (_, index) => (index % 2 ? 'rejected' : 'fulfilled'))
  )
  t.equal(await count(store), 22)
  t.equal(await count(await openFile(t, file)), 22)
})

t.test('no caller can change a result that other callers get too', async (t) => {
  const { store } = await migrated(t)
  await store.setUp(OPERATOR, { seed: SEED, admin: null })
  const alice = await addUser(store)
  const { id } = await addSession(store, alice.id)
  const [client] = await store.clients.credentials([CLIENT.id], NOW)
  const state = await store.state(
    notIntrospected({ kid: 'signing', jti: 'a', sid: id, sub: alice.id, clientId: 'app' })
  )
  const presented = await store.sessions.presented(id, 'first')
  for (const shared of [
    client?.client.scopes,
    client?.registered,
    state.user,
    state.user?.roles,
    presented?.user.roles
  ])
    t.ok(Object.isFrozen(shared))
})

t.test('twenty concurrent writes succeed, through one store and through two', async (t) => {
  const { store, open } = await migrated(t)
  const other = await open()
  for (const stores of [[store], [store, other]]) {
    const calls = Array.from({ length: 20 }, (_, index) => create(stores[index % stores.length] as Store))
    t.strictSame(await outcomes(calls), { done: 20 })
  }
  t.equal(await count(other), 40)
})

t.test('a read sees every write that ended before it', async (t) => {
  const { store } = await migrated(t)
  const user = newUser()
  await create(store, user)
  for (let round = 0; round < ROUNDS; round++) {
    await rename(store, user.id, `name ${round}`, round)
    const read = await store.users.get(user.id)
    if (read?.fullName !== `name ${round}`) t.fail(`round ${round} reads ${read?.fullName}`)
  }
  t.equal((await store.users.get(user.id))?.updatedAt, ROUNDS - 1)
})
