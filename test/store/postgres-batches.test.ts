import { randomUUIDv7 } from 'node:crypto'
import { connect } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { RequestOver, runInRequest } from '../../src/deadline.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { LiveState } from '../../src/domain/ports/revocations.ts'
import { build, PASSWORD } from '../helper.ts'
import { requestTime } from '../request-time.ts'
import { createDatabase, createDirectory, open } from './open.ts'
import { eachMessage } from './pooler.ts'
import { listen } from './proxy.ts'
import { addSession, addUser, CLIENT, KEYS, NOW, notIntrospected, sessionOf } from './rows.ts'

/** Starts a proxy to a new database that counts round trips, and those of them that begin while no other is under way. */
async function startCounted(t: Test) {
  const direct = await createDatabase(t, 'postgres')
  const { host, hostname, port } = new URL(direct)
  let [count, waits, open] = [0, 0, 0]
  const proxy = await listen(t, (client) => {
    const server = connect(Number(port), hostname)
    server.on('error', () => {}).on('close', () => client.destroy())
    client.pipe(server).pipe(client)
    // The server responds to each Sync and to each simple query.
    eachMessage(client, false, (_bytes, type) => {
      if (!['S', 'Q'].includes(type)) return
      count++
      if (open++ === 0) waits++
    })
    eachMessage(server, true, (_bytes, type) => type === 'Z' && open > 0 && open--)
  })
  return {
    url: direct.replace(host, new URL(proxy.url).host),
    async roundTrips(work: () => Promise<unknown>): Promise<number> {
      count = 0
      await work()
      return count
    },
    async waits(work: () => Promise<unknown>): Promise<number> {
      waits = 0
      await work()
      return waits
    }
  }
}

async function openCounted(t: Test) {
  const { url, roundTrips } = await startCounted(t)
  const opened = await open(t, 'postgres', url)
  await opened.store.migrate()
  await opened.seed()
  return { ...opened, roundTrips }
}

t.jobs = 3 // some tests wait

const stateOf = (sub: string, sid: string | null = null) =>
  notIntrospected({ kid: KEYS.signing.kid, jti: randomUUIDv7(), sid, sub, clientId: CLIENT.id })

t.test('a token check is one round trip to PostgreSQL', async (t) => {
  const { url, roundTrips } = await startCounted(t)
  const { get, token } = await build(t, { at: { url, dataDir: createDirectory(t) }, logger: false })
  const form = { grant_type: 'password', username: 'admin', password: PASSWORD, scope: 'profile', client_id: 'docs' }
  const { access_token: access } = (await token(form)).json()
  const counts: number[] = []
  for (let round = 0; round < 5; round++)
    counts.push(await roundTrips(async () => t.equal((await get('/users/me', access)).statusCode, 200)))
  // A task that runs at intervals can add one.
  t.equal(Math.min(...counts), 1)
})

t.test('a refresh waits twice for PostgreSQL: for the reads, and for the renewal', async (t) => {
  const { url, waits } = await startCounted(t)
  const { token } = await build(t, { at: { url, dataDir: createDirectory(t) }, logger: false })
  const form = { grant_type: 'password', username: 'admin', password: PASSWORD, scope: 'profile', client_id: 'docs' }
  let { refresh_token: current } = (await token(form)).json()
  const counts: number[] = []
  for (let round = 0; round < 5; round++)
    counts.push(
      await waits(async () => {
        const response = await token({ grant_type: 'refresh_token', refresh_token: current, client_id: 'docs' })
        t.equal(response.statusCode, 200)
        current = response.json().refresh_token
      })
    )
  // A task that runs at intervals can add one.
  t.equal(Math.min(...counts), 2)
})

t.test('reads of the same moment are one round trip, and each gets its own result', async (t) => {
  const { store, roundTrips } = await openCounted(t)
  const [alice, bob] = [await addUser(store), await addUser(store, { roles: [] })]
  const sessions = [await addSession(store, alice.id), await addSession(store, alice.id)]
  const tokens = [
    ...sessions.map(({ id }) => stateOf(alice.id, id)),
    stateOf(bob.id),
    stateOf('none'),
    { ...stateOf(bob.id), clientId: 'none', kid: 'none' },
    ...Array.from({ length: 91 }, () => stateOf(bob.id))
  ]
  const alone: LiveState[] = []
  for (const token of tokens) alone.push(await store.state(token))
  const all = async () => t.strictSame(await Promise.all(tokens.map((token) => store.state(token))), alone)
  t.equal(await roundTrips(all), 1)
})

t.test('equal reads of the same moment share a result, and at most 100 reads are together', async (t) => {
  const { store, roundTrips } = await openCounted(t)
  const read = () => store.clients.credentials([CLIENT.id, 'bare'], NOW)
  const found = await read()
  t.equal(found.length, 2)
  const all = async () => t.strictSame(await Promise.all(Array.from({ length: 150 }, read)), Array(150).fill(found))
  t.equal(await roundTrips(all), 2)
})

t.test('reads of the same moment that differ in one value only get their own results', async (t) => {
  const { store } = await openCounted(t)
  const [alice, bob] = [await addUser(store), await addUser(store)]
  const of = (sub: string) => ({ ...stateOf(sub), jti: 'the same' })
  const states = await Promise.all([alice, bob].map(({ id }) => store.state(of(id))))
  t.strictSame(
    states.map(({ user }) => user?.id),
    [alice.id, bob.id]
  )
  const clients = await Promise.all(['bare', 'off'].map((other) => store.clients.credentials([CLIENT.id, other], NOW)))
  t.strictSame(
    clients.map((found) => found[1]?.client.id),
    ['bare', 'off']
  )
})

t.test('a value that PostgreSQL refuses does not refuse the reads of the same moment', async (t) => {
  const { store } = await openCounted(t)
  const ids = [CLIENT.id, 'a\0', 'bare']
  const results = await Promise.allSettled(ids.map((id) => store.clients.credentials([id], NOW)))
  t.strictSame(
    results.map((result) => (result.status === 'fulfilled' ? result.value[0]?.client.id : result.reason.code)),
    [CLIENT.id, '22021', 'bare']
  )
})

t.test('a read ends at the deadline of its own request, and the reads of the same moment continue [F14]', async (t) => {
  const { store, hold } = await openCounted(t)
  const { id } = await addUser(store)
  const commit = await hold(t, 'lock table users in access exclusive mode')
  const over = runInRequest(requestTime(50).time, () => store.state(stateOf(id)))
  const other = store.state(stateOf(id))
  await t.rejects(over, new RequestOver({ callerLeft: false }))
  await commit()
  t.equal((await other).user?.id, id)
})

t.test(
  'a read that waits for more than a second while the reads before it have no result is refused [F12]',
  async (t) => {
    const { store, hold } = await openCounted(t)
    const { id } = await addUser(store)
    await hold(t, 'lock table users in access exclusive mode')
    const read = () => store.state(stateOf(id)).catch(({ code, cause }) => `${code}: ${cause.message}`)
    const before = [read()]
    await setImmediate()
    before.push(read())
    await setImmediate()
    t.equal(await read(), 'unavailable: all connections are in use')
    t.strictSame(await Promise.all(before), Array(2).fill('unavailable: Query read timeout'))
  }
)

t.test('renewals of the same moment are one round trip, and each gets its own result', async (t) => {
  const { store, sql, roundTrips } = await openCounted(t)
  const alice = await addUser(store)
  const rotate = (id: string, { counter = 0, client = CLIENT } = {}) =>
    store.sessions.rotate(OPERATOR, { id, client, counter, leeway: 10_000, now: NOW + 5 })
  const add = () => addSession(store, alice.id)
  const many = await Promise.all(Array.from({ length: 16 }, add))
  const all = () => Promise.all(many.map(({ id }) => rotate(id)))
  t.equal(await roundTrips(async () => t.strictSame(await all(), Array(16).fill('rotated'))), 1)
  for (const session of many.slice(0, 2))
    t.strictSame(await sessionOf(store, session.id), {
      ...session,
      counter: 1,
      endedAt: null,
      lastUsedAt: NOW + 5,
      idleExpiresAt: NOW + 5 + 3_600_000
    })

  const [twice, ended, other, later, last] = [await add(), await add(), await add(), await add(), await add()]
  const idle = await addSession(store, alice.id, { idleExpiresAt: NOW + 5 })
  const short = await addSession(store, alice.id, { expiresAt: NOW + 10_000 })
  // The end of a session also ends its idle time, so this statement shows that each of the two is enough.
  await sql(`update sessions set ended_at = ${NOW} where id = '${ended.id}'`)
  const results = await Promise.all([
    rotate(twice.id),
    rotate(twice.id),
    rotate(ended.id),
    rotate(other.id, { client: { ...CLIENT, id: 'off' } }),
    rotate(short.id),
    rotate(later.id, { counter: 1 }),
    rotate(randomUUIDv7()),
    rotate(idle.id),
    rotate(last.id)
  ])
  t.strictSame(results.slice(0, 2).toSorted(), ['retried', 'rotated'])
  t.strictSame(results.slice(2), ['unknown', 'unknown', 'rotated', 'unknown', 'unknown', 'unknown', 'rotated'])
  t.equal((await sessionOf(store, short.id))?.idleExpiresAt, NOW + 10_000)
  t.equal((await sessionOf(store, other.id))?.counter, 0)
})

t.test('a renewal that waits for a lock keeps no other renewal waiting', async (t) => {
  const { store, hold } = await openCounted(t)
  const alice = await addUser(store)
  const sessions = await Promise.all(Array.from({ length: 5 }, () => addSession(store, alice.id)))
  const commit = await hold(t, `select * from sessions where id = '${sessions[2]?.id}' for update`)
  const ended: number[] = []
  const renewals = sessions.map(async ({ id }, index) => {
    const result = await store.sessions.rotate(OPERATOR, { id, client: CLIENT, counter: 0, leeway: 0, now: NOW })
    ended.push(index)
    return result
  })
  await Promise.all(renewals.filter((_, index) => index !== 2))
  t.strictSame(ended.toSorted(), [0, 1, 3, 4])
  await commit()
  t.strictSame(await Promise.all(renewals), Array(5).fill('rotated'))
})

t.test('a renewal whose request ended while it waited for two batches does not run [RF6]', async (t) => {
  const { store, hold } = await openCounted(t)
  const alice = await addUser(store)
  const sessions = await Promise.all(Array.from({ length: 6 }, () => addSession(store, alice.id)))
  const rotate = ({ id }: { id: string }) =>
    store.sessions.rotate(OPERATOR, { id, client: CLIENT, counter: 0, leeway: 0, now: NOW })
  const commit = await hold(t, 'lock table sessions in access exclusive mode')
  const running = sessions.slice(0, 2).map(rotate)
  await setImmediate()
  running.push(...sessions.slice(2, 4).map(rotate))
  await setImmediate()
  const late = sessions.slice(4)
  for (const result of await Promise.allSettled(runInRequest(requestTime(50).time, () => late.map(rotate))))
    t.match(result, { reason: new RequestOver({ callerLeft: false }) })
  await commit()
  t.strictSame(await Promise.all(running), Array(4).fill('rotated'))
  for (const { id } of late) t.equal((await sessionOf(store, id))?.counter, 0)
})

t.test('a renewal that waits for a lock ends at the deadline of its own request [RF6]', async (t) => {
  const { store, hold, sql } = await openCounted(t)
  const alice = await addUser(store)
  const [locked, free] = [await addSession(store, alice.id), await addSession(store, alice.id)]
  const rotate = ({ id }: { id: string }) =>
    store.sessions.rotate(OPERATOR, { id, client: CLIENT, counter: 0, leeway: 0, now: NOW })
  const commit = await hold(t, `select * from sessions where id = '${locked.id}' for update`)
  const renewals = runInRequest(requestTime(100).time, () => ({ over: rotate(locked), other: rotate(free) }))
  await t.rejects(renewals.over, new RequestOver({ callerLeft: false }))
  t.equal(await renewals.other, 'rotated')
  // The server has got the request to cancel long before the limit for a statement, 1.8 s.
  const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  for (let round = 0; round < 20 && (await sql(waits)).length > 0; round++) await sleep(50)
  await commit()
  t.equal(await rotate(locked), 'rotated', 'the refused renewal has not used the counter')
})
