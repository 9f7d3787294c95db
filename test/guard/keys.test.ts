import t from 'tap'
import { createKeys } from '../../src/guard/keys.ts'
import { createMetadata } from '../../src/guard/metadata.ts'
import { SIGNING_KEYS_MAX } from '../../src/limits.ts'
import {
  createFakeIssuer,
  createKey,
  INVALID_RESPONSES,
  type Key,
  neverRespond,
  type Responder
} from '../fake-issuer.ts'
import { createFakeTimer, settle } from '../fake-timer.ts'
import type { Members } from '../jws.ts'

const HOUR = 3_600_000
const UNAVAILABLE = { name: 'UnavailableError', message: 'The keys of the issuer cannot be fetched', statusCode: 503 }

const jwks =
  (keys: unknown[], headers: Record<string, string> = {}): Responder =>
  () =>
    Response.json({ keys }, { headers })

/** The keys of a fake issuer. */
function setUp(responder?: Responder) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  const { fetch, responders } = issuer
  if (responder !== undefined) responders.jwks = responder
  const keys = createKeys({ metadata: createMetadata({ issuer: issuer.issuer, fetch, timer }), fetch, timer })
  return {
    ...issuer,
    timer,
    /** Returns the key of a `kid`. Moves the time by one second, so that the pause after a fetch is over. */
    async find(kid: string) {
      const key = Promise.resolve().then(() => keys.find(kid))
      key.catch(() => {})
      await timer.advance(1000)
      return key
    },
    findNow: keys.find
  }
}

for (const alg of ['ES256', 'EdDSA', 'RS256'] as const)
  t.test(`a published key is found by its kid: ${alg}`, async (t) => {
    const key = createKey(alg)
    const { find } = setUp(jwks([createKey().jwk, key.jwk]))
    const found = await find(key.kid)
    t.strictSame([found?.kid, found?.alg, found?.key.equals(key.publicKey)], [key.kid, alg, true])
  })

const [es256, rs256] = [createKey('ES256'), createKey('RS256')]
const IGNORED: [name: string, key: Key, change: Members][] = [
  ['a key of RSA with a private member', rs256, { d: null }],
  ['no alg', es256, { alg: undefined }],
  ['the alg none', rs256, { alg: 'none' }],
  ['the alg HS256', rs256, { alg: 'HS256' }],
  ['the alg PS256', rs256, { alg: 'PS256' }],
  ['the alg in an array', es256, { alg: ['ES256'] }],
  ['the alg constructor', rs256, { alg: 'constructor' }],
  ['the alg of another type of key', es256, { alg: 'EdDSA' }],
  ['a shared secret for HS256', es256, { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256' }],
  ['a kid that is a number', es256, { kid: 1 }],
  ['no kid', es256, { kid: undefined }],
  ['another kid', es256, { kid: 'A'.repeat(43) }]
]
for (const [name, { kid, jwk }, change] of IGNORED)
  t.test(`an unusable key is ignored, and the others are found: ${name}`, async (t) => {
    const usable = createKey()
    const { find } = setUp(jwks([{ ...jwk, ...change }, usable.jwk]))
    t.equal(await find(kid), null)
    t.equal((await find(usable.kid))?.kid, usable.kid)
  })

t.test('elements of a JWKS that are not objects are ignored', async (t) => {
  const { find } = setUp(jwks([null, 1, 'x', [], [es256.jwk], {}, es256.jwk]))
  t.equal((await find(es256.kid))?.kid, es256.kid)
})

t.test('a kid that occurs twice has no key', async (t) => {
  const [first, second] = [createKey(), createKey()]
  const { find } = setUp(jwks([first.jwk, { ...second.jwk, kid: first.kid }, es256.jwk]))
  t.equal(await find(first.kid), null)
  t.equal((await find(es256.kid))?.kid, es256.kid)
})

t.test('a kid that is the name of a member of every object finds no key', async (t) => {
  const { find } = setUp(jwks([es256.jwk]))
  for (const kid of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) t.equal(await find(kid), null, kid)
})

const INVALID: [name: string, responder: Responder][] = [
  ...INVALID_RESPONSES,
  ['keys that is not an array', () => Response.json({ keys: { 0: es256.jwk } })],
  [`${SIGNING_KEYS_MAX + 1} keys`, jwks(Array.from({ length: SIGNING_KEYS_MAX + 1 }, () => es256.jwk))]
]
for (const [name, responder] of INVALID)
  t.test(
    `after a response that is not a JWKS a lookup throws if no keys are known, else finds the known keys: ${name}`,
    async (t) => {
      const { find, key, responders, timer, count } = setUp(responder)
      await t.rejects(find(key.kid), UNAVAILABLE)
      responders.jwks = jwks([key.jwk])
      t.equal((await find(key.kid))?.kid, key.kid)
      responders.jwks = responder
      await timer.advance(300_000)
      const fetches = count('jwks')
      for (let times = 0; times < 2; times++) t.equal((await find(key.kid))?.kid, key.kid)
      t.ok(count('jwks') > fetches)
    }
  )

t.test('a JWKS of 100 keys is read', async (t) => {
  const many = Array.from({ length: 100 }, () => createKey())
  const { find } = setUp(jwks(many.map(({ jwk }) => jwk)))
  const { kid } = many[99] as Key
  t.equal((await find(kid))?.kid, kid)
})

t.test('a JWKS that does not arrive within five seconds throws', async (t) => {
  const { findNow, timer, key } = setUp(neverRespond)
  const rejected = t.rejects(async () => findNow(key.kid), {
    ...UNAVAILABLE,
    cause: { message: 'GET https://id.example.com/jwks: no response within 5000 ms' }
  })
  await timer.advance(5000)
  await rejected
})

t.test('without valid metadata no keys are requested', async (t) => {
  const { find, key, responders, count } = setUp()
  responders['oauth-authorization-server'] = () => Response.json({ issuer: 'https://evil.example.com' })
  await t.rejects(find(key.kid), UNAVAILABLE)
  t.equal(count('jwks'), 0)
})

t.test('callers that wait for the next fetch all get an error when it fails', async (t) => {
  const { findNow, key, responders, timer } = setUp()
  const response = Promise.withResolvers<Response>()
  responders['oauth-authorization-server'] = () => response.promise
  const first = t.rejects(async () => findNow(key.kid), UNAVAILABLE)
  await settle()
  const later = [1, 2].map(() => t.rejects(async () => findNow(key.kid), UNAVAILABLE))
  response.resolve(new Response(null, { status: 503 }))
  await timer.advance(1000)
  await Promise.all([first, ...later])
})

t.test('concurrent and later callers share one fetch of metadata and keys', async (t) => {
  const { findNow, key, count } = setUp()
  const found = await Promise.all(Array.from({ length: 200 }, () => findNow(key.kid)))
  t.strictSame(new Set(found.map((each) => each?.kid)), new Set([key.kid]))
  t.notOk(findNow(key.kid) instanceof Promise, 'a known key is found without a promise')
  t.strictSame([count('.well-known'), count('jwks')], [1, 1])
})

t.test('unknown kids cause at most five fetches per second [JW4]', async (t) => {
  const { findNow, find, key, timer, requests } = setUp()
  await find(key.kid)
  const before = requests.length
  const start = timer.elapsed()
  for (let round = 0; round < 10; round++) {
    for (let n = 0; n < 20; n++) void findNow(`unknown ${round} ${n}`)
    await timer.advance(100)
  }
  const fetches = requests.slice(before).map(({ path, at }) => `${path} at ${at - start}`)
  t.strictSame(
    fetches,
    [0, 200, 400, 600, 800, 1000].map((at) => `/jwks at ${at}`)
  )
})

t.test('1,000 callers may wait for an unknown key, one more gets null at once', async (t) => {
  const { findNow, find, key, responders } = setUp()
  await find(key.kid)
  const response = Promise.withResolvers<Response>()
  responders.jwks = () => response.promise
  const waiting = Promise.all(Array.from({ length: 1000 }, () => findNow('unknown')))
  await settle()
  t.equal(findNow('unknown'), null)
  response.resolve(Response.json({ keys: [key.jwk] }))
  t.strictSame(new Set(await waiting), new Set([null]))
})

t.test('a caller that looks for a new key waits for a fetch that began after its call', async (t) => {
  const { findNow, find, key, responders, timer } = setUp()
  await find(key.kid)
  const [old, next] = [Promise.withResolvers<Response>(), createKey()]
  responders.jwks = () => old.promise
  const first = findNow(next.kid)
  await timer.advance(1)
  responders.jwks = jwks([key.jwk, next.jwk])
  const second = findNow(next.kid)
  old.resolve(Response.json({ keys: [key.jwk] }))
  await timer.advance(200)
  t.strictSame([await first, (await second)?.kid], [null, next.kid])
})

t.test('a new key is found at once, and a removed key is no longer found', async (t) => {
  const { find, key, responders } = setUp()
  const next = createKey()
  const before = await find(key.kid)
  responders.jwks = jwks([next.jwk])
  t.equal(await find(key.kid), before, 'the known keys are used until the next fetch')
  t.equal((await find(next.kid))?.kid, next.kid)
  t.equal(await find(key.kid), null)
})

t.test('an unchanged key stays the same object, and another key with its kid does not', async (t) => {
  const { find, key, responders, timer } = setUp()
  const first = await find(key.kid)
  await timer.advance(300_000)
  await find(key.kid)
  t.equal(await find(key.kid), first)
  const other = createKey()
  responders.jwks = jwks([{ ...other.jwk, kid: key.kid }])
  await timer.advance(300_000)
  await find(key.kid)
  t.ok((await find(key.kid))?.key.equals(other.publicKey))
})

const AGES: [header: string | undefined, seconds: number][] = [
  [undefined, 300],
  ['max-age=20', 20],
  ['public, max-age=20', 20],
  ['public,max-age=20,must-revalidate', 20],
  ['Public, Max-Age=20', 20],
  ['s-maxage=20', 300],
  ['max-age=-1', 300],
  ['max-age=x', 300],
  ['max-age=999999999', 86_400],
  ['max-age=99999999999999', 300]
]
for (const [header, seconds] of AGES)
  t.test(`keys are fetched again when they are no longer fresh: ${header} is ${seconds} s`, async (t) => {
    const { findNow, key, responders, timer, count } = setUp()
    responders.jwks = jwks([key.jwk], header === undefined ? {} : { 'cache-control': header })
    await findNow(key.kid)
    await timer.advance(seconds * 1000 - 1)
    await findNow(key.kid)
    t.equal(count('jwks'), 1)
    await timer.advance(1)
    t.notOk(findNow(key.kid) instanceof Promise, 'the known key is used during the fetch')
    await settle()
    t.equal(count('jwks'), 2)
  })

t.test(
  'keys that are no longer fresh are used for one hour, then every lookup throws until a fetch succeeds',
  async (t) => {
    const { findNow, key, responders, timer } = setUp()
    await findNow(key.kid)
    responders.jwks = () => Response.json({}, { status: 500 })
    await timer.advance(300_000 + HOUR - 1)
    t.equal((await findNow(key.kid))?.kid, key.kid)
    await timer.advance(200)
    await t.rejects(async () => findNow(key.kid), UNAVAILABLE)
    responders.jwks = jwks([key.jwk])
    await timer.advance(1000)
    t.equal((await findNow(key.kid))?.kid, key.kid)
  }
)

t.test('keys that are too old cause at most five fetches per second', async (t) => {
  const { findNow, find, key, responders, timer, requests } = setUp()
  await find(key.kid)
  responders.jwks = () => Response.json({}, { status: 500 })
  await timer.advance(300_000 + HOUR)
  const before = requests.length
  const start = timer.elapsed()
  for (let round = 0; round < 20; round++) {
    Promise.resolve(findNow(key.kid)).catch(() => {})
    await timer.advance(50)
  }
  t.strictSame(
    requests.slice(before).map(({ path, at }) => `${path} at ${at - start}`),
    [0, 200, 400, 600, 800, 1000].map((at) => `/jwks at ${at}`)
  )
})

t.test('an unknown key throws while the issuer is unavailable, and the known keys are used', async (t) => {
  const { find, key, responders } = setUp()
  const other = createKey()
  await find(key.kid)
  responders.jwks = () => Response.json({}, { status: 500 })
  for (let times = 0; times < 2; times++) await t.rejects(find(other.kid), UNAVAILABLE)
  t.equal((await find(key.kid))?.kid, key.kid)
  responders.jwks = jwks([key.jwk, other.jwk])
  t.equal((await find(other.kid))?.kid, other.kid)
})
