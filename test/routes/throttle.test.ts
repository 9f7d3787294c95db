import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { prepare, unshownPassword } from '../../src/first-start.ts'
import { build, createDatabase, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

// The limits themselves are tested in test/domain/guesses.test.ts.

const DAY = 86_400
const WRONG = 'not the pass phrase'
const HOME = '198.51.100.7'
const ATTACKER = '203.0.113.7'
const REFUSED = [400, { error: 'invalid_grant', error_description: 'Incorrect username or password' }, undefined]
const WRONG_CURRENT = [
  400,
  { type: 'about:blank', title: 'Bad Request', status: 400, detail: 'The current password is wrong' },
  undefined
]
const throttled = (seconds: number) => [
  429,
  { error: 'temporarily_unavailable', error_description: 'Too many failed attempts' },
  String(seconds)
]
const THROTTLED_CHANGE = [
  429,
  { type: 'about:blank', title: 'Too Many Requests', status: 429, detail: 'Too many failed attempts' },
  '1'
]

type Response = Awaited<ReturnType<TestApp['token']>>
const answer = (response: Response) => [response.statusCode, response.json(), response.headers['retry-after']]

/** Sends a login from an address. */
const login = (
  { app }: TestApp,
  from: string,
  {
    username = 'alice',
    password = WRONG,
    headers = {}
  }: { username?: string; password?: string; headers?: Record<string, string> } = {}
) =>
  app.inject({
    method: 'POST',
    url: '/token',
    remoteAddress: from,
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams({ grant_type: 'password', username, password }).toString()
  })
const right = { password: PASSWORD }

interface Throttled extends TestApp {
  /** Counts the verifications of passwords. */
  verified: () => number
}

/** Builds an app that limits guesses. */
async function open(
  t: Test,
  options: { at?: { url: string; dataDir: string }; env?: Record<string, string>; clock?: TestApp['clock'] } = {}
): Promise<Throttled> {
  const { env = {}, at = await createDatabase(t, 'sqlite', 'ready'), ...rest } = options
  const app = await build(t, { at, env: { LATCHKEY_THROTTLE: 'true', ...env }, logger: false, ...rest })
  const { hasher } = app.app
  const { verify } = hasher
  let verified = 0
  hasher.verify = async (...args) => {
    const isRight = await verify(...args)
    verified++
    return isRight
  }
  return { ...app, verified: () => verified }
}

const rowsOf = async (app: TestApp) =>
  (await sql<{ key: string }>(app, 'select key from guesses order by key')).map(({ key }) => key.split(' ')[0])

t.test('a throttled login is 429 with the seconds to wait, for known and unknown users alike [BF1 BF5]', async (t) => {
  const app = await open(t)
  for (const username of ['alice', 'admin', 'nobody', 'no body']) {
    for (let i = 0; i < 5; i++) t.strictSame(answer(await login(app, ATTACKER, { username })), REFUSED)
    const response = await login(app, ATTACKER, { username, ...right })
    t.strictSame(answer(response), throttled(1), username)
    t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
    t.equal(response.headers['cache-control'], 'no-store')
  }
  app.clock.advance(1)
  t.strictSame(answer(await login(app, ATTACKER)), REFUSED)
  t.strictSame(answer(await login(app, ATTACKER, right)), throttled(2))
  app.clock.advance(2)
  t.equal((await login(app, ATTACKER, right)).statusCode, 200)
})

t.test('logins and password changes share their counters [BF4 BF5]', async (t) => {
  const app = await open(t)
  const token = await app.login('alice')
  const changePassword = (from: string, current = WRONG) =>
    app.app.inject({
      method: 'POST',
      url: '/users/me/password',
      remoteAddress: from,
      headers: { authorization: `Bearer ${token}` },
      payload: { current_password: current, new_password: 'a new and long pass phrase' }
    })
  for (let i = 0; i < 3; i++) t.strictSame(answer(await login(app, ATTACKER)), REFUSED)
  for (let i = 0; i < 2; i++) t.strictSame(answer(await changePassword(ATTACKER)), WRONG_CURRENT)
  const hashes = t.capture(app.app.hasher, 'hash', app.app.hasher.hash)
  const before = app.verified()
  for (const current of [WRONG, PASSWORD]) {
    const response = await changePassword(ATTACKER, current)
    t.strictSame(answer(response), THROTTLED_CHANGE)
    t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
    t.equal(response.headers['cache-control'], 'no-store')
  }
  t.strictSame(answer(await login(app, ATTACKER, right)), throttled(1))
  t.strictSame([app.verified() - before, hashes().length], [0, 0], 'a throttled request costs no hash')
  t.equal((await changePassword(HOME, PASSWORD)).statusCode, 204)
  t.equal(hashes().length, 1)
})

onEachDatabase(t, 'of 200 parallel guesses on two instances at most 10 are verified [BF2]', async (t, database) => {
  const at = await createDatabase(t, database, 'ready')
  const apps = [await open(t, { at }), await open(t, { at })] as const
  const guesses = Array.from({ length: 200 }, (_, index) =>
    login(apps[index % 2] as Throttled, ATTACKER, { password: index === 100 ? PASSWORD : `guess ${index}` })
  )
  const victim = login(apps[1], HOME, right)
  const counts: Record<number, number> = {}
  for (const { statusCode } of await Promise.all(guesses)) counts[statusCode] = (counts[statusCode] ?? 0) + 1
  t.equal((await victim).statusCode, 200, 'the user logs in meanwhile')
  const verified = apps[0].verified() + apps[1].verified() - 1
  t.ok(verified <= 10, `${verified} were verified`)
  // A busy machine refuses some guesses with 503.
  const { 400: refused = 0, 429: waits = 0, 503: busy = 0, ...others } = counts
  t.strictSame([others, refused + waits + busy], [{}, 200])
  t.ok(refused <= verified, 'only a guess that was verified is refused as wrong')
})

t.test('instances share their counters [BF5]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const one = await open(t, { at })
  const two = await open(t, { at, clock: one.clock })
  for (let i = 0; i < 5; i++) t.strictSame(answer(await login(i % 2 ? one : two, ATTACKER)), REFUSED)
  for (const app of [one, two]) t.strictSame(answer(await login(app, ATTACKER)), throttled(1))
  one.clock.advance(1)
  t.equal((await login(one, ATTACKER, right)).statusCode, 200)
  t.strictSame(answer(await login(two, ATTACKER)), REFUSED)
})

t.test('X-Forwarded-For counts only if a trusted proxy wrote it [BF4]', async (t) => {
  const from = async (app: Throttled, peer: string, forwarded: string) =>
    answer(await login(app, peer, { headers: { 'x-forwarded-for': forwarded } }))

  const direct = await open(t)
  for (let i = 0; i < 5; i++) t.strictSame(await from(direct, ATTACKER, `10.0.${i}.1`), REFUSED)
  t.strictSame(await from(direct, ATTACKER, '10.0.9.1'), throttled(1), 'no proxy is trusted')

  const proxied = await open(t, { env: { LATCHKEY_TRUSTED_PROXIES: '192.0.2.0/24' } })
  for (let i = 0; i < 5; i++) t.strictSame(await from(proxied, ATTACKER, `10.0.${i}.1`), REFUSED)
  t.strictSame(await from(proxied, ATTACKER, '10.0.9.1'), throttled(1), 'the peer is no trusted proxy')
  for (let i = 0; i < 5; i++) t.strictSame(await from(proxied, `192.0.2.${i}`, `10.0.${i}.1, 198.51.100.${i}`), REFUSED)
  t.strictSame(await from(proxied, '192.0.2.1', '10.0.9.1, 198.51.100.9, 192.0.2.9'), throttled(1), 'the same client')
  t.strictSame(await from(proxied, '192.0.2.1', '198.51.101.9'), REFUSED, 'another client')
  for (let i = 0; i < 4; i++)
    t.strictSame(await from(proxied, '192.0.2.1', `198.51.101.9:${5000 + i}`), REFUSED, 'with a port')
  t.strictSame(await from(proxied, '192.0.2.1', '198.51.101.9:6000'), throttled(1))
  for (const text of ['1:2:3:4:5:6:7:8:9', 'unknown', '_x', 'y'.repeat(500), '::1::'])
    t.strictSame(await from(proxied, '192.0.2.1', text), REFUSED, text.slice(0, 20))
  t.strictSame(
    await from(proxied, '192.0.2.1', 'z'),
    throttled(1),
    'every text that is not an address counts as the same network'
  )
})

t.test('spaces around the username of a request are removed, for logins and new names', async (t) => {
  const app = await open(t)
  for (const username of [' alice', 'alice ', '\u3000alice\u00a0', '\talice\n'])
    t.equal((await login(app, HOME, { username, ...right })).statusCode, 200, JSON.stringify(username))
  t.strictSame(answer(await login(app, HOME, { username: ' ', ...right })), [
    400,
    { error: 'invalid_request', error_description: 'The parameter username is missing' },
    undefined
  ])
  const token = await app.login('admin', 'users:read users:write')
  const created = await app.send(token, 'POST', '/users', { username: ' zoe ', password: 'a long and new phrase' })
  t.match([created.statusCode, created.json()], [201, { username: 'zoe' }])
  const url = `/users/${created.json().id}`
  t.match((await app.send(token, 'PATCH', url, { username: 'zoey ' })).json(), { username: 'zoey' })
  t.equal((await app.send(token, 'PATCH', url, { username: 'zo ey' })).statusCode, 400, 'inside of a name')
  t.equal(
    (await app.send(token, 'POST', '/users', { username: '  ', password: 'a long and new phrase' })).statusCode,
    400
  )
})

t.test('the stored counts are bounded, expire, and show no name [BF5]', async (t) => {
  const app = await open(t)
  t.strictSame(await rowsOf(app), [])
  await login(app, HOME, right)
  t.strictSame(await rowsOf(app), ['known'])
  await login(app, HOME)
  t.strictSame(await rowsOf(app), ['account', 'known', 'network', 'pair'])
  await login(app, HOME, right)
  t.strictSame(await rowsOf(app), ['known', 'network'])

  for (let i = 0; i < 5; i++) await login(app, ATTACKER, { username: 'Typed-Secret', password: 'typed as a password' })
  await login(app, ATTACKER, { username: 'typed-secret', password: 'typed as a password' })
  t.notMatch(JSON.stringify(await sql(app, 'select * from guesses')), /secret|alice/i)
  t.strictSame(await rowsOf(app), ['account', 'known', 'network', 'network', 'pair'])

  app.clock.advance(90 * DAY + 60)
  await app.app.auth.removeExpired()
  t.strictSame(await rowsOf(app), [])
})

t.test('a request that fails before its password is verified is not counted', async (t) => {
  const app = await open(t)
  const form = { grant_type: 'password', username: 'alice', password: WRONG }
  for (const more of [{ client_id: 'nobody' }, { password: 'x'.repeat(1025) }, { username: '' }])
    for (let i = 0; i < 6; i++) await app.token({ ...form, ...more })
  const { users } = app.app.store
  const { credentials } = users
  users.credentials = async () => {
    throw new Error('broken')
  }
  for (let i = 0; i < 6; i++) t.equal((await login(app, ATTACKER)).statusCode, 500)
  users.credentials = credentials
  t.strictSame(await rowsOf(app), [])
})

t.test('an outdated generated password is not counted as a guess, at any number of starts [UA6]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  writeFileSync(join(at.dataDir, 'admin-password'), 'the generated password that is no longer valid\n', { mode: 0o600 })
  const app = await build(t, { at, env: { LATCHKEY_THROTTLE: 'true' } })
  const config = loadConfig(app.env)
  for (let start = 0; start < 12; start++) {
    await prepare(app.app, config)
    t.equal(await unshownPassword(app.app, config), null)
  }
  t.strictSame(await rowsOf(app), [], 'nothing was counted')
  t.equal((await app.token({ grant_type: 'password', username: 'admin', password: PASSWORD })).statusCode, 200)
})

t.test('LATCHKEY_THROTTLE=false limits nothing, and the log warns of it', async (t) => {
  const lines: string[] = []
  const at = await createDatabase(t, 'sqlite', 'ready')
  const logger = { level: 'warn', stream: { write: (line: string) => lines.push(line) } }
  const off = await build(t, { at, logger })
  t.strictSame(
    lines.map((line) => [JSON.parse(line).level, JSON.parse(line).msg]),
    [[40, 'LATCHKEY_THROTTLE is false: password guessing is not limited']]
  )
  for (let i = 0; i < 12; i++) t.strictSame(answer(await login(off, ATTACKER)), REFUSED)
  t.equal((await login(off, ATTACKER, right)).statusCode, 200)
  lines.length = 0
  const on = await build(t, { at, logger, env: { LATCHKEY_THROTTLE: 'true' } })
  t.strictSame(lines, [])
  for (let i = 0; i < 6; i++) await login(on, ATTACKER)
  t.strictSame(
    lines.map((line) => JSON.parse(line).msg),
    [...Array(5).fill('login.failed'), 'login.throttled']
  )
  const last = lines.at(-1) as string
  t.match(JSON.parse(last), { level: 40, caller: { address: ATTACKER } })
  t.notMatch(last, /not the pass/)
})
