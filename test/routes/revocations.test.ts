import { Agent, get as httpGet, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { runInRequest } from '../../src/deadline.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import type { RevocationKind } from '../../src/domain/model.ts'
import { build, createDatabase, PASSWORD } from '../helper.ts'
import { problem } from '../http.ts'
import { requestTime } from '../request-time.ts'
import { sql } from '../sql.ts'
import { counted, fill, open, READER, reader, tokens, WAIT, waitingASecond, withoutWaiting } from './log-reader.ts'

/** The soak waits longer than the default timeouts of Node.js. */
const LONG_WAIT = process.env.LATCHKEY_ROUNDS === undefined ? null : 20

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const FORBIDDEN = [403, problem(403, 'The token lacks the scope revocations:read')]
const INVALID_TOKEN = [401, problem(401, 'Could not validate credentials')]

t.test('a client reads the entries after a number, and the ends of the log', async (t) => {
  const { ask, read, revoke } = await open(t)
  t.strictSame(await read(), [200, { entries: [], next: 0, seq: 0, oldest: 0 }])
  for (const id of ['a', 'b', 'c']) await revoke(id)
  const all = tokens([1, 'a'], [2, 'b'], [3, 'c'])
  for (const query of ['', '?after=0', '?after=0&wait=30'])
    t.strictSame(await read(query), [200, { entries: all, next: 3, seq: 3, oldest: 0 }], query)
  t.strictSame(await read('?after=1'), [200, { entries: all.slice(1), next: 3, seq: 3, oldest: 0 }])
  t.strictSame(await read('?after=3&wait=0'), [200, { entries: [], next: 3, seq: 3, oldest: 0 }])
  const { headers } = await ask('?after=3')
  t.strictSame([headers['cache-control'], headers['content-type']], ['no-store', 'application/json; charset=utf-8'])
})

t.test('an entry of each kind names tokens by one of their claims', async (t) => {
  const { app, read, token, inject, createUser } = await open(t)
  const claims = (jwt: string) => JSON.parse(Buffer.from(jwt.split('.')[1] as string, 'base64url').toString())
  const enter = async () => (await token({ grant_type: 'password', username: 'alice', password: PASSWORD })).json()
  const revoke = (jwt: string) => inject({ method: 'POST', url: '/revoke', headers: FORM, payload: `token=${jwt}` })
  const [one, two] = [await enter(), await enter()]
  await revoke(one.access_token)
  await revoke(two.refresh_token)
  const kid = (await app.auth.keys.page({ after: null, limit: 10 })).items.find(({ state }) => state === 'next')?.kid
  await app.auth.keys.retire(OPERATOR, kid as string, { compromised: true })
  const bob = await createUser('bob')
  await app.auth.users.change(OPERATOR, bob, { disabled: true })
  await app.auth.clients.create(OPERATOR, { id: 'worker', name: 'A worker' })
  await app.auth.clients.change(OPERATOR, 'worker', { disabled: true })
  await app.auth.roles.create(OPERATOR, { name: 'clerk', description: '', scopes: ['profile'] })
  await app.auth.roles.change(OPERATOR, 'clerk', { scopes: [] })
  const expected: [RevocationKind, string][] = [
    ['token', claims(one.access_token).jti],
    ['session', claims(two.access_token).sid],
    ['key', kid as string],
    ['user', bob],
    ['client', 'worker'],
    ['role', 'clerk']
  ]
  const entries = expected.map(([kind, id], index) => ({
    seq: index + 1,
    kind,
    expires_in: kind === 'token' ? 360 : 3660,
    id
  }))
  t.strictSame(await read(), [200, { entries, next: 6, seq: 6, oldest: 0 }])
})

t.test('a page has at most 1,000 entries, and the next one begins after its last', async (t) => {
  const world = await open(t)
  await fill(world, 2005)
  const seen: number[] = []
  const sizes: number[] = []
  let after = 0
  do {
    const { entries, next, seq, oldest } = (await world.ask(`?after=${after}&wait=30`)).json()
    t.strictSame([next, seq, oldest], [after + entries.length, 2005, 0])
    sizes.push(entries.length)
    seen.push(...entries.map((entry: { seq: number }) => entry.seq))
    after = next
  } while (after < 2005)
  t.strictSame(sizes, [1000, 1000, 5])
  t.strictSame(
    seen,
    Array.from({ length: 2005 }, (_, index) => index + 1)
  )
})

t.test('a number before or beyond the log returns the whole log without waiting', async (t) => {
  const world = await open(t)
  for (const id of ['a', 'b', 'c', 'd']) await world.revoke(id)
  await sql(world, 'delete from revocations where seq in (1, 3)')
  const [all, ends] = [tokens([2, 'b'], [4, 'd']), { next: 4, seq: 4, oldest: 1 }]
  for (const after of [0, 1, 5, 2_000_000_000, 5_000_000_000, 999_999_999_999_999]) {
    const answer = await withoutWaiting(world.read(`?after=${after}&wait=${WAIT}`))
    t.strictSame(answer, [200, { entries: all, ...ends }], `after ${after}`)
  }
  t.strictSame(await world.read('?after=2&wait=30'), [200, { entries: all.slice(1), ...ends }])
  await sql(world, 'delete from revocations')
  for (const after of [0, 3, 5])
    t.strictSame(await world.read(`?after=${after}`), [200, { entries: [], next: 4, seq: 4, oldest: 4 }])
})

t.test('an invalid query is 400 with its place', async (t) => {
  const { ask } = await open(t)
  for (const [query, pointer] of [
    ['after=-1', '/query/after'],
    ['after=x', '/query/after'],
    ['after=', '/query/after'],
    ['after=1.5', '/query/after'],
    ['after=1e3', '/query/after'],
    ['after=0x1', '/query/after'],
    ['after=%201', '/query/after'],
    ['after=9999999999999999', '/query/after'],
    [`after=${'9'.repeat(400)}`, '/query/after'],
    ['after=1&after=2', '/query/after'],
    ['wait=31', '/query/wait'],
    ['wait=-1', '/query/wait'],
    ['wait=0.5', '/query/wait'],
    ['wait=Infinity', '/query/wait'],
    ['since=1', '/query/since']
  ] as const) {
    const response = await ask(`?${query}`)
    t.equal(response.statusCode, 400, query)
    t.equal(response.json().errors[0].pointer, pointer, query)
  }
})

t.test('only a client with the scope may read the log, with its own token', async (t) => {
  const world = await open(t, { scopes: ['revocations:read', 'users:read'] })
  const { app, get, token, login, secret, inject, newToken } = world
  const outcome = async (bearer: string) => {
    const response = await get('/revocations', bearer)
    return [response.statusCode, response.json()]
  }
  t.equal((await inject({ url: '/revocations' })).statusCode, 401)
  const own = { grant_type: 'client_credentials', client_id: READER.id, client_secret: secret }
  const narrow = (await token({ ...own, scope: 'users:read' })).json().access_token
  const response = await get('/revocations', narrow)
  t.strictSame([response.statusCode, response.json()], FORBIDDEN, 'without the scope')
  t.equal(
    response.headers['www-authenticate'],
    'Bearer realm="latchkey", error="insufficient_scope", error_description="The token lacks the scope revocations:read", scope="revocations:read"'
  )
  t.strictSame(await outcome(await login('admin')), FORBIDDEN, 'a user')

  const first = await newToken()
  t.equal((await outcome(first))[0], 200)
  await app.auth.clients.change(OPERATOR, READER.id, { scopes: ['profile'] })
  t.strictSame(await outcome(first), INVALID_TOKEN, 'a client that lost the scope')
  await app.auth.clients.change(OPERATOR, READER.id, { scopes: ['revocations:read'] })
  const next = await newToken()
  t.equal((await outcome(next))[0], 200)
  await app.auth.clients.change(OPERATOR, READER.id, { disabled: true })
  t.strictSame(await outcome(next), INVALID_TOKEN, 'a disabled client')
})

t.test('the token of a user never has the scope, with any role and client', async (t) => {
  const { app, send, login, token } = await open(t)
  const refused = problem(400, 'The scope revocations:read is for clients only')
  const admin = await login('admin', 'roles:write')
  const role = { name: 'reader', description: '', scopes: ['revocations:read'] }
  t.strictSame((await send(admin, 'POST', '/roles', role)).json(), refused)
  t.strictSame((await send(admin, 'PATCH', '/roles/user', { scopes: ['revocations:read', 'profile'] })).json(), refused)
  const invalid = { code: 'invalid', message: refused.detail }
  await t.rejects(app.auth.roles.create(OPERATOR, role), invalid, 'not even the operator may give it to a role')
  await t.rejects(app.auth.roles.change(OPERATOR, 'user', role), invalid)

  const shop = { id: 'shop', name: 'Shop', grantTypes: ['password'], firstParty: true }
  const { secret } = await app.auth.clients.create(OPERATOR, { ...shop, scopes: ['profile', 'revocations:read'] })
  const form = { grant_type: 'password', username: 'admin', password: PASSWORD, client_id: 'shop' }
  const enter = (scope: string) => token({ ...form, client_secret: secret as string, scope })
  t.equal((await enter('profile revocations:read')).json().scope, 'profile')
  t.equal((await enter('revocations:read')).json().error, 'invalid_scope')
})

t.test('a waiting request returns what another instance revokes', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const one = await open(t, { at })
  const two = reader(await build(t, { at }), one.secret)
  await two.read()
  for (const [id, after] of [
    ['a', 0],
    ['b', 1],
    ['c', 2]
  ] as const) {
    const waiting = withoutWaiting(two.read(`?after=${after}&wait=${WAIT}`))
    await sleep(150)
    await one.revoke(id)
    t.strictSame(await waiting, [200, { entries: tokens([after + 1, id]), next: after + 1, seq: after + 1, oldest: 0 }])
  }
})

t.test('a request without new entries returns none when its wait is over', async (t) => {
  const { read, revoke } = await open(t)
  await revoke('a')
  t.strictSame(await waitingASecond(read('?after=1&wait=1')), [200, { entries: [], next: 1, seq: 1, oldest: 0 }])
})

t.test('all waiting requests share one look at the log, and there is none without them', async (t) => {
  const { app, read, revoke } = await open(t)
  await revoke('a')
  await read()
  const calls = counted(app)
  const waiting = Promise.all(Array.from({ length: 50 }, () => read('?after=1&wait=20')))
  await sleep(300)
  t.ok(calls.seq > 0 && calls.seq < 50, `${calls.seq} looks`)
  t.equal(calls.since, 50)
  await revoke('b')
  const answers = await waiting
  t.strictSame(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1)
  t.strictSame(answers[0], [200, { entries: tokens([2, 'b']), next: 2, seq: 2, oldest: 0 }])
  t.equal(calls.since, 51, 'one query for all requests')
  const { seq } = calls
  await sleep(300)
  t.equal(calls.seq, seq)
})

t.test('a waiting request is 503 when the database fails', async (t) => {
  const { app, read, revoke } = await open(t, { logger: false })
  await read()
  const waiting = [read('?wait=20'), read('?wait=20')]
  await sleep(100)
  const { seq } = app.store.revocations
  const away = new DomainError('unavailable', 'The database is not available', { retryAfter: 1 })
  Object.assign(app.store.revocations, { seq: () => Promise.reject(away) })
  const refused = [503, problem(503, 'The database is not available')]
  t.strictSame(await Promise.all(waiting), [refused, refused])
  Object.assign(app.store.revocations, { seq })
  const next = read('?wait=20')
  await revoke('a')
  t.equal((await next)[0], 200, 'after the failure')
})

/** Sends a request over a connection that stays open, and returns when the request waits. */
async function overSocket({ app, newToken }: Awaited<ReturnType<typeof open>>, query: string) {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  const headers = { authorization: `Bearer ${await newToken()}` }
  const request = httpGet({ host: '127.0.0.1', port, path: `/revocations${query}`, agent, headers })
  const answered = new Promise<[number | undefined, string | undefined, object]>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', async (response: IncomingMessage) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve([response.statusCode, response.headers.connection, JSON.parse(text)])
    })
  })
  answered.catch(() => {})
  await sleep(300)
  return { answered, request }
}

const NOTHING = { entries: [], next: 0, seq: 0, oldest: 0 }

t.test('a drain answers all waiting requests, closes their connections, and makes no request wait', async (t) => {
  const world = await open(t)
  const { answered } = await overSocket(world, `?wait=${WAIT}`)
  const draining = world.app.drain()
  t.strictSame(await withoutWaiting(answered), [200, 'close', NOTHING])
  t.strictSame(await withoutWaiting(world.read(`?wait=${WAIT}`)), [200, NOTHING])
  await draining
  await world.app.close()
})

t.test('a close answers all waiting requests', async (t) => {
  const world = await open(t)
  const { answered } = await overSocket(world, `?wait=${WAIT}`)
  await withoutWaiting(world.app.close())
  t.strictSame(await answered, [200, 'close', NOTHING])
})

t.test('no look is made for a client that closed its connection', async (t) => {
  const world = await open(t)
  const calls = counted(world.app)
  const { request } = await overSocket(world, '?wait=30')
  t.ok(calls.seq > 0)
  request.destroy()
  await sleep(300)
  const { seq } = calls
  await sleep(300)
  t.equal(calls.seq, seq)
})

t.test('a wait may last longer than the socket timeout of the server', async (t) => {
  const world = await open(t)
  if (LONG_WAIT === null) world.app.server.setTimeout(200)
  const wait = LONG_WAIT ?? 1
  const start = performance.now()
  const { answered } = await overSocket(world, `?wait=${wait}`)
  t.strictSame(await answered, [200, 'keep-alive', NOTHING])
  t.ok(performance.now() - start > wait * 1000)
})

t.test('HEAD waits like GET and has no body', async (t) => {
  const { app, newToken } = await open(t)
  const headers = { authorization: `Bearer ${await newToken()}` }
  const response = await waitingASecond(app.inject({ method: 'HEAD', url: '/revocations?wait=1', headers }))
  t.strictSame([response.statusCode, response.body, response.headers['cache-control']], [200, '', 'no-store'])
})

t.test('all readers of the log wait beyond the deadline of their requests [UA2]', async (t) => {
  const { app, revoke } = await open(t)
  const { time } = requestTime()
  const read = (wait: number) =>
    runInRequest(time, () =>
      app.auth.revocationLog.read({ clientId: READER.id, after: 0, wait, audiences: null, signal: time.signal })
    )
  const readers = [read(WAIT), read(1)]
  await sleep(200)
  time.endsAt = 0
  t.strictSame((await readers[1])?.entries, [], 'at the end of its wait')
  await revoke('late')
  t.match((await readers[0])?.entries, [{ id: 'late' }])
})
