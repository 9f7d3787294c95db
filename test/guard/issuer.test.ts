import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { answer } from '../forge.ts'
import {
  AUDIENCE,
  createKey,
  INVALID_TOKEN,
  json,
  type Key,
  type PlantedIssuer,
  plantIssuer,
  type Responder,
  serve,
  signed,
  USELESS
} from './planted.ts'

/** Milliseconds by which the clock that nobody sets was moved. */
let ahead = 0
const realNow = performance.now.bind(performance)
performance.now = () => realNow() + ahead

const UNAVAILABLE = {
  status: 503,
  challenge: undefined,
  type: 'application/json; charset=utf-8',
  cache: undefined,
  body: { statusCode: 503, error: 'Service Unavailable', message: 'The keys of the issuer cannot be fetched' }
}

/** A service that trusts a planted issuer, without its log. */
async function world(t: Test, responders: (issuer: PlantedIssuer) => Record<string, Responder> = () => ({})) {
  const planted = await plantIssuer(t)
  Object.assign(planted.responders, responders(planted))
  const { issuer, clock } = planted
  const service = await serve(t, { issuer, audience: AUDIENCE, revocation: 'none', clock })
  const get = (token: string) =>
    service.inject({ method: 'GET', url: '/orders', headers: { authorization: `Bearer ${token}` } })
  return { ...service, ...planted, get }
}

/** Nobody is let in, whoever asks, and nobody is told that the token is at fault. */
async function refusesAll(t: Test, { get, token, clientToken, issuer }: Awaited<ReturnType<typeof world>>) {
  for (const each of [token(), clientToken()]) {
    const response = await get(each)
    t.strictSame(answer(response), UNAVAILABLE)
    t.equal(response.headers['retry-after'], '1')
    t.notOk(response.body.includes(issuer))
  }
}

const LIES: [what: string, change: (planted: PlantedIssuer) => object][] = [
  ['another issuer', () => ({ issuer: 'https://evil.example.com' })],
  ['the issuer with a slash', ({ issuer }) => ({ issuer: `${issuer}/` })],
  ['the issuer by another name', ({ issuer }) => ({ issuer: issuer.replace('127.0.0.1', 'localhost') })],
  ['no issuer', () => ({ issuer: undefined })],
  ['keys on another origin', () => ({ jwks_uri: 'https://evil.example.com/jwks' })],
  ['keys on another port', () => ({ jwks_uri: 'http://127.0.0.1:1/jwks' })],
  ['no keys', () => ({ jwks_uri: undefined })],
  ['keys in the metadata', ({ key }) => ({ jwks_uri: undefined, jwks: { keys: [key.jwk] } })],
  ['a log on another origin', () => ({ latchkey_revocations_endpoint: 'http://127.0.0.1:1/revocations' })]
]
for (const [what, change] of LIES)
  t.test(`an issuer that lies in its metadata lets nobody in: ${what}`, async (t) => {
    const guarded = await world(t, (planted) => ({
      metadata: json({
        issuer: planted.issuer,
        token_endpoint: `${planted.issuer}/token`,
        jwks_uri: `${planted.issuer}/jwks`,
        ...change(planted)
      })
    }))
    await refusesAll(t, guarded)
    t.equal(guarded.count('jwks'), 0)
  })

for (const name of ['metadata', 'jwks'])
  for (const [what, responder] of USELESS)
    t.test(`an issuer without ${name} lets nobody in: ${what}`, async (t) => {
      await refusesAll(t, await world(t, () => ({ [name]: responder })))
    })

t.test('a JWKS that cannot be used lets nobody in: a redirect to what would be good', async (t) => {
  const guarded = await world(t, ({ issuer, key }) => ({
    jwks: (_request, response) => response.writeHead(302, { location: `${issuer}/other` }).end(),
    other: json({ keys: [key.jwk] })
  }))
  await refusesAll(t, guarded)
  t.equal(guarded.count('other'), 0)
})

t.test('a JWKS that cannot be used lets nobody in: slow, drop by drop', async (t) => {
  const guarded = await world(t, () => ({
    jwks: async (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      while (!response.destroyed) {
        response.write(' ')
        await sleep(100)
      }
    }
  }))
  const before = realNow()
  t.strictSame(answer(await guarded.get(guarded.token())), UNAVAILABLE)
  t.ok(realNow() - before < 6500)
})

const rsa = (modulusLength: number, publicExponent = 65537) =>
  createKey('RS256', generateKeyPairSync('rsa', { modulusLength, publicExponent }))
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const k256 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
const ed448 = generateKeyPairSync('ed448')
const [es256, edDsa, rs256] = [createKey('ES256'), createKey('EdDSA'), createKey('RS256')]

for (const key of [es256, edDsa, rs256, rsa(3072)])
  t.test(`a key is used as the issuer publishes it: ${key.alg} ${key.jwk.n?.toString().length ?? ''}`, async (t) => {
    const { token, get } = await world(t, () => ({ jwks: json({ keys: [key.jwk] }) }))
    t.equal((await get(token({}, key))).statusCode, 200)
  })

t.test('a key is used that has no use, or says what it is for, or has members that nobody knows', async (t) => {
  for (const change of [{ use: undefined }, { key_ops: ['verify'] }, { x5c: ['AAAA'], more: { a: 1 } }]) {
    const { token, get, key } = await world(t, ({ key }) => ({ jwks: json({ keys: [{ ...key.jwk, ...change }] }) }))
    t.equal((await get(token({}, key))).statusCode, 200, JSON.stringify(change))
  }
})

const privateMembers = (privateKey: KeyObject) => privateKey.export({ format: 'jwk' })
const UNFIT: [what: string, key: Key, change: object][] = [
  ['the private key', es256, privateMembers(es256.privateKey)],
  ['the private key of Ed25519', edDsa, privateMembers(edDsa.privateKey)],
  ['the private key of RSA', rs256, privateMembers(rs256.privateKey)],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((name): [string, Key, object] => [
    `a private member, ${name}`,
    rs256,
    { [name]: null }
  ]),
  ['RSA of 1024 bits', rsa(1024), {}],
  ['RSA of 2047 bits', rsa(2047), {}],
  ['RSA of 4104 bits', rsa(4104), {}],
  ['RSA with the exponent 3', rsa(2048, 3), {}],
  ['use enc', es256, { use: 'enc' }],
  ['use null', es256, { use: null }],
  ['key_ops without verify', es256, { key_ops: ['encrypt'] }],
  ['key_ops that is a text', es256, { key_ops: 'verify' }],
  ['no alg', es256, { alg: undefined }],
  ['alg none', es256, { alg: 'none' }],
  ['alg HS256', es256, { alg: 'HS256' }],
  ['alg ES384', es256, { alg: 'ES384' }],
  ['alg in a list', es256, { alg: ['ES256'] }],
  ['alg of a prototype', es256, { alg: 'constructor' }],
  ['the alg of another kind of key', es256, { alg: 'EdDSA' }],
  ['the alg of RSA', es256, { alg: 'RS256' }],
  ['an unknown kty', es256, { kty: 'AKP' }],
  ['kty oct', es256, { kty: 'oct' }],
  ['no kty', es256, { kty: undefined }],
  ['another curve', createKey('ES256', p384), {}],
  ['a curve of coins', createKey('ES256', k256), {}],
  ['Ed448', { ...createKey('EdDSA', ed448 as never), alg: 'EdDSA' }, {}],
  ['a point off the curve', es256, { x: es256.jwk.y }],
  ['a point without y', es256, { y: undefined }],
  ['a kid that is a number', es256, { kid: 1 }],
  ['no kid', es256, { kid: undefined }],
  ['another kid', es256, { kid: 'A'.repeat(43) }]
]
for (const [what, key, change] of UNFIT)
  t.test(`a key that is not fit is no key, and those beside it are: ${what}`, async (t) => {
    const fit = createKey()
    const { token, get } = await world(t, () => ({ jwks: json({ keys: [{ ...key.jwk, ...change }, fit.jwk] }) }))
    t.strictSame(answer(await get(token({}, key))), INVALID_TOKEN)
    t.equal((await get(token({}, fit))).statusCode, 200)
  })

t.test('a key that is not fit is no key, and those beside it are: no objects at all', async (t) => {
  const { token, get } = await world(t, ({ key }) => ({
    jwks: json({ keys: [null, 1, 'x', [], [key.jwk], {}, key.jwk] })
  }))
  t.equal((await get(token())).statusCode, 200)
})

t.test('a kid that two keys have is none’s', async (t) => {
  const [one, other] = [createKey(), createKey()]
  const { token, get } = await world(t, ({ key }) => ({
    jwks: json({ keys: [one.jwk, { ...other.jwk, kid: one.kid }, key.jwk] })
  }))
  for (const key of [one, { ...other, kid: one.kid }]) t.strictSame(answer(await get(token({}, key))), INVALID_TOKEN)
  t.equal((await get(token())).statusCode, 200)
})

t.test('a shared secret in a JWKS is no key', async (t) => {
  const secret = { kty: 'oct', k: 'c2VjcmV0', kid: 'A'.repeat(43), alg: 'HS256', use: 'sig' }
  const { token, get, key } = await world(t, ({ key }) => ({ jwks: json({ keys: [secret, key.jwk] }) }))
  for (const alg of ['HS256', 'ES256'])
    t.strictSame(answer(await get(token({}, { ...key, kid: secret.kid, alg } as Key))), INVALID_TOKEN)
})

t.test('the names of prototypes are no kids', async (t) => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
  const { claims, get, key } = await world(t, ({ key }) => ({
    jwks: json(`{"keys":[${names.map((kid) => JSON.stringify({ ...key.jwk, kid }))}],"__proto__":{"x":1}}`)
  }))
  for (const kid of names) t.strictSame(answer(await get(signed({ ...key, kid }, claims()))), INVALID_TOKEN)
})

t.test('a JWKS of a hundred keys is read, one of more is none', async (t) => {
  const many = Array.from({ length: 101 }, () => createKey())
  const jwks = (count: number) => ({ jwks: json({ keys: many.slice(0, count).map(({ jwk }) => jwk) }) })
  const fits = await world(t, () => jwks(100))
  t.equal((await fits.get(fits.token({}, many[99]))).statusCode, 200)
  const { get, token } = await world(t, () => jwks(101))
  t.strictSame(answer(await get(token({}, many[0]))), UNAVAILABLE)
})

t.test('metadata and keys are fetched once, however many ask at the same time', async (t) => {
  const { get, token, count } = await world(t)
  const responses = await Promise.all(Array.from({ length: 200 }, () => get(token())))
  t.ok(responses.every(({ statusCode }) => statusCode === 200))
  for (let n = 0; n < 20; n++) await get(token())
  t.strictSame([count('.well-known'), count('jwks')], [1, 1])
})

t.test(
  'the issuer is asked five times a second at most for keys that are not known, however many tokens name them [JW4]',
  async (t) => {
    const { get, token, count, claims, key } = await world(t)
    t.equal((await get(token())).statusCode, 200)
    const unknown = () => signed({ ...key, kid: createKey().kid }, claims())
    const before = performance.now()
    for (let round = 0; round < 5; round++) {
      const responses = await Promise.all(Array.from({ length: 20 }, () => get(unknown())))
      for (const response of responses) t.strictSame(answer(response), INVALID_TOKEN)
    }
    t.ok(count('jwks') <= 2 + (performance.now() - before) / 200, `${count('jwks')} times`)
    t.equal((await get(token())).statusCode, 200)
  }
)

t.test('a thousand tokens wait for keys that are not known, the next is refused at once', async (t) => {
  const { get, token, key, claims, responders } = await world(t)
  t.equal((await get(token())).statusCode, 200)
  const held = Promise.withResolvers<void>()
  const good = responders.jwks as (typeof responders)[string]
  responders.jwks = async (request, response) => {
    await held.promise
    return good(request, response)
  }
  const unknown = signed({ ...key, kid: createKey().kid }, claims())
  const waiting = Promise.all(Array.from({ length: 1000 }, () => get(unknown)))
  await sleep(300)
  t.strictSame(answer(await get(unknown)), INVALID_TOKEN)
  held.resolve()
  t.ok((await waiting).every(({ statusCode }) => statusCode === 401))
})

t.test('a key that is new is found by the first token that names it, one that is gone is dropped', async (t) => {
  const { get, token, key, responders } = await world(t)
  const [before, other] = [token(), createKey()]
  t.equal((await get(before)).statusCode, 200)
  responders.jwks = json({ keys: [other.jwk] })
  t.equal((await get(before)).statusCode, 200)
  t.equal((await get(token({}, other))).statusCode, 200)
  for (const each of [before, token({}, key)]) t.strictSame(answer(await get(each)), INVALID_TOKEN)
})

t.test('another key under the same kid takes the place of the first, also for tokens that were good', async (t) => {
  const { get, token, key, responders, claims } = await world(t)
  const before = token()
  t.equal((await get(before)).statusCode, 200)
  const other = { ...createKey(), kid: key.kid }
  responders.jwks = json({ keys: [{ ...other.jwk, kid: key.kid }] })
  ahead += 300_000
  await get(before)
  await sleep(100)
  t.strictSame(answer(await get(before)), INVALID_TOKEN)
  t.equal((await get(signed(other, claims()))).statusCode, 200)
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
  t.test(`keys are kept for as long as the issuer says: ${header}`, async (t) => {
    const { get, token, count } = await world(t, ({ key }) => ({
      jwks: json({ keys: [key.jwk] }, header === undefined ? {} : { 'cache-control': header })
    }))
    t.equal((await get(token())).statusCode, 200)
    ahead += seconds * 1000 - 500
    t.equal((await get(token())).statusCode, 200)
    await sleep(30)
    t.equal(count('jwks'), 1)
    ahead += 500
    // What is there is used while the new ones are fetched.
    t.equal((await get(token())).statusCode, 200)
    await sleep(100)
    t.equal((await get(token())).statusCode, 200)
    t.equal(count('jwks'), 2)
  })

t.test(
  'keys are good for an hour after the issuer was last asked for them in time, then nobody is let in',
  async (t) => {
    const { get, token, count, responders, key } = await world(t)
    const warm = token()
    t.equal((await get(warm)).statusCode, 200)
    responders.jwks = json({}, {}, 500)
    ahead += 300_000 + 3_600_000 - 1000
    for (const each of [warm, token()]) t.equal((await get(each)).statusCode, 200)
    await sleep(50)
    ahead += 1000
    for (const each of [warm, token()]) {
      t.strictSame(answer(await get(each)), UNAVAILABLE)
      t.strictSame(answer(await get(each)), UNAVAILABLE)
    }
    const asked = count('jwks')
    await Promise.all(Array.from({ length: 50 }, () => get(token())))
    t.ok(count('jwks') - asked <= 2)
    responders.jwks = json({ keys: [key.jwk] })
    ahead += 1000
    for (const each of [warm, token()]) t.equal((await get(each)).statusCode, 200)
  }
)

t.test('a key that is not known while the issuer cannot be asked is nobody’s fault', async (t) => {
  const { get, token, responders, key } = await world(t)
  const other = createKey()
  t.equal((await get(token())).statusCode, 200)
  responders.jwks = json({}, {}, 500)
  ahead += 1000
  t.strictSame(answer(await get(token({}, other))), UNAVAILABLE)
  t.strictSame(answer(await get(token({}, other))), UNAVAILABLE, 'nor when it is asked again')
  t.equal((await get(token())).statusCode, 200)
  responders.jwks = json({ keys: [key.jwk, other.jwk] })
  ahead += 1000
  t.equal((await get(token({}, other))).statusCode, 200)
})

t.test('a JWKS that became garbage does no harm to the keys that are known', async (t) => {
  for (const [what, responder] of USELESS) {
    const { get, token, responders } = await world(t)
    t.equal((await get(token())).statusCode, 200)
    responders.jwks = responder
    ahead += 301_000
    t.equal((await get(token())).statusCode, 200, what)
    await sleep(30)
    t.equal((await get(token())).statusCode, 200, what)
  }
})

t.test('an issuer under a path is asked where RFC 8414 says', async (t) => {
  const planted = await plantIssuer(t, '/auth')
  const { issuer, clock, token, requests } = planted
  const { status } = await serve(t, { issuer, audience: AUDIENCE, revocation: 'none', clock })
  t.equal(await status(token()), 200)
  t.strictSame(requests, ['/.well-known/oauth-authorization-server/auth', '/auth/jwks'])
})
