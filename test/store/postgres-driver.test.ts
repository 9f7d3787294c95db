import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { RequestOver, runInRequest } from '../../src/deadline.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError, SetupError } from '../../src/domain/errors.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { openStore } from '../../src/store/index.ts'
import { requestTime } from '../request-time.ts'
import { createDatabase } from './open.ts'
import { freezable, listen } from './proxy.ts'
import { newUser, notIntrospected, outcomes } from './rows.ts'

const UNAVAILABLE = { constructor: DomainError, code: 'unavailable', retryAfter: 1 }
const NO_STATE = notIntrospected({ kid: 'x', jti: 'x', sid: null, sub: 'x', clientId: 'x' })

t.jobs = 4 // most tests wait

async function openUrl(t: Test, url: string): Promise<Store> {
  const store = await openStore(url, { record: () => {} })
  t.teardown(() => store.close())
  return store
}

async function connect(t: Test, url: string): Promise<(sql: string) => Promise<pg.QueryResult>> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  return (sql) => client.query(sql)
}

async function migratedDatabase(t: Test): Promise<string> {
  const url = await createDatabase(t, 'postgres')
  const store = await openUrl(t, url)
  await store.migrate()
  return url
}

/** A database for all tests that neither kill connections nor keep locks. */
const shared = await migratedDatabase(t)

const create = (store: Store, user = newUser()) => store.users.create(OPERATOR, user)
const isThere = async (store: Store, id: string) => (await store.users.get(id)) !== null

t.test('integers are read as numbers, in the connections of the store only', async (t) => {
  const [store, query] = [await openUrl(t, shared), await connect(t, shared)]
  const user = newUser({ now: Date.UTC(2026, 0, 1) })
  await create(store, user)
  await query("update counters set seq = 9007199254740991 where name = 'revocations'")
  t.equal((await store.users.get(user.id))?.createdAt, Date.UTC(2026, 0, 1))
  t.equal(await store.revocations.seq(), Number.MAX_SAFE_INTEGER)
  t.equal((await query('select seq from counters')).rows[0].seq, '9007199254740991')
})

t.test('a server that is not there is unavailable [F11]', async (t) => {
  const { server, url } = await listen(t, () => {})
  server.close()
  await once(server, 'close')
  const store = await openUrl(t, url)
  const calls = [store.schema(), store.migrate(), store.users.get('x'), create(store), store.state(NO_STATE)]
  t.strictSame(await outcomes(calls), { unavailable: 5 })
  await t.rejects(store.users.get('x'), { ...UNAVAILABLE, message: 'The database is not available' })
})

for (const [behaviour, onConnection] of [
  ['accepts and sends nothing', () => {}],
  ['accepts and closes', (socket: Socket) => void socket.end()],
  ['accepts and resets', (socket: Socket) => void socket.resetAndDestroy()]
] as const) {
  t.test(`a server that ${behaviour} is unavailable`, async (t) => {
    const { url } = await listen(t, onConnection)
    const store = await openUrl(t, url)
    t.strictSame(await outcomes([store.users.get('x'), store.schema()]), { unavailable: 2 })
  })
}

t.test('a missing database and a refused password are errors of the setup', async (t) => {
  const [missing, refused] = [new URL(shared), new URL(shared)]
  missing.pathname = '/test_none'
  refused.password = 'wrong-password'
  for (const { href } of [missing, refused]) {
    const store = await openUrl(t, href)
    await t.rejects(store.users.get('x'), SetupError)
    await t.rejects(store.migrate(), SetupError)
    const message = await store.users.get('x').then(String, (error: Error) => error.message)
    t.notMatch(message, /wrong-password|postgres:/)
  }
})

t.test('killed idle connections cost at most two refusals each, and none a moment later [F11]', async (t) => {
  const url = await migratedDatabase(t)
  const [store, query] = [await openUrl(t, url), await connect(t, url)]
  const user = newUser()
  await create(store, user)
  const get = async () => Object.keys(await outcomes([store.users.get(user.id)]))[0]
  for (let round = 0; round < 3; round++) {
    t.strictSame(await Promise.all([get(), get(), get(), get()]), ['done', 'done', 'done', 'done'])
    const { rows: killed } = await query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'latchkey' and datname = current_database()"
    )
    t.ok(killed.length > 0)
    const results = [await get()]
    while (results.length <= 2 * killed.length && results.at(-1) !== 'done') results.push(await get())
    t.equal(results.pop(), 'done')
    t.ok(
      results.every((result) => result === 'unavailable'),
      `${results.length} refusals`
    )
    await sleep(100)
  }
})

t.test('a connection that is killed in a transaction is unavailable, and the transaction is rolled back', async (t) => {
  const url = await migratedDatabase(t)
  const [store, lock, kill] = [await openUrl(t, url), await connect(t, url), await connect(t, url)]
  const user = newUser()
  await lock('begin')
  await lock('lock table credentials in access exclusive mode')
  const created = outcomes([create(store, user)])
  for (let killed = 0; killed === 0; ) {
    const { rows } = await kill(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    killed = rows.length
  }
  t.strictSame(await created, { unavailable: 1 })
  await lock('rollback')
  t.equal(await isThere(store, user.id), false)
  await create(store)
  t.equal((await store.users.list({ after: null, limit: 10 }, {})).length, 1)
})

t.test('a frozen server is unavailable, and works again when it answers [F12]', async (t) => {
  const url = await migratedDatabase(t)
  const [direct, proxy] = [await openUrl(t, url), await freezable(t, url)]
  const store = await openUrl(t, proxy.url)
  const user = newUser()
  await create(direct, user)
  await Promise.all(Array.from({ length: 5 }, () => store.users.get(user.id)))
  proxy.freeze()
  const calls = Array.from({ length: 15 }, (_, index) => (index % 3 === 0 ? create(store) : store.users.get(user.id)))
  // All of these end before the server answers.
  t.strictSame(await outcomes(calls as Promise<unknown>[]), { unavailable: 15 })
  proxy.thaw()
  await sleep(100)
  t.equal(await isThere(store, user.id), true)
})

for (const [place, text] of [
  ['at the begin of a transaction', 'begin'],
  ['in a transaction', 'insert into "credentials"'],
  ['at a commit', 'commit']
] as const) {
  t.test(`a server that freezes ${place} is unavailable, and loses no later write [F12]`, async (t) => {
    const url = await migratedDatabase(t)
    const [direct, proxy] = [await openUrl(t, url), await freezable(t, url)]
    const store = await openUrl(t, proxy.url)
    const [alice, inDoubt, bob] = [newUser(), newUser(), newUser()]
    await create(direct, alice)
    await store.users.get(alice.id)
    proxy.freeze(text)
    t.strictSame(await outcomes([create(store, inDoubt)]), { unavailable: 1 })
    proxy.thaw()
    await sleep(50)
    const change = { id: alice.id, changes: { fullName: 'Kept' }, now: 2 }
    t.equal((await store.users.change(OPERATOR, change))?.fullName, 'Kept')
    t.equal((await direct.users.get(alice.id))?.fullName, 'Kept')
    await create(store, bob)
    t.equal(await isThere(direct, bob.id), true)
    const credentials = await direct.users.credentials(inDoubt.usernameKey)
    t.strictSame(credentials?.user ?? null, await direct.users.get(inDoubt.id), 'stored completely or not at all')
    if (text !== 'commit') t.equal(credentials, null)
  })
}

t.test('a frozen server and a pool in use end a request at its deadline [UA2 F14]', async (t) => {
  const url = await migratedDatabase(t)
  const [proxy, query] = [await freezable(t, url), await connect(t, url)]
  const [store, busy] = [await openUrl(t, proxy.url), await openUrl(t, url)]
  const over = new RequestOver({ callerLeft: false })
  await Promise.all([1, 2, 3].map(() => store.users.get('x')))
  proxy.freeze()
  let hasWaited = false
  const patient = outcomes([store.users.get('x')]).finally(() => (hasWaited = true))
  await runInRequest(requestTime(200).time, async () => {
    await t.rejects(store.users.get('x'))
    await t.rejects(store.users.get('x'), over, 'no step begins after the deadline')
  })
  t.equal(hasWaited, false, 'a query without a request still waits')
  proxy.thaw()
  await patient

  await query('begin')
  await query('lock table users in access exclusive mode')
  const users = outcomes(Array.from({ length: 10 }, () => busy.users.get('x')))
  const waiting = "select 1 from pg_locks where relation = 'users'::regclass and not granted"
  while ((await query(waiting)).rowCount !== 10) await sleep(1)
  await runInRequest(requestTime(100).time, () => t.rejects(busy.keys.find('x'), over, 'no connection is free'))
  await query('rollback')
  t.strictSame(await users, { done: 10 })
  t.equal(await busy.keys.find('x'), null, 'a connection that came too late is given back')
})

t.test('tables of another program in another schema of the database do not matter', async (t) => {
  const url = await createDatabase(t, 'postgres')
  const query = await connect(t, url)
  await query('create schema other')
  for (const name of ['kysely_migration', 'kysely_migration_lock', 'schema_version', 'users'])
    await query(`create table other.${name} (id text)`)
  const store = await openUrl(t, url)
  t.equal(await store.schema(), null)
  await store.migrate()
  t.equal((await store.schema())?.version, store.version)
})

t.test('concurrent writes wait for a connection when all ten are in use', async (t) => {
  const store = await openUrl(t, shared)
  await Promise.all(Array.from({ length: 10 }, () => store.users.get('x')))
  t.strictSame(await outcomes(Array.from({ length: 14 }, () => create(store))), { done: 14 })
})

t.test('transactions are read committed, also in a database with another default', async (t) => {
  const url = await migratedDatabase(t)
  const sql = await connect(t, url)
  await sql(`alter database ${new URL(url).pathname.slice(1)} set default_transaction_isolation = 'serializable'`)
  const store = await openUrl(t, url)
  const count = () =>
    store.guesses.count(['x'], (counts) => ({
      next: [{ key: 'x', count: (counts.get('x')?.count ?? 0) + 1, lastAt: 1, expiresAt: 2 }],
      result: undefined
    }))
  await count()
  await Promise.all(Array.from({ length: 8 }, count))
  t.equal((await store.guesses.read(['x'])).get('x')?.count, 9)
})

t.test('a database with another encoding than UTF-8 is an error of the setup that says what to do', async (t) => {
  const sql = await connect(t, await createDatabase(t, 'postgres'))
  for (const encoding of ['LATIN1', 'SQL_ASCII']) {
    const url = new URL(await createDatabase(t, 'postgres'))
    const name = url.pathname.slice(1)
    await sql(`drop database ${name}`)
    await sql(`create database ${name} encoding '${encoding}' locale 'C' template template0`)
    await t.rejects((await openUrl(t, url.href)).migrate(), {
      constructor: SetupError,
      message: `the database has the encoding ${encoding}: create it with "encoding 'UTF8' template template0"`
    })
  }
})

t.test('a column that another instance adds disturbs no statement whose plan the server keeps', async (t) => {
  const url = await migratedDatabase(t)
  const [store, query] = [await openUrl(t, url), await connect(t, url)]
  const read = () => outcomes(Array.from({ length: 10 }, () => store.keys.signing()))
  await read()
  await query('alter table signing_keys add column later text')
  t.strictSame(await read(), { done: 10 })
})
