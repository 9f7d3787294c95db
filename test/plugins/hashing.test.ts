import { availableParallelism } from 'node:os'
import argon2 from 'argon2'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import hashing from '../../plugins/hashing.ts'
import { build, createDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { stopClock } from '../request-time.ts'
import { sql } from '../sql.ts'

const AT_ONCE = Math.max(1, availableParallelism() - 1)

/** For tests that change nothing in the database but sessions. */
const shared = await build(t, { logger: false })

const login = ({ token }: TestApp, username = 'alice', password = PASSWORD) =>
  token({ grant_type: 'password', username, password })

/** Counts the verifications. Each waits until `release`, and then succeeds. */
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

const REFUSED = { code: 'unavailable', message: 'Too many logins at once' }
const settled = () => new Promise(setImmediate)

/** Fills both lines of the queue. Returns the verifications, all of which wait until `release` of `hold`. */
async function fill({ app }: TestApp, counts: { all: number }): Promise<Promise<boolean>[]> {
  const waiting: Promise<boolean>[] = []
  for (const isKnown of [true, false]) {
    for (let isFull = false; !isFull; ) {
      const call = app.hasher.verify(null, PASSWORD, { isKnown, onEntered: async () => {} })
      isFull = await Promise.race([
        call.then(
          () => false,
          () => true
        ),
        settled().then(() => false)
      ])
      if (!isFull) waiting.push(call)
    }
  }
  if (counts.all !== AT_ONCE) throw new Error('the queue is not full')
  return waiting
}

t.test('with a full queue logins get 503, and everything else answers [F20]', async (t) => {
  const app = shared
  const jwt = await app.login('alice')
  const { counts, release } = hold(t)
  const waiting = await fill(app, counts)
  for (const username of ['alice', 'nobody']) {
    const { statusCode, headers, body } = await login(app, username)
    t.strictSame(
      [statusCode, JSON.parse(body)],
      [503, { error: 'temporarily_unavailable', error_description: 'Too many logins at once' }]
    )
    t.strictSame(
      [headers['retry-after'], headers['cache-control'], headers['content-type']],
      ['2', 'no-store', 'application/json; charset=utf-8']
    )
  }
  const me = await app.get('/users/me', jwt)
  t.strictSame([me.statusCode, me.json().username], [200, 'alice'], 'a token is verified')
  t.equal((await app.inject({ url: '/.well-known/jwks.json' })).statusCode, 200, 'the keys are published')
  t.equal((await app.inject({ url: '/health/ready' })).statusCode, 200, 'the instance is ready')
  t.equal((await login(app, 'alice', 'p'.repeat(1025))).statusCode, 400, 'a request that needs no hash is answered')
  t.strictSame([counts.now, counts.all], [AT_ONCE, AT_ONCE])

  release()
  await Promise.all(waiting)
  t.strictSame(counts, { now: 0, most: AT_ONCE, all: waiting.length })
  t.equal((await login(app)).statusCode, 200, 'the next login is accepted')
})

t.test('a login that waits in the queue gets its answer [F20]', async (t) => {
  const app = shared
  const { counts, release } = hold(t)
  const waiting = Array.from({ length: AT_ONCE }, () => app.app.hasher.verify(null, PASSWORD))
  const answer = login(app)
  await app.inject({ url: '/health/ready' })
  await settled()
  t.equal(counts.all, AT_ONCE)
  release()
  t.equal((await answer).statusCode, 200)
  await Promise.all(waiting)
})

t.test('a refused hash has done no work, and a refused user is not created [F20]', async (t) => {
  const app = shared
  const { counts, release } = hold(t)
  const hashed = t.capture(argon2, 'hash', argon2.hash)
  const waiting = await fill(app, counts)
  await t.rejects(app.app.hasher.hash(PASSWORD), REFUSED)
  await t.rejects(app.app.hasher.verify(null, PASSWORD), REFUSED)
  await t.rejects(app.createUser('bob'), REFUSED)
  t.equal(hashed().length, 0)
  t.strictSame(await sql(app, "select id from users where username_key = 'bob'"), [])
  release()
  await Promise.all(waiting)
})

t.test('waiting verifications run in the order of their arrival', async (t) => {
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

t.test('a verification that throws is a failure of the server, and leaves its place to the next', async (t) => {
  const app = await build(t, { logger: false })
  const { verify } = argon2
  let failures = AT_ONCE + 1
  t.capture(argon2, 'verify', async (...args: Parameters<typeof verify>) => {
    if (failures-- > 0) throw new Error('no memory')
    return verify(...args)
  })
  while (failures > 0) {
    const { statusCode, body } = await login(app)
    t.strictSame(
      [statusCode, JSON.parse(body)],
      [500, { error: 'server_error', error_description: 'The server failed' }]
    )
  }
  t.equal((await login(app)).statusCode, 200)
})

t.test(
  'an unknown user costs one verification with the parameters of the users, also after a change of the settings [PW2 UA5]',
  async (t) => {
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
      t.equal(dummy.split('$')[3], 'm=7168,t=1,p=1', 'the only user got the hash with the first settings')
      const lengths = (hash: string) => hash.split('$').map((part) => part.length)
      t.strictSame(lengths(dummy), lengths(real), 'of the same form as the hash of a password')
      t.equal(app.app.hasher.outdated(dummy), memory !== '7168')
      t.equal(await app.app.hasher.verify(null, ''), false)
      t.equal(await app.app.hasher.verify(null, PASSWORD), false)
    }
  }
)

t.test('every instance verifies unknown users against another hash, so no password fits all of them', async (t) => {
  const verified = t.capture(argon2, 'verify', argon2.verify)
  for (let instance = 0; instance < 2; instance++) {
    const app = fastify()
    await app.register(hashing, { argon2Memory: 7168, argon2Passes: 1, argon2Lanes: 1 })
    await app.hasher.verify(null, PASSWORD)
  }
  const [one, two] = verified().map(({ args }) => args[0])
  t.not(one, two)
})

t.test('a hash that takes too long for its connection is warned of once', async (t) => {
  const { advance } = stopClock(t)
  t.capture(argon2, 'verify', async () => {
    advance(9000)
    return true
  })
  const lines: string[] = []
  const app = fastify({ logger: { stream: { write: (line: string) => void lines.push(JSON.parse(line).msg) } } })
  await app.register(hashing, { argon2Memory: 7168, argon2Passes: 1, argon2Lanes: 1 })
  for (let count = 0; count < 2; count++) await app.hasher.verify(null, PASSWORD)
  t.strictSame(lines, [
    'a password hash took 9000 ms, and a connection is closed after 8000 ms: lower LATCHKEY_ARGON2_MEMORY or LATCHKEY_ARGON2_PASSES'
  ])
})

t.test('a password is stored as argon2id with a salt of its own [KS3]', async (t) => {
  const { app } = shared
  const hashes = [await app.hasher.hash(PASSWORD), await app.hasher.hash(PASSWORD)]
  for (const hash of hashes) {
    t.match(hash, /^\$argon2id\$v=19\$m=7168,t=1,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
    t.equal(await app.hasher.verify(hash, PASSWORD), true)
    t.equal(await app.hasher.verify(hash, `${PASSWORD} `), false)
  }
  t.not(hashes[0]?.split('$')[4], hashes[1]?.split('$')[4])
})

t.test('a hash is outdated when its algorithm, version or parameters are not the current ones [PW9]', async (t) => {
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
