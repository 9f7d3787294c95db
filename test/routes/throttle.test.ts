import argon2 from 'argon2'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { build, createDatabase, type Database, databases, onOneDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const DAY = 86_400
const WRONG = 'not the pass phrase'
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
const throttledProblem = (seconds: number) => [
  429,
  { type: 'about:blank', title: 'Too Many Requests', status: 429, detail: 'Too many failed attempts' },
  String(seconds)
]
const unavailable = [503, { error: 'temporarily_unavailable', error_description: 'Too many logins at once' }, '2']

type Response = Awaited<ReturnType<TestApp['token']>>
const answer = (response: Response) => [response.statusCode, response.json(), response.headers['retry-after']]
const statusesOf = (responses: Response[]) => {
  const counts: Record<number, number> = {}
  for (const { statusCode } of responses) counts[statusCode] = (counts[statusCode] ?? 0) + 1
  return counts
}

/** An address in another /24 each time. */
let networks = 0
const anew = () => `10.${++networks >> 8}.${networks & 255}.1`

const HOME = '198.51.100.7'
const ATTACKER = '203.0.113.7'

/** A login that fails unless it is told otherwise. */
const guess = (
  { app }: Pick<TestApp, 'app'>,
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

const changePassword = ({ app }: TestApp, from: string, token: string, current = WRONG) =>
  app.inject({
    method: 'POST',
    url: '/users/me/password',
    remoteAddress: from,
    headers: { authorization: `Bearer ${token}` },
    payload: { current_password: current, new_password: 'a new and long pass phrase' }
  })

interface Throttled extends TestApp {
  /** How many passwords were verified. */
  verified: () => number
}

/** An app that limits guesses; its hashes cost nothing unless they shall be real. */
async function open(
  t: Test,
  {
    at,
    database = 'sqlite',
    hashes = 'quick',
    env = {},
    ...rest
  }: {
    at?: { url: string; dataDir: string }
    database?: Database
    hashes?: 'quick' | 'real'
    env?: Record<string, string>
    clock?: TestApp['clock']
  } = {}
): Promise<Throttled> {
  at ??= await createDatabase(t, database, 'ready')
  const app = await build(t, { at, env: { LATCHKEY_THROTTLE: 'on', ...env }, logger: false, ...rest })
  const { hasher } = app.app
  let verified = 0
  const { verify } = hasher
  const quick = (password: string) => `quick ${[...password].reverse().join('')}`
  Object.assign(hasher, {
    verify: async (hash: string | null, password: string) => {
      verified++
      if (hashes === 'real') return verify(hash, password)
      return hash?.startsWith('quick ') ? hash === quick(password) : hash !== null && password === PASSWORD
    },
    ...(hashes === 'real' ? {} : { hash: async (password: string) => quick(password), outdated: () => false })
  })
  return { ...app, clock: rest.clock ?? app.clock, verified: () => verified }
}

/** So many failures, five from each network. */
async function fail(app: Throttled, times: number, username = 'alice') {
  const responses: Response[] = []
  while (responses.length < times) {
    const from = anew()
    for (let i = 0; i < 5 && responses.length < times; i++) responses.push(await guess(app, from, { username }))
  }
  t.strictSame(statusesOf(responses), { 400: times })
}

const rowsOf = async (app: TestApp) =>
  (await sql<{ key: string }>(app, 'select key from guesses order by key')).map(({ key }) => key.split(' ')[0])

t.test('whoever is meant, known or not, the answers are the same at the same points [BF1]', async (t) => {
  const app = await open(t)
  await app.createUser('bob')
  await sql(app, "update users set disabled_at = 1 where username_key = 'bob'")
  await app.createUser('carol')
  t.equal((await guess(app, HOME, { username: 'carol', ...right })).statusCode, 200)

  const { count } = app.app.store.guesses
  let counted = 0
  app.app.store.guesses.count = (...args) => {
    counted++
    return count(...args)
  }
  const waits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]
  // After 10 failures of the account the next ones are also slowed.
  const slowed = [0, 0, 0, 0, 0, 250, 500, 1000, 2000, 2000]
  const expected = [
    ...new Array(5).fill([REFUSED, 2, 1, 0]),
    ...waits.flatMap((wait, index) => [
      [throttled(wait), 0, 0, 0],
      ...(wait === 1 ? [] : [[throttled(1), 0, 0, 0]]),
      ...(index < slowed.length ? [[REFUSED, 2, 1, slowed[index]]] : [])
    ])
  ]
  const users: [what: string, username: string, password?: string][] = [
    ['an admin', 'admin'],
    ['a user', 'alice'],
    ['a user who has logged in elsewhere', 'carol'],
    ['disabled', 'bob'],
    ['disabled, the right password', 'bob', PASSWORD],
    ['unknown', 'nobody'],
    ['no name', 'no body'],
    ['a long text', 'x'.repeat(5000)]
  ]
  for (const [what, username, password = WRONG] of users) {
    const from = anew()
    const seen: unknown[] = []
    const attempt = async () => {
      const before = [counted, app.verified(), app.clock.slept] as const
      const response = await guess(app, from, { username, password })
      seen.push([answer(response), counted - before[0], app.verified() - before[1], app.clock.slept - before[2]])
    }
    for (let i = 0; i < 5; i++) await attempt()
    for (const wait of waits) {
      await attempt()
      app.clock.advance(wait - 1)
      if (wait > 1) await attempt()
      app.clock.advance(1)
      if (wait < 900) await attempt()
    }
    t.strictSame(seen, expected, what)
    t.strictSame(answer(await guess(app, from, { username, password })), REFUSED, 'after 15 minutes all begins anew')
    await sql(app, "delete from guesses where key like 'account %'")
  }
})

t.test('a refused try is not counted, even if it has the right password [BF1]', async (t) => {
  const app = await open(t)
  for (let i = 0; i < 5; i++) await guess(app, ATTACKER)
  for (let i = 0; i < 110; i++) t.strictSame(answer(await guess(app, ATTACKER, right)), throttled(1))
  t.equal(app.verified(), 5)
  app.clock.advance(1)
  t.equal((await guess(app, ATTACKER, right)).statusCode, 200)
  for (let i = 0; i < 5; i++) t.strictSame(answer(await guess(app, ATTACKER)), REFUSED, 'a success has forgiven all')
  t.strictSame(answer(await guess(app, ATTACKER)), throttled(1))
})

t.test('failures are forgotten 15 minutes after the last one [BF1]', async (t) => {
  const app = await open(t)
  for (let i = 0; i < 4; i++) await guess(app, ATTACKER)
  app.clock.advance(899)
  t.strictSame(answer(await guess(app, ATTACKER)), REFUSED)
  t.strictSame(answer(await guess(app, ATTACKER)), throttled(1))
  app.clock.advance(899)
  t.strictSame(answer(await guess(app, ATTACKER)), REFUSED)
  t.strictSame(answer(await guess(app, ATTACKER)), throttled(2))
  app.clock.advance(900)
  for (let i = 0; i < 5; i++) t.strictSame(answer(await guess(app, ATTACKER)), REFUSED)
  t.strictSame(answer(await guess(app, ATTACKER)), throttled(1))
})

for (const [name, database, instances] of [
  ['one instance, sqlite', 'sqlite', 1],
  ['one instance, postgres', 'postgres', 1],
  ['two instances, postgres', 'postgres', 2],
  ['two instances, sqlite', 'sqlite', 2]
] as const) {
  if (!databases.includes(database)) continue
  t.test(`of 200 parallel guesses at most 10 are verified, the victim gets in meanwhile (${name}) [BF2]`, async (t) => {
    const at = await createDatabase(t, database, 'ready')
    const apps = await Promise.all(Array.from({ length: instances }, () => open(t, { at, hashes: 'real' })))
    const app = (index: number) => apps[index % instances] as Throttled
    const verifications = t.capture(argon2, 'verify', argon2.verify)
    const guesses = Array.from({ length: 200 }, (_, index) =>
      guess(app(index), ATTACKER, { password: index === 100 ? PASSWORD : `guess ${index}` })
    )
    const victim = guess(app(1), HOME, right)
    const responses = await Promise.all(guesses)
    t.equal((await victim).statusCode, 200)
    const { length } = verifications()
    t.ok(length <= 11, `${length - 1} were verified`)
    t.equal(length, app(0).verified() + (instances > 1 ? app(1).verified() : 0))
    // A busy machine refuses some guesses with 503, before they are counted.
    const { 429: throttledOnes = 0, 503: busyOnes = 0, ...others } = statusesOf(responses)
    t.strictSame([others, throttledOnes + busyOnes], [{ 400: length - 1 }, 201 - length])
  })
}

onOneDatabase(t, 'guesses at every user from one network: 100 are verified [BF2]', async (t, database) => {
  const app = await open(t, { database })
  const responses: Response[] = []
  for (let round = 0; round < 4; round++) {
    const batch = Array.from({ length: 50 }, (_, index) => guess(app, ATTACKER, { username: `user${round}-${index}` }))
    responses.push(...(await Promise.all(batch)))
  }
  t.strictSame(statusesOf(responses), { 400: 100, 429: 100 })
  t.equal(app.verified(), 100)
})

for (const database of databases) {
  t.test(`a burst of right logins is no guessing (${database}) [BF2]`, async (t) => {
    const app = await open(t, { database, hashes: 'real' })
    const burst = () => Promise.all(Array.from({ length: 20 }, () => guess(app, HOME, right)))
    t.strictSame(statusesOf(await burst()), { 200: 20 })
    for (let i = 0; i < 4; i++) await guess(app, HOME)
    t.strictSame(statusesOf(await burst()), { 200: 20 })
    t.strictSame(await rowsOf(app), ['known', 'network'])
  })
}

t.test('attackers in many networks do not keep the victim out [BF3]', async (t) => {
  const app = await open(t)
  t.equal((await guess(app, HOME, right)).statusCode, 200)
  await fail(app, 99)
  const slept = () => app.clock.slept
  const before = slept()
  t.equal((await guess(app, anew(), right)).statusCode, 200, 'a new network gets in')
  t.equal(slept() - before, 2000, 'a little later')

  await fail(app, 99)
  const since = slept()
  t.strictSame(answer(await guess(app, HOME)), REFUSED)
  t.equal((await guess(app, HOME.replace(/\d+$/, '200'), right)).statusCode, 200, 'a known network gets in')
  t.equal(slept(), since, 'at once')
  t.equal((await guess(app, anew(), right)).statusCode, 200)
  t.equal(slept(), since, 'and then others do, too')
})

t.test('the account alone slows down, more and more, and forgets it after 15 minutes [BF3]', async (t) => {
  const app = await open(t)
  for (const username of ['alice', 'nobody']) {
    const delays: number[] = []
    for (let i = 0; i < 16; i++) {
      const before = app.clock.slept
      t.strictSame(answer(await guess(app, anew(), { username })), REFUSED)
      delays.push(app.clock.slept - before)
    }
    t.strictSame(delays, [...new Array(10).fill(0), 250, 500, 1000, 2000, 2000, 2000], username)
    const before = app.clock.slept
    app.clock.advance(900)
    await guess(app, anew(), { username })
    t.equal(app.clock.slept, before)
    await guess(app, anew(), { username })
    t.equal(app.clock.slept, before + 2000)
  }
})

/** 100 failures in a row, after a login from `HOME`. */
async function lock(app: Throttled, username = 'alice') {
  t.equal((await guess(app, HOME, { username, ...right })).statusCode, 200)
  await fail(app, 100, username)
}

onOneDatabase(
  t,
  'after 100 failures in a row only networks of former logins get in; others see a wrong password [PW1 PW2 BF3]',
  async (t, database) => {
    const app = await open(t, { database })
    await lock(app)
    for (const password of [PASSWORD, WRONG]) {
      const before = app.verified()
      t.strictSame(answer(await guess(app, anew(), { password })), REFUSED)
      t.equal(app.verified() - before, 1)
    }
    app.clock.advance(29 * DAY)
    t.strictSame(answer(await guess(app, anew(), right)), REFUSED, 'and so it stays')
    app.clock.advance(29 * DAY)
    const slept = app.clock.slept
    t.equal((await guess(app, HOME, right)).statusCode, 200, 'known for 90 days')
    t.equal(app.clock.slept, slept)
    t.equal((await guess(app, anew(), right)).statusCode, 200, 'they were in a row no more')

    await fail(app, 100)
    app.clock.advance(91 * DAY)
    t.equal((await guess(app, anew(), right)).statusCode, 200, 'all is forgotten after 30 days')
  }
)

t.test('a network is known for 90 days after its last login [BF3]', async (t) => {
  const app = await open(t)
  await guess(app, HOME, right)
  app.clock.advance(60 * DAY)
  await guess(app, HOME, right)
  app.clock.advance(89 * DAY)
  await fail(app, 100)
  t.equal((await guess(app, HOME, right)).statusCode, 200)
  app.clock.advance(90 * DAY)
  await fail(app, 100)
  t.strictSame(answer(await guess(app, HOME, right)), REFUSED)
})

t.test('a locked account gets unlocked by its operator [BF3]', async (t) => {
  const app = await open(t)
  const id = await app.createUser('victor')
  const admin = await app.login('admin', 'users:write')
  const edit = (payload: object) =>
    app.inject({ method: 'PATCH', url: `/users/${id}`, headers: { authorization: `Bearer ${admin}` }, payload })
  const login = async (password = PASSWORD) => (await guess(app, anew(), { username: 'VICTOR', password })).statusCode

  await lock(app, 'victor')
  t.equal((await edit({ full_name: 'Victor' })).statusCode, 200)
  t.equal(await login(), 400, 'another change does nothing')
  t.equal((await edit({ disabled: true })).statusCode, 200)
  t.equal(await login(), 400)
  t.equal((await edit({ disabled: false })).statusCode, 200)
  t.equal(await login(), 200, 'enabled')

  await lock(app, 'victor')
  await app.app.auth.users.setPassword(OPERATOR, { id, password: 'a pass phrase from the operator' })
  t.equal(await login(), 400)
  t.equal(await login('a pass phrase from the operator'), 200, 'given a new password')

  await fail(app, 100, 'wanda')
  await app.createUser('wanda')
  t.equal((await guess(app, anew(), { username: 'wanda', ...right })).statusCode, 200, 'created after the guesses')
})

t.test('the ways to write a name share their counters [BF4]', async (t) => {
  const app = await open(t)
  await app.createUser('Zoë')
  const groups = [
    ['Zoë', 'zoë', 'ZOË', 'ZOË'.normalize('NFD'), 'ｚｏë'],
    ['nobodyë', 'NOBODYË', 'nobodyë'.normalize('NFD'), 'ｎobodyë', 'NoBoDyË'],
    ['no bodyë', 'NO BODYË', 'no bodyë'.normalize('NFD'), 'ｎo bodyë', 'No BoDyË'],
    ['x'.repeat(600), 'X'.repeat(600), 'x'.repeat(65), 'x'.repeat(900), 'ｘ'.repeat(80)]
  ]
  for (const names of groups) {
    for (const username of names) t.strictSame(answer(await guess(app, ATTACKER, { username })), REFUSED, username)
    for (const username of names) t.strictSame(answer(await guess(app, ATTACKER, { username })), throttled(1), username)
  }
  t.strictSame(answer(await guess(app, ATTACKER, { username: 'zoe' })), REFUSED)
})

t.test('the addresses of one network share their counters, others do not [BF4]', async (t) => {
  const app = await open(t)
  const groups = [
    ['203.0.113.0', '203.0.113.255', '::ffff:203.0.113.7', '203.0.113.1', '::FFFF:203.0.113.9'],
    ['203.0.114.0', '203.0.114.255', '203.0.114.1', '203.0.114.2', '203.0.114.3'],
    ['2001:db8:1::1', '2001:db8:1:ffff::', '2001:db8:1:2ab:1:2:3:4', '2001:0db8:1:200::2', '2001:db8:1:200::3'],
    ['2001:db8:2::1', '2001:db8:2:3ff::', '2001:db8:2:300::2', '2001:db8:2:300::3', '2001:db8:2:300::4']
  ]
  for (const addresses of groups) {
    for (const from of addresses) t.strictSame(answer(await guess(app, from)), REFUSED, from)
    for (const from of addresses) t.strictSame(answer(await guess(app, from)), throttled(1), from)
  }
})

t.test('X-Forwarded-For counts only what trusted proxies wrote [BF4]', async (t) => {
  const from = (app: Throttled, peer: string, forwarded: string) =>
    guess(app, peer, { headers: { 'x-forwarded-for': forwarded } })

  const direct = await open(t)
  for (let i = 0; i < 5; i++) t.strictSame(answer(await from(direct, ATTACKER, `10.0.${i}.1`)), REFUSED)
  t.strictSame(answer(await from(direct, ATTACKER, '10.0.9.1')), throttled(1), 'there is no proxy')

  const proxied = await open(t, { env: { LATCHKEY_TRUSTED_PROXIES: '192.0.2.0/24' } })
  for (let i = 0; i < 5; i++) t.strictSame(answer(await from(proxied, ATTACKER, `10.0.${i}.1`)), REFUSED)
  t.strictSame(answer(await from(proxied, ATTACKER, '10.0.9.1')), throttled(1), 'this is no proxy')
  for (let i = 0; i < 5; i++)
    t.strictSame(answer(await from(proxied, `192.0.2.${i}`, `10.0.${i}.1, 198.51.100.${i}`)), REFUSED)
  t.strictSame(answer(await from(proxied, '192.0.2.1', '10.0.9.1, 198.51.100.9, 192.0.2.9')), throttled(1), 'a client')
  t.strictSame(answer(await from(proxied, '192.0.2.1', '198.51.101.9')), REFUSED, 'another client')
  for (let i = 0; i < 4; i++)
    t.strictSame(answer(await from(proxied, '192.0.2.1', `198.51.101.9:${5000 + i}`)), REFUSED, 'with its port')
  t.strictSame(answer(await from(proxied, '192.0.2.1', '198.51.101.9:6000')), throttled(1))
  const nonsense = ['1:2:3:4:5:6:7:8:9', 'unknown', '_x', 'y'.repeat(9000), '::1::']
  for (const text of nonsense) t.strictSame(answer(await from(proxied, '192.0.2.1', text)), REFUSED, text.slice(0, 20))
  t.strictSame(answer(await from(proxied, '192.0.2.1', 'z')), throttled(1), 'what is no address is one network')
})

t.test('logins and password changes share their counters [BF4 BF5]', async (t) => {
  const app = await open(t)
  const token = await app.login('alice')
  for (let i = 0; i < 3; i++) t.strictSame(answer(await guess(app, ATTACKER)), REFUSED)
  for (let i = 0; i < 2; i++) t.strictSame(answer(await changePassword(app, ATTACKER, token)), WRONG_CURRENT)
  const before = app.verified()
  const { hash } = app.app.hasher
  let hashed = 0
  app.app.hasher.hash = (password) => {
    hashed++
    return hash(password)
  }
  for (const current of [WRONG, PASSWORD]) {
    const response = await changePassword(app, ATTACKER, token, current)
    t.strictSame(answer(response), throttledProblem(1))
    t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
    t.equal(response.headers['cache-control'], 'no-store')
  }
  const response = await guess(app, ATTACKER, right)
  t.strictSame(answer(response), throttled(1))
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(response.headers['cache-control'], 'no-store')
  t.strictSame([app.verified() - before, hashed], [0, 0], 'what is refused costs no hash')
  t.equal((await changePassword(app, HOME, token, PASSWORD)).statusCode, 204)
  t.equal(hashed, 1)
})

t.test('a locked account changes its password only from a network of a former login [BF3]', async (t) => {
  const app = await open(t)
  await lock(app)
  const token = (await guess(app, HOME, right)).json().access_token
  await fail(app, 100)
  const before = app.verified()
  t.strictSame(answer(await changePassword(app, anew(), token, PASSWORD)), WRONG_CURRENT)
  t.equal(app.verified() - before, 1)
  t.equal((await changePassword(app, HOME, token, PASSWORD)).statusCode, 204)
})

onOneDatabase(t, 'instances share their counters [BF5]', async (t, database) => {
  const at = await createDatabase(t, database, 'ready')
  const one = await open(t, { at })
  const two = await open(t, { at, clock: one.clock })
  for (let i = 0; i < 5; i++) t.strictSame(answer(await guess(i % 2 ? one : two, ATTACKER)), REFUSED)
  for (const app of [one, two]) t.strictSame(answer(await guess(app, ATTACKER)), throttled(1))
  one.clock.advance(1)
  t.equal((await guess(one, ATTACKER, right)).statusCode, 200)
  t.strictSame(answer(await guess(two, ATTACKER)), REFUSED)
})

onOneDatabase(t, 'what is kept is bounded, and nobody can read in it who was meant [BF5]', async (t, database) => {
  const app = await open(t, { database })
  t.strictSame(await rowsOf(app), [])
  await guess(app, HOME, right)
  t.strictSame(await rowsOf(app), ['known'], 'a login leaves that its network is known')
  await guess(app, HOME)
  t.strictSame(await rowsOf(app), ['account', 'known', 'network', 'pair'])
  await guess(app, HOME, right)
  t.strictSame(await rowsOf(app), ['known', 'network'])

  for (let i = 0; i < 5; i++) await guess(app, ATTACKER, { username: 'Typed-Secret', password: 'other secret' })
  await guess(app, ATTACKER, { username: 'typed-secret', password: 'other secret' })
  const text = JSON.stringify(await sql(app, 'select * from guesses'))
  t.notMatch(text, /secret|alice/i)
  t.equal((await rowsOf(app)).length, 5)

  for (let i = 0; i < 95; i++) await guess(app, anew(), { username: `user${i}` })
  t.ok((await rowsOf(app)).length > 200)
  app.clock.advance(90 * DAY + 60)
  await app.app.auth.removeExpired()
  t.strictSame(await rowsOf(app), [], 'what has expired goes away')
})

t.test('one network may fail 100 times in 15 minutes, whoever is meant', async (t) => {
  const app = await open(t)
  for (let i = 0; i < 100; i++) {
    if (i === 50) app.clock.advance(300)
    t.strictSame(answer(await guess(app, `203.0.113.${i}`, { username: `user${i}` })), REFUSED)
    if (i % 10 === 0) t.equal((await guess(app, ATTACKER, right)).statusCode, 200, 'a success takes nothing back')
  }
  const before = app.verified()
  for (const username of ['alice', 'nobody', 'user1'])
    t.strictSame(answer(await guess(app, ATTACKER, { username, ...right })), throttled(600), username)
  t.equal(app.verified(), before)
  t.equal((await guess(app, '203.0.112.7', right)).statusCode, 200, 'another network')
  app.clock.advance(599)
  t.strictSame(answer(await guess(app, ATTACKER, right)), throttled(1))
  app.clock.advance(1)
  t.equal((await guess(app, ATTACKER, right)).statusCode, 200)
})

t.test('what fails for our reasons, or is malformed, is no guess', async (t) => {
  const app = await open(t)
  const { hasher, store } = app.app
  const { verify } = hasher
  const { credentials } = store.users
  const busy = async () => {
    throw new DomainError('unavailable', 'Too many logins at once', { retryAfter: 2 })
  }
  const broken = async () => {
    throw new Error('broken')
  }
  for (let i = 0; i < 30; i++) {
    hasher.verify = busy
    t.strictSame(answer(await guess(app, ATTACKER, right)), unavailable)
    hasher.verify = verify
    store.users.credentials = i % 2 ? broken : busy
    t.equal((await guess(app, ATTACKER)).statusCode, i % 2 ? 500 : 503)
    store.users.credentials = credentials
  }
  const form = { grant_type: 'password', username: 'alice', password: WRONG }
  for (const more of [{ client_id: 'nobody' }, { password: 'x'.repeat(1025) }, { username: '' }])
    for (let i = 0; i < 10; i++) await app.token({ ...form, ...more })
  t.strictSame(await rowsOf(app), [])

  for (let i = 0; i < 5; i++) await guess(app, ATTACKER)
  app.clock.advance(1)
  await guess(app, ATTACKER)
  app.clock.advance(2)
  hasher.verify = busy
  t.strictSame(answer(await guess(app, ATTACKER)), unavailable)
  hasher.verify = verify
  t.strictSame(answer(await guess(app, ATTACKER)), REFUSED, 'the wait was over, and still is')
  t.strictSame(answer(await guess(app, ATTACKER)), throttled(4))
})

t.test('a try whose end was never written stays counted, and holds nobody up', async (t) => {
  const app = await open(t)
  const { guesses } = app.app.store
  const { count } = guesses
  const away = async () => {
    throw new DomainError('unavailable', 'The database is not available', { retryAfter: 1 })
  }
  for (let i = 0; i < 5; i++) {
    let calls = 0
    guesses.count = (...args) => (++calls === 2 ? away() : count(...args))
    t.equal((await guess(app, ATTACKER, right)).statusCode, 503)
  }
  t.strictSame(answer(await guess(app, ATTACKER, right)), throttled(1))
  app.clock.advance(1)
  guesses.count = away as typeof count
  t.equal((await guess(app, ATTACKER, right)).statusCode, 503)
  t.equal(app.verified(), 5, 'nothing is verified that cannot be counted')
  guesses.count = count
  t.equal((await guess(app, ATTACKER, right)).statusCode, 200)
})

t.test('LATCHKEY_THROTTLE=off limits nothing and says so', async (t) => {
  const lines: string[] = []
  const at = await createDatabase(t, 'sqlite', 'ready')
  const logger = { level: 'warn', stream: { write: (line: string) => lines.push(line) } }
  const off = await build(t, { at, logger })
  t.strictSame(
    lines.map((line) => [JSON.parse(line).level, JSON.parse(line).msg]),
    [[40, 'LATCHKEY_THROTTLE is off: password guessing is not limited']]
  )
  for (let i = 0; i < 12; i++) t.strictSame(answer(await guess(off, ATTACKER)), REFUSED)
  t.equal((await guess(off, ATTACKER, right)).statusCode, 200)
  lines.length = 0
  const on = await build(t, { at, logger, env: { LATCHKEY_THROTTLE: 'on' } })
  t.strictSame(lines, [])
  for (let i = 0; i < 6; i++) await guess(on, ATTACKER)
  t.strictSame(
    lines.map((line) => JSON.parse(line).msg),
    [...Array(5).fill('login.failed'), 'login.throttled', 'Too many failed attempts']
  )
  const last = lines.at(-1) as string
  t.match(JSON.parse(last), { level: 40, address: ATTACKER })
  t.notMatch(last, /alice|not the pass/)
})

t.test('a clock that was ahead makes nobody wait longer than the right one would [F18]', async (t) => {
  const app = await open(t)
  app.clock.advance(DAY)
  for (let tries = 0; tries < 6; tries++) await guess(app, HOME)
  for (const other of ['bob', 'carol'])
    for (let tries = 0; tries < 5; tries++) await guess(app, HOME, { username: other })
  app.clock.advance(-DAY)
  t.strictSame(answer(await guess(app, HOME)), throttled(1), 'lockouts survive')
  app.clock.advance(1)
  t.equal((await guess(app, HOME, right)).statusCode, 200)
})

t.test('a network of a former login may fail 100 times in a row, then it is one like any other [BF3]', async (t) => {
  const app = await open(t)
  await guess(app, HOME, right)
  for (let i = 0; i < 100; i++) {
    t.strictSame(answer(await guess(app, HOME)), REFUSED)
    app.clock.advance(900)
  }
  t.strictSame(answer(await guess(app, HOME, right)), REFUSED, 'the right one too')
  await app.app.auth.users.setPassword(OPERATOR, {
    id: (await app.app.auth.users.find('alice')).id,
    password: 'a new and long pass phrase'
  })
  app.clock.advance(900)
  t.equal((await guess(app, HOME, { password: 'a new and long pass phrase' })).statusCode, 200)
})

t.test('a name that was guessed harms nobody who is called so later [BF3]', async (t) => {
  const app = await open(t)
  await guess(app, HOME, right)
  await fail(app, 100, 'alicia')
  const { id } = await app.app.auth.users.find('alice')
  const { slept } = app.clock
  await app.app.auth.users.change(OPERATOR, id, { username: 'alicia' })
  t.equal((await guess(app, HOME, { username: 'alicia', ...right })).statusCode, 200)
  t.equal((await guess(app, anew(), { username: 'alicia', ...right })).statusCode, 200)
  t.equal(app.clock.slept, slept)
})
