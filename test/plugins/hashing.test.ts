import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import argon2 from 'argon2'
import t, { type Test } from 'tap'
import { build, createDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const AT_ONCE = Math.max(1, availableParallelism() - 1)
const WAITING = 64

/** For tests that leave the database as it was, but for more sessions. */
const shared = await build(t)

const login = ({ token }: TestApp, username = 'alice', password = PASSWORD) =>
  token({ grant_type: 'password', username, password })

/** Counts the verifications; each waits until `release` and is then good. */
function hold(t: Test) {
  const { promise, resolve } = Promise.withResolvers<void>()
  t.teardown(resolve)
  const counts = { now: 0, most: 0, all: 0 }
  t.capture(argon2, 'verify', async () => {
    counts.all++
    counts.most = Math.max(counts.most, ++counts.now)
    await promise
    counts.now--
    return true
  })
  return { counts, release: resolve }
}

/** Logins at once; returns when so many have their answer, or after five seconds. `all` waits for the rest. */
async function flood(app: TestApp, count: number, until: number) {
  const answered: Awaited<ReturnType<typeof login>>[] = []
  const enough = Promise.withResolvers<void>()
  const all = Array.from({ length: count }, async () => {
    const response = await login(app)
    if (answered.push(response) === until) enough.resolve()
    return response
  })
  await Promise.race([enough.promise, sleep(5000, undefined, { ref: false })])
  return { answered: [...answered], all: Promise.all(all) }
}

t.test(
  'F20 logins beyond those that run and those that may wait get 503, while everything else answers',
  { timeout: 20_000 },
  async (t) => {
    const app = shared
    const jwt = await app.login('alice')
    const { counts, release } = hold(t)
    const tooMany = 5
    const { answered, all } = await flood(app, AT_ONCE + WAITING + tooMany, tooMany)

    for (const response of answered) {
      t.strictSame(
        [response.statusCode, response.json()],
        [503, { error: 'temporarily_unavailable', error_description: 'Too many logins at once' }]
      )
      const { 'retry-after': retryAfter, 'cache-control': cache, 'content-type': type } = response.headers
      t.strictSame([retryAfter, cache, type], ['2', 'no-store', 'application/json; charset=utf-8'])
    }
    t.equal(answered.length, tooMany)

    const me = await app.get('/users/me', jwt)
    t.strictSame([me.statusCode, me.json().username], [200, 'alice'], 'a token is verified')
    t.equal((await app.inject({ url: '/.well-known/jwks.json' })).statusCode, 200, 'keys are given out')
    t.equal((await app.inject({ url: '/health/ready' })).statusCode, 200, 'the instance is ready')
    t.equal((await login(app, 'alice', 'p'.repeat(1025))).statusCode, 400, 'what needs no hash is answered')
    t.equal((await login(app, 'nobody')).statusCode, 503, 'known or not')
    t.strictSame([counts.now, counts.all], [AT_ONCE, AT_ONCE], 'no more than these are worked on')

    release()
    const statuses = (await all).map(({ statusCode }) => statusCode)
    t.equal(statuses.filter((status) => status === 200).length, AT_ONCE + WAITING, 'those that waited get their answer')
    t.equal(statuses.filter((status) => status === 503).length, tooMany)
    t.strictSame(counts, { now: 0, most: AT_ONCE, all: AT_ONCE + WAITING })
    t.equal((await login(app)).statusCode, 200, 'and the next one is taken')
  }
)

t.test(
  'F20 what is refused for want of room has done no work, also when a password is set',
  { timeout: 20_000 },
  async (t) => {
    const app = shared
    const { release } = hold(t)
    const hashed = t.capture(argon2, 'hash', argon2.hash)
    const { all } = await flood(app, AT_ONCE + WAITING + 1, 1)
    const refused = { code: 'unavailable', retryAfter: 2, message: 'Too many logins at once' }
    await t.rejects(app.app.hasher.hash(PASSWORD), refused)
    await t.rejects(app.app.hasher.verify(null, PASSWORD), refused)
    await t.rejects(app.createUser('bob'), refused)
    t.equal(hashed().length, 0)
    t.strictSame(await sql(app, "select id from users where username_key = 'bob'"), [])
    release()
    await all
  }
)

t.test('waiting logins are taken in the order in which they came', async (t) => {
  const { app } = shared
  const order: number[] = []
  t.capture(argon2, 'verify', async (_hash: string, password: string) => {
    order.push(Number(password))
    return false
  })
  const numbers = Array.from({ length: 20 }, (_, index) => index)
  await Promise.all(numbers.map((index) => app.hasher.verify(null, String(index))))
  t.strictSame(order, numbers)
})

t.test(
  'a verification that fails leaves its place to the next, and is a failure of ours',
  { timeout: 20_000 },
  async (t) => {
    const app = await build(t, { logger: false })
    const { verify } = argon2
    let failures = AT_ONCE + 1
    t.capture(argon2, 'verify', async (...args: Parameters<typeof verify>) => {
      if (failures-- > 0) throw new Error('no memory')
      return verify(...args)
    })
    while (failures > 0) {
      const response = await login(app)
      t.strictSame(
        [response.statusCode, response.json()],
        [500, { error: 'server_error', error_description: 'The server failed' }]
      )
    }
    t.equal((await login(app)).statusCode, 200)
  }
)

t.test('PW2 an unknown user costs one verification with the current parameters', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  const settings: [memory: string, passes: string, lanes: string][] = [
    ['7168', '1', '1'],
    ['8192', '3', '2']
  ]
  for (const [memory, passes, lanes] of settings) {
    const app = await build(t, {
      at,
      env: { LATCHKEY_ARGON2_MEMORY: memory, LATCHKEY_ARGON2_PASSES: passes, LATCHKEY_ARGON2_LANES: lanes }
    })
    const real = await app.app.hasher.hash(PASSWORD)
    const verified = t.capture(argon2, 'verify', argon2.verify)
    t.equal((await login(app, 'nobody')).statusCode, 400)
    const [call, ...more] = verified()
    t.equal(more.length, 0)
    const dummy = String(call?.args[0])
    t.match(dummy, /^\$argon2id\$v=19\$m=\d+,t=\d,p=\d\$[\w+/]{22}\$[\w+/]{43}$/)
    t.equal(dummy.split('$')[3], `m=${memory},t=${passes},p=${lanes}`)
    const lengths = (hash: string) => hash.split('$').map((part) => part.length)
    t.strictSame(lengths(dummy), lengths(real), 'of the same form as a real one')
    t.notOk(app.app.hasher.outdated(dummy))
    t.equal(await app.app.hasher.verify(null, ''), false)
    t.equal(await app.app.hasher.verify(null, PASSWORD), false)
  }
})

t.test('every instance has another dummy, so that no password can be found that fits it', async (t) => {
  const verified = t.capture(argon2, 'verify', argon2.verify)
  for (const { app } of [shared, await build(t)]) await app.hasher.verify(null, PASSWORD)
  const [one, two] = verified().map(({ args }) => args[0])
  t.not(one, two)
})

t.test('KS3 a password is kept as argon2id with a salt of its own', async (t) => {
  const { app } = shared
  const hashes = [await app.hasher.hash(PASSWORD), await app.hasher.hash(PASSWORD)]
  for (const hash of hashes) {
    t.match(hash, /^\$argon2id\$v=19\$m=7168,t=1,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
    t.equal(await app.hasher.verify(hash, PASSWORD), true)
    t.equal(await app.hasher.verify(hash, `${PASSWORD} `), false)
  }
  t.not(hashes[0]?.split('$')[4], hashes[1]?.split('$')[4])
})

t.test('PW9 a hash is outdated when it was made in any other way than now', async (t) => {
  const { app } = shared
  const current = await app.hasher.hash(PASSWORD)
  t.equal(app.hasher.outdated(current), false)
  const others = [
    current.replace('m=7168', 'm=7167'),
    current.replace('m=7168', 'm=65536'),
    current.replace('t=1', 't=2'),
    current.replace('p=1', 'p=2'),
    current.replace('v=19', 'v=16'),
    current.replace('argon2id', 'argon2i'),
    current.replace('argon2id', 'argon2d'),
    '$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q'
  ]
  for (const hash of others) t.equal(app.hasher.outdated(hash), true, hash)
})
