import { randomUUIDv7 } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { DomainError, SetupError } from '../../src/domain/errors.ts'
import type { NewUser, Store } from '../../src/domain/ports.ts'
import { openStore } from '../../src/store/index.ts'
import { createDatabase } from '../helper.ts'

const UNAVAILABLE = { constructor: DomainError, code: 'unavailable', retryAfter: 1 }

t.jobs = 4 // most of them wait

let names = 0
function newUser(more: Partial<NewUser> = {}): NewUser {
  const name = `user${++names}`
  const user = { id: randomUUIDv7(), username: name, usernameKey: name, passwordHash: 'hash', now: 1 }
  return { ...user, email: null, emailKey: null, fullName: null, roles: [], ...more }
}

function opened(t: Test, url: string): Store {
  const store = openStore(url)
  t.teardown(() => store.close())
  return store
}

async function migrated(
  t: Test
): Promise<{ url: string; store: Store; query: (sql: string) => Promise<pg.QueryResult> }> {
  const { url } = await createDatabase(t, 'postgres')
  const store = opened(t, url)
  await store.migrate()
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  return { url, store, query: (sql) => client.query(sql) }
}

/** A server of TCP on a free port. */
async function listen(t: Test, onConnection: (socket: Socket) => void): Promise<{ server: Server; url: string }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { server, url: `postgres://latchkey:secret@127.0.0.1:${(server.address() as AddressInfo).port}/latchkey` }
}

/** A way to the database that can be frozen: at once, or as soon as a text is sent. */
async function freezable(t: Test, url: string) {
  const { host, hostname, port } = new URL(url)
  let frozen = false
  let freezeAt: string | null = null
  const held: (() => void)[] = []
  const { url: proxy } = await listen(t, (client) => {
    const server = connect(Number(port), hostname)
    server.on('error', () => {})
    const forward = (to: Socket, chunk: Buffer) => {
      if (freezeAt !== null && chunk.includes(freezeAt)) frozen = true
      if (frozen) held.push(() => to.write(chunk))
      else to.write(chunk)
    }
    client.on('data', (chunk) => forward(server, chunk)).on('close', () => server.destroy())
    server.on('data', (chunk) => forward(client, chunk)).on('close', () => client.destroy())
  })
  return {
    url: url.replace(host, new URL(proxy).host),
    freeze: (at?: string) => {
      if (at === undefined) frozen = true
      else freezeAt = at
    },
    thaw: () => {
      frozen = false
      freezeAt = null
      for (const send of held.splice(0)) send()
    }
  }
}

async function timed(work: Promise<unknown>): Promise<{ outcome: unknown; took: number }> {
  const start = performance.now()
  const outcome = await work.then(
    () => 'done',
    (error: DomainError) => error.code ?? error
  )
  return { outcome, took: performance.now() - start }
}

t.test('whole numbers come as numbers, and only in the store’s own connections', async (t) => {
  const { store, query } = await migrated(t)
  const user = newUser({ now: Date.UTC(2026, 0, 1) })
  await store.users.create(user, null)
  await query("update counters set seq = 9007199254740991 where name = 'revocations'")
  t.equal((await store.users.get(user.id))?.createdAt, Date.UTC(2026, 0, 1))
  t.equal(await store.revocations.seq(), Number.MAX_SAFE_INTEGER)
  t.equal((await query('select seq from counters')).rows[0].seq, '9007199254740991')
})

t.test('F11 a server that is not there is unavailable within one and a half seconds', async (t) => {
  const { server, url } = await listen(t, () => {})
  server.close()
  await once(server, 'close')
  const store = opened(t, url)
  const calls = await Promise.all([
    timed(store.schema()),
    timed(store.migrate()),
    timed(store.users.get('x')),
    timed(store.users.create(newUser(), null)),
    timed(store.state({ kid: 'x', jti: 'x', sid: null, sub: 'x', clientId: 'x' }))
  ])
  for (const { outcome, took } of calls) {
    t.equal(outcome, 'unavailable')
    t.ok(took < 5000, `took ${Math.round(took)} ms`)
  }
  await t.rejects(store.users.get('x'), { ...UNAVAILABLE, message: 'The database is not available' })
})

for (const [what, onConnection] of [
  ['accepts and stays silent', () => {}],
  ['accepts and hangs up', (socket: Socket) => void socket.end()],
  ['accepts and resets', (socket: Socket) => void socket.resetAndDestroy()]
] as const) {
  t.test(`a server that ${what} is unavailable within one and a half seconds`, async (t) => {
    const { url } = await listen(t, onConnection)
    const store = opened(t, url)
    for (const { outcome, took } of await Promise.all([timed(store.users.get('x')), timed(store.schema())])) {
      t.equal(outcome, 'unavailable')
      t.ok(took < 5000, `took ${Math.round(took)} ms`)
    }
  })
}

t.test('a database that does not exist, and a refused password, are for the operator to mend', async (t) => {
  const { url } = await createDatabase(t, 'postgres')
  const missing = new URL(url)
  missing.pathname = '/test_none'
  const refused = new URL(url)
  refused.password = 'wrong-password'
  for (const { href } of [missing, refused]) {
    const store = opened(t, href)
    await t.rejects(store.users.get('x'), SetupError)
    await t.rejects(store.migrate(), SetupError)
    const said = await store.users.get('x').then(String, (error: Error) => error.message)
    t.notMatch(said, /wrong-password|postgres:/)
  }
})

t.test(
  'F11 idle connections that are killed cost at most a refusal or two each, and nothing a moment later',
  async (t) => {
    const { store, query } = await migrated(t)
    const user = newUser()
    await store.users.create(user, null)
    const get = async () => (await timed(store.users.get(user.id))).outcome
    for (let round = 0; round < 6; round++) {
      const before = await Promise.all([get(), get(), get(), get()])
      t.strictSame(before, ['done', 'done', 'done', 'done'])
      const { rows: killed } = await query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'latchkey' and datname = current_database()"
      )
      t.ok(killed.length > 0)
      const outcomes = [await get()]
      while (outcomes.length <= 2 * killed.length && outcomes.at(-1) !== 'done') outcomes.push(await get())
      t.equal(outcomes.pop(), 'done')
      t.ok(
        outcomes.every((outcome) => outcome === 'unavailable'),
        `${outcomes.length} refusals`
      )
      await sleep(100)
    }
  }
)

t.test('a connection that is killed in a transaction is unavailable, and nothing of it stays', async (t) => {
  const { store, query } = await migrated(t)
  const [user, next] = [newUser(), newUser()]
  await query('begin')
  await query('lock table credentials in access exclusive mode')
  const create = timed(store.users.create(user, null))
  for (let waiting = 0; waiting === 0; ) {
    const { rows } = await query(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    waiting = rows.length
  }
  t.equal((await create).outcome, 'unavailable')
  await query('rollback')
  t.equal(await store.users.get(user.id), null)
  await store.users.create(next, null)
  t.equal((await store.users.list({ after: null, limit: 10 }, {})).length, 1)
})

t.test('F12 a frozen server is unavailable within three seconds, and served again when it thaws', async (t) => {
  const { url, store: direct } = await migrated(t)
  const way = await freezable(t, url)
  const store = opened(t, way.url)
  const user = newUser()
  await direct.users.create(user, null)
  await Promise.all(Array.from({ length: 5 }, () => store.users.get(user.id)))
  way.freeze()
  const calls = Array.from({ length: 15 }, (_, index) =>
    timed(index % 3 === 0 ? store.users.create(newUser(), null) : store.users.get(user.id))
  )
  for (const { outcome, took } of await Promise.all(calls)) {
    t.equal(outcome, 'unavailable')
    t.ok(took < 12_500, `took ${Math.round(took)} ms`)
  }
  way.thaw()
  await sleep(100)
  t.equal((await timed(store.users.get(user.id))).outcome, 'done')
})

for (const [where, text] of [
  ['at the begin of a transaction', 'begin'],
  ['in a transaction', 'insert into "credentials"'],
  ['at a commit', 'commit']
] as const) {
  t.test(
    `F12 a server that freezes ${where} is unavailable in time, and loses nothing that is acknowledged later`,
    async (t) => {
      const { url, store: direct } = await migrated(t)
      const way = await freezable(t, url)
      const store = opened(t, way.url)
      const [alice, inDoubt] = [newUser(), newUser()]
      await direct.users.create(alice, null)
      await store.users.get(alice.id)
      way.freeze(text)
      const { outcome, took } = await timed(store.users.create(inDoubt, null))
      t.equal(outcome, 'unavailable')
      t.ok(took < 12_500, `took ${Math.round(took)} ms`)
      way.thaw()
      await sleep(50)
      t.equal((await store.users.change(alice.id, { fullName: 'Kept' }, null, 2))?.fullName, 'Kept')
      t.equal((await direct.users.get(alice.id))?.fullName, 'Kept')
      const bob = newUser()
      await store.users.create(bob, null)
      t.equal((await direct.users.get(bob.id))?.id, bob.id)
      const [whole, half] = [await direct.users.credentials(inDoubt.username), await direct.users.get(inDoubt.id)]
      t.strictSame(whole?.user ?? null, half, 'the one in doubt is there whole or not at all')
      if (text !== 'commit') t.equal(half, null)
    }
  )
}

t.test('what another program keeps in another schema of the database does no harm', async (t) => {
  const { url } = await createDatabase(t, 'postgres')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('create schema other')
  for (const name of ['kysely_migration', 'kysely_migration_lock', 'schema_version', 'users'])
    await client.query(`create table other.${name} (id text)`)
  const store = opened(t, url)
  t.equal(await store.schema(), null)
  await store.migrate()
  t.equal((await store.schema())?.version, store.version)
})

t.test('five times as many writes at once as there are connections all succeed', async (t) => {
  const { store } = await migrated(t)
  const results = await Promise.all(Array.from({ length: 50 }, () => timed(store.users.create(newUser(), null))))
  t.strictSame(
    results.filter(({ outcome }) => outcome !== 'done'),
    []
  )
})
