import { deepStrictEqual, ok } from 'node:assert/strict'
import { constants, createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign as signBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { decodeJwt, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { alive, type Content, encode, es256 } from '../forge.ts'
import { build, createDatabase, type Database, ISSUER, onEachDatabase, onOneDatabase, type TestApp } from '../helper.ts'
import { mutation } from '../mutations.ts'
import { sql } from '../sql.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Every endpoint that asks who the client is, with a form that it takes. */
const ENDPOINTS: Record<string, Record<string, string>> = {
  '/token': { grant_type: 'client_credentials' },
  '/revoke': { token: 'x' },
  '/introspect': { token: 'x' }
}
const IN = 'let in'
const invalidRequest = (error_description: string) => ({
  status: 400,
  challenge: undefined,
  cache: 'no-store',
  body: { error: 'invalid_request', error_description }
})
const FAILED = {
  status: 401,
  challenge: 'Basic realm="latchkey"',
  cache: 'no-store',
  body: { error: 'invalid_client', error_description: 'Client authentication failed' }
}
const TWO_METHODS = invalidRequest('The client authenticates by more than one method')

type Form = Record<string, string>
const base64 = (text: string) => Buffer.from(text).toString('base64')
const basic = (id: string, secret: string) => ({ authorization: `Basic ${base64(`${id}:${secret}`)}` })
/** As oauth4webapi and openid-client write it: what RFC 6749 appendix B says, and more. */
const formEncoded = (text: string) =>
  encodeURIComponent(text).replace(/%20|[-_.!~*'()]/g, (c) =>
    c === '%20' ? '+' : `%${c.charCodeAt(0).toString(16).toUpperCase()}`
  )

const SIGN = {
  ES256: es256,
  EdDSA: (input: string, key: KeyObject) => signBytes(null, Buffer.from(input), key),
  RS256: (input: string, key: KeyObject) => signBytes('sha256', Buffer.from(input), key),
  PS256: (input: string, key: KeyObject) =>
    signBytes('sha256', Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
}
type Alg = keyof typeof SIGN
const ALGS = Object.keys(SIGN) as Alg[]

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
const PAIRS = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
  RS256: rsa(),
  PS256: rsa()
}
const OTHER = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = (key: KeyObject, more: object = {}) => ({ ...key.export({ format: 'jwk' }), ...more })
/** One key of each kind, named like its algorithm. */
const JWKS = { keys: ALGS.map((alg) => jwk(PAIRS[alg].publicKey, { alg, kid: alg, use: 'sig' })) }

/** An app with the clients `secret`, `keys` (all four keys), `other` (a key without kid) and `app` (public), which may do all they can. */
async function open(t: Test, options: { database?: Database; at?: { url: string; dataDir: string } } = {}) {
  const world = await build(t, options)
  const { clients, resources } = world.app.auth
  const may = {
    grantTypes: ['client_credentials'],
    scopes: ['tokens:introspect'],
    defaultScopes: ['tokens:introspect']
  }
  const add = async (id: string, more: Partial<NewClient> = {}) =>
    (await clients.create(OPERATOR, { id, name: id, ...may, ...more })).secret as string
  const secret = await add('secret')
  const byKey = { method: 'private_key_jwt' as const }
  await add('keys', { ...byKey, jwks: JWKS })
  await add('other', { ...byKey, jwks: { keys: [jwk(OTHER.publicKey)] } })
  await clients.create(OPERATOR, { id: 'app', name: 'app', method: 'none' })
  await resources.change(OPERATOR, 'latchkey', { introspectionClients: ['secret', 'keys', 'other'] })
  return { ...world, add, secret, ...asking(world) }
}

function asking({ inject, clock }: Pick<TestApp, 'inject' | 'clock'>) {
  const post = async (url: string, form: Form | string, headers: Form = {}) => {
    const payload = typeof form === 'string' ? form : new URLSearchParams(form).toString()
    const type = { 'content-type': 'application/x-www-form-urlencoded' }
    const response = await inject({ method: 'POST', url, headers: { ...type, ...headers }, payload })
    const { statusCode: status, headers: got, body } = response
    if (status === 200) return IN
    return {
      status,
      challenge: got['www-authenticate'],
      cache: got['cache-control'],
      body: JSON.parse(body)
    }
  }
  /** What every endpoint answers to a client that shows itself so; an assertion, which is good once, is made for each. */
  const everywhere = async (form: Form | (() => Form | Promise<Form>), headers: Form = {}) => {
    const answers: Record<string, unknown> = {}
    for (const [url, own] of Object.entries(ENDPOINTS))
      answers[url] = await post(url, { ...own, ...(typeof form === 'function' ? await form() : form) }, headers)
    return answers
  }
  const now = () => clock.now() / 1000
  const claims = (more: object = {}): Record<string, unknown> => ({
    iss: 'keys',
    sub: 'keys',
    aud: ISSUER,
    exp: now() + 60,
    iat: now(),
    jti: randomUUID(),
    ...more
  })
  /** A good assertion of the client `keys`, as a library makes it. */
  const assert = (alg: Alg = 'ES256', more: object = {}) =>
    new SignJWT(claims(more)).setProtectedHeader({ alg, kid: alg }).sign(PAIRS[alg].privateKey)
  /** Any header and payload, rightly signed with the key of that kind; what is an object is laid over the good one. */
  const signed = (
    head: object | string = {},
    payload: Content = {},
    alg: Alg = 'ES256',
    key = PAIRS[alg].privateKey
  ) => {
    const header = typeof head === 'string' ? head : encode({ alg, kid: alg, ...head })
    const plain = typeof payload === 'object' && !Array.isArray(payload) && !Buffer.isBuffer(payload)
    const input = `${header}.${encode(plain ? claims(payload) : payload)}`
    return `${input}.${SIGN[alg](input, key).toString('base64url')}`
  }
  return { post, everywhere, now, claims, assert, signed }
}

const form = (assertion: string, more: Form = {}): Form => ({
  client_assertion_type: TYPE,
  client_assertion: assertion,
  ...more
})
const all = (answer: unknown) => Object.fromEntries(Object.keys(ENDPOINTS).map((url) => [url, answer]))

onOneDatabase(t, 'client_secret_basic, form-encoded and raw, and client_secret_post [CA4]', async (t, database) => {
  const { everywhere, add, app, post } = await open(t, { database })
  const encodedOnly = ['a:b', ':', 'x:y+z%~:', '%3A:']
  const ids = [
    'plain',
    'a+b',
    'a%b',
    '100%25',
    'a~b',
    'a+b%~c',
    "-_.!~*'()",
    '%zz',
    '%2B',
    '+',
    'é'.length ? '/?#[]@' : ''
  ]
  await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: [] })
  for (const id of [...ids, ...encodedOnly]) {
    const secret = await add(id)
    t.strictSame(await everywhere({ client_id: id, client_secret: secret }), all(IN), `${id} in the form`)
    const encoded = basic(formEncoded(id), formEncoded(secret))
    t.strictSame(await everywhere({}, encoded), all(IN), `${id} form-encoded`)
    t.strictSame(await everywhere({ client_id: id }, encoded), all(IN), `${id} form-encoded, and client_id`)
    t.strictSame(await everywhere({}, basic(encodeURIComponent(id), secret)), all(IN), `${id} percent-encoded`)
    const raw = await post('/token', ENDPOINTS['/token'] as Form, basic(id, secret))
    t.strictSame(raw, encodedOnly.includes(id) ? FAILED : IN, `${id} raw, as curl and python-requests send it`)
    t.strictSame(await everywhere({ client_id: id, client_secret: `${secret}x` }), all(FAILED))
    t.strictSame(await everywhere({}, basic(formEncoded(id), `${secret}x`)), all(FAILED))
  }
})

t.test('an id that can be read in two ways is whosever secret it comes with [CA4]', async (t) => {
  const { inject, add } = await open(t)
  const secrets = { 'a%2Bb': await add('a%2Bb'), 'a+b': await add('a+b') }
  for (const [id, secret] of Object.entries(secrets)) {
    const response = await inject({
      method: 'POST',
      url: '/token',
      headers: { ...basic('a%2Bb', secret), 'content-type': 'application/x-www-form-urlencoded' },
      payload: 'grant_type=client_credentials'
    })
    t.equal(decodeJwt(response.json().access_token).sub, id)
  }
})

onOneDatabase(t, 'whoever does not authenticate is refused in one way [CA1 CA2 CA5]', async (t, database) => {
  const { everywhere, secret, add, app } = await open(t, { database })
  const second = await add('second')
  const ways: [what: string, form: Form, headers?: Form][] = [
    ['a wrong secret', { client_id: 'secret', client_secret: 'lks_wrong' }],
    ['another’s secret', { client_id: 'secret', client_secret: second }],
    ['the secret in another case', { client_id: 'secret', client_secret: secret.toLowerCase() }],
    ['half of the secret', { client_id: 'secret', client_secret: secret.slice(0, 20) }],
    ['the secret with a space', { client_id: 'secret', client_secret: `${secret} ` }],
    ['the id in another case', { client_id: 'SECRET', client_secret: secret }],
    ['an unknown client', { client_id: 'nobody', client_secret: secret }],
    ['a public client with a secret', { client_id: 'app', client_secret: secret }],
    ['a client with keys and a secret', { client_id: 'keys', client_secret: secret }],
    ['no secret', { client_id: 'secret' }],
    ['no secret, of a client with keys', { client_id: 'keys' }],
    ['no id', { client_secret: secret }],
    ['no secret in Basic', {}, basic('secret', '')],
    ['a wrong secret in Basic', {}, basic('secret', 'lks_wrong')],
    ['no id in Basic', {}, basic('', secret)],
    ['an unknown client in Basic', {}, basic('nobody', secret)],
    ['the secret encoded twice', {}, basic('secret', formEncoded(formEncoded(secret)))],
    ['a very long id', { client_id: 'x'.repeat(8000), client_secret: secret }],
    ['a very long secret', { client_id: 'secret', client_secret: secret.repeat(150) }]
  ]
  const malformed = [
    'Basic',
    'Basic ',
    'Basic !',
    `Basic ${base64('secret')}`,
    `Basic ${base64(`secret:${secret}`)} x`,
    `Basic ${base64(`secret:${secret}`)},Basic Og==`,
    `Basic x${base64(`secret:${secret}`)}`,
    `Basic secret:${secret}`,
    `Bearer ${base64(`secret:${secret}`)}`,
    `Digest username="secret", response="${secret}"`,
    `Basic ${base64(`sec\0ret:${secret}`)}`,
    `Basic ${base64(`sec%00ret:${secret}`)}`,
    `Basic ${Buffer.from([0xff, 0x3a, 0x78]).toString('base64')}`
  ]
  for (const [what, given, headers] of ways) t.strictSame(await everywhere(given, headers), all(FAILED), what)
  for (const authorization of malformed)
    t.strictSame(await everywhere({}, { authorization }), all(FAILED), JSON.stringify(authorization))
  t.strictSame(await everywhere({ client_id: 'secret', client_secret: secret }), all(IN))
  await app.auth.clients.change(OPERATOR, 'secret', { disabled: true })
  t.strictSame(await everywhere({ client_id: 'secret', client_secret: secret }), all(FAILED), 'a disabled one')
  t.strictSame(await everywhere({}, basic('secret', secret)), all(FAILED))
})

t.test('a client that names nobody is that of /docs where users log in, and nobody elsewhere [CA5]', async (t) => {
  const { everywhere } = await open(t)
  for (const [given, headers] of [
    [{}, {}],
    [{ client_id: '', client_secret: '', client_assertion: '', client_assertion_type: '' }, {}],
    [{}, { authorization: 'Basic Og==' }]
  ] as [Form, Form][])
    t.strictSame(await everywhere(given, headers), { '/token': FAILED, '/revoke': IN, '/introspect': FAILED })
})

t.test('a public client names itself, and cannot introspect', async (t) => {
  const { everywhere } = await open(t)
  const unauthorized = {
    ...invalidRequest('The client may not use this grant type'),
    body: { error: 'unauthorized_client', error_description: 'The client may not use this grant type' }
  }
  const expected = { '/token': unauthorized, '/revoke': IN, '/introspect': FAILED }
  t.strictSame(await everywhere({ client_id: 'app' }), expected)
  t.strictSame(await everywhere({}, basic('app', '')), expected)
})

t.test('two methods at once are refused, also two good ones [CA3]', async (t) => {
  const { everywhere, secret, assert } = await open(t)
  const both: [what: string, form: () => Form | Promise<Form>, headers?: Form][] = [
    ['Basic and a secret', () => ({ client_secret: secret }), basic('secret', secret)],
    ['Basic, id and secret', () => ({ client_id: 'secret', client_secret: secret }), basic('secret', secret)],
    ['a public client in Basic and a secret', () => ({ client_secret: secret }), basic('app', '')],
    ['Basic and an assertion', async () => form(await assert()), basic('secret', secret)],
    ['Basic and the type alone', () => ({ client_assertion_type: TYPE }), basic('secret', secret)],
    ['Basic and an assertion alone', async () => ({ client_assertion: await assert() }), basic('secret', secret)],
    ['a secret and an assertion', async () => form(await assert(), { client_secret: secret })],
    ['a secret and the type alone', () => ({ client_secret: secret, client_assertion_type: TYPE })],
    ['all three', async () => form(await assert(), { client_secret: secret }), basic('secret', secret)]
  ]
  for (const [what, given, headers] of both) t.strictSame(await everywhere(given, headers), all(TWO_METHODS), what)
  t.strictSame(await everywhere(async () => form(await assert()), { authorization: 'Basic Og==' }), all(IN), 'blank')
})

t.test('ids that differ, and half of an assertion, are refused [CA3]', async (t) => {
  const { everywhere, post, secret, assert } = await open(t)
  const mismatch = all(invalidRequest('The client_id is not the one of the Authorization header'))
  for (const client_id of ['app', 'SECRET', 'secret ', 'nobody'])
    t.strictSame(await everywhere({ client_id }, basic('secret', secret)), mismatch, client_id)
  const other = all(invalidRequest('The client_id is not the one of the client_assertion'))
  for (const client_id of ['secret', 'KEYS', 'other', 'nobody'])
    t.strictSame(await everywhere(async () => form(await assert(), { client_id })), other, client_id)
  t.strictSame(await everywhere(async () => form(await assert(), { client_id: 'keys' })), all(IN))

  const half = all(invalidRequest('client_assertion and client_assertion_type come together'))
  t.strictSame(await everywhere(async () => ({ client_assertion: await assert() })), half)
  t.strictSame(await everywhere({ client_assertion_type: TYPE }), half)
  t.strictSame(await everywhere({ client_assertion_type: TYPE, client_assertion: '', client_id: 'keys' }), half)
  for (const type of [
    'urn:ietf:params:oauth:client-assertion-type:saml2-bearer',
    TYPE.toUpperCase(),
    `${TYPE} `,
    'jwt'
  ])
    t.strictSame(await everywhere(async () => form(await assert(), { client_assertion_type: type })), all(FAILED), type)
  const twice = `${new URLSearchParams({ ...ENDPOINTS['/token'], ...form(await assert()) })}&client_assertion=x`
  t.strictSame(await post('/token', twice), invalidRequest('A parameter is repeated'))
})

for (const alg of ALGS)
  onOneDatabase(t, `an assertion signed by ${alg} authenticates its client [CA8]`, async (t, database) => {
    const { everywhere, assert, inject, signed, claims } = await open(t, { database })
    t.strictSame(await everywhere(async () => form(await assert(alg))), all(IN))
    t.strictSame(await everywhere(() => form(signed({}, {}, alg))), all(IN), 'as these tests sign')
    t.strictSame(await everywhere(() => form(signed({ kid: undefined }, {}, alg))), all(IN), 'without kid')
    t.strictSame(await everywhere(() => form(signed({ typ: 'client-authentication+jwt' }, {}, alg))), all(IN))
    const spaced = JSON.stringify(claims(), null, 2)
    t.strictSame(
      await everywhere(() => form(signed({}, spaced.replace(/"jti.*/, `"jti": "${randomUUID()}"`), alg))),
      all(IN)
    )
    const payload = new URLSearchParams({ ...ENDPOINTS['/token'], ...form(await assert(alg)) }).toString()
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const response = await inject({ method: 'POST', url: '/token', headers, payload })
    t.match(decodeJwt(response.json().access_token), { sub: 'keys', client_id: 'keys' })
  })

t.test('a key without kid is found whatever kid is named, and only for its client [CA8]', async (t) => {
  const { everywhere, signed } = await open(t)
  const other = { iss: 'other', sub: 'other' }
  for (const kid of [undefined, 'any', 'ES256'])
    t.strictSame(await everywhere(() => form(signed({ kid }, other, 'ES256', OTHER.privateKey))), all(IN))
  t.strictSame(await everywhere(() => form(signed({}, {}, 'ES256', OTHER.privateKey))), all(FAILED))
  t.strictSame(await everywhere(() => form(signed({}, other))), all(FAILED))
})

onOneDatabase(t, 'what an assertion may say, to its limits [CA8]', async (t, database) => {
  const { everywhere, signed, now } = await open(t, { database })
  for (const [what, more] of [
    ['exp a second ahead', { exp: now() + 1 }],
    ['exp five minutes and the skew ahead', { exp: now() + 305 }],
    ['exp with a fraction (RFC 7519 §2)', { exp: now() + 60.25 }],
    ['exp with a fraction of a millisecond', { exp: now() + 60.12345 }],
    ['iat and nbf ahead by the skew', { iat: now() + 5, nbf: now() + 5 }],
    ['iat and nbf long ago', { iat: 0, nbf: 0 }],
    ['no iat', { iat: undefined }],
    ['other claims', { scope: 'x', roles: ['admin'], client_id: 'docs', __proto__: 1 }]
  ] as const)
    t.strictSame(await everywhere(() => form(signed({}, more))), all(IN), what)
  let one = 0
  const long = () => form(signed({}, { jti: String(one++).padEnd(255, 'x') }))
  t.strictSame(await everywhere(long), all(IN), 'a jti of 255 characters')
  t.strictSame(await everywhere(() => form(signed({}, { jti: `\0\u00e9\ud800${one++}` }))), all(IN), 'an odd jti')
})

/** Everything about an assertion that can be wrong, one thing at a time. */
function forgeries(world: ReturnType<typeof asking>, accessTokens: string[]): [name: string, make: () => string][] {
  const { signed, claims, now } = world
  const odd = [undefined, null, 0, 1, true, '', [], {}]
  const wrong = (name: string, values: unknown[]): [string, () => string][] =>
    values.map((value) => [`${name} ${JSON.stringify(value) ?? 'missing'}`, () => signed({}, { [name]: value })])
  const raw = (name: string, literal: string): [string, () => string] => [
    `${name} ${literal}`,
    () => signed({}, JSON.stringify(claims({ [name]: '@' })).replace('"@"', literal))
  ]
  /** The good claims under any header, with any signature. */
  const by = (head: object, sign: (input: string) => string): string => {
    const input = `${encode({ kid: 'ES256', ...head })}.${encode(claims())}`
    return `${input}.${sign(input)}`
  }
  const NONE = ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'none\0', 'null', '', '__proto__', null, 0, [], {}]
  const publicKeys = ALGS.flatMap((alg): [string, string | Buffer][] => {
    const key = PAIRS[alg].publicKey
    const pem = key.export({ type: 'spki', format: 'pem' }) as string
    const der = key.export({ type: 'spki', format: 'der' })
    const exported = key.export({ format: 'jwk' })
    return [
      ['PEM', pem],
      ['PEM trimmed', pem.trim()],
      ['PEM in one line', pem.replaceAll('\n', '')],
      ['PEM with CRLF', pem.replaceAll('\n', '\r\n')],
      ['base64 of the DER', der.toString('base64')],
      ['DER', der],
      ['JWK', JSON.stringify(exported)],
      ['JWK as registered', JSON.stringify(JWKS.keys.find((each) => 'kid' in each && each.kid === alg))],
      ['JWKS', JSON.stringify(JWKS)],
      ['coordinate or modulus', Buffer.from((exported.x ?? exported.n) as string, 'base64url')],
      ['kid', alg]
    ].map(([name, bytes]) => [`the ${alg} key as ${name}`, bytes as string])
  })
  const hmac = (alg: string, secret: string | Buffer) => (input: string) =>
    createHmac(`sha${alg.slice(2)}`, secret)
      .update(input)
      .digest('base64url')
  const crossed = ALGS.flatMap((said) =>
    ALGS.filter((used) => used !== said).flatMap((used): [string, () => string][] => {
      const sign = (input: string) => SIGN[used](input, PAIRS[used].privateKey).toString('base64url')
      return [
        [`alg ${said} over a signature by ${used}`, () => by({ alg: said, kid: said }, sign)],
        [`alg ${said} under the kid ${used}`, () => by({ alg: said, kid: used }, sign)],
        [`alg ${used} under the kid ${said}`, () => by({ alg: used, kid: said }, sign)],
        [`alg ${said} over ${used}, without kid`, () => by({ alg: said, kid: undefined }, sign)]
      ]
    })
  )
  const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const stranger = (head: object) => () => signed(head, {}, 'ES256', attacker.privateKey)
  const tail = (change: (signature: string) => string) => () => {
    const [head, payload, signature = ''] = signed().split('.')
    return `${head}.${payload}.${change(signature)}`
  }
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  /** The last character of 64 bytes holds four bits that count for nothing. */
  const twin = (text: string) => text.slice(0, -1) + ALPHABET[ALPHABET.indexOf(text.slice(-1)) ^ 1]
  const inOtherBase64 = (which: number, change: (segment: string) => string) => () => {
    const parts = [encode({ alg: 'ES256', kid: 'ES256', x: '???>>>' }), encode(claims({ x: '???>>>~' }))]
    parts[which] = change(parts[which] as string)
    const input = parts.join('.')
    return `${input}.${es256(input, PAIRS.ES256.privateKey).toString('base64url')}`
  }

  return [
    ...NONE.flatMap((alg): [string, () => string][] => [
      [`alg ${JSON.stringify(alg)} without signature`, () => by({ alg }, () => '')],
      [`alg ${JSON.stringify(alg)} with a good signature`, () => signed({ alg })]
    ]),
    ['alg missing', () => signed({ alg: undefined })],
    ['no signature', tail(() => '')],
    ...publicKeys.flatMap(([name, secret]): [string, () => string][] => [
      [`HS256 keyed with ${name}`, () => by({ alg: 'HS256' }, hmac('HS256', secret))],
      [`HS512 keyed with ${name}, without kid`, () => by({ alg: 'HS512', kid: undefined }, hmac('HS512', secret))],
      [`HS256 keyed with ${name}, said to be ES256`, () => by({ alg: 'ES256' }, hmac('HS256', secret))]
    ]),
    ...['', '\0', 'secret'].map((secret): [string, () => string] => [
      `HS256 with the secret ${JSON.stringify(secret)}`,
      () => by({ alg: 'HS256' }, hmac('HS256', secret))
    ]),
    ...crossed,
    ...['es256', 'ES256 ', 'ES384', 'ES256K', 'Ed25519', 'RS1', 'RS512', 'PS512'].map((alg): [string, () => string] => [
      `alg ${alg}`,
      () => signed({ alg })
    ]),
    ['PS256 with the key for RS256', () => signed({ kid: 'RS256' }, {}, 'PS256', PAIRS.RS256.privateKey)],
    ['RS256 with the key for PS256', () => signed({ kid: undefined }, {}, 'RS256', PAIRS.PS256.privateKey)],
    ...[
      'unknown',
      '',
      'es256',
      'ES256\0',
      '../../dev/null',
      "' or 1=1 --",
      '__proto__',
      'x'.repeat(3000),
      null,
      1,
      [],
      {}
    ].map((kid): [string, () => string] => [`kid ${JSON.stringify(kid)?.slice(0, 40)}`, () => signed({ kid })]),
    ['a stranger’s key', stranger({})],
    ['a stranger’s key without kid', stranger({ kid: undefined })],
    ['an embedded jwk', stranger({ jwk: jwk(attacker.publicKey) })],
    ['an embedded jwk without kid', stranger({ kid: undefined, jwk: jwk(attacker.publicKey) })],
    ['an embedded jwk of our name', stranger({ jwk: jwk(attacker.publicKey, { kid: 'ES256', alg: 'ES256' }) })],
    ['x5c', stranger({ x5c: [attacker.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] })],
    ...[['exp'], ['b64'], ['x'], [], 'exp', null, 0].map((crit): [string, () => string] => [
      `crit ${JSON.stringify(crit)}`,
      () => signed({ crit, x: 1 })
    ]),
    ...[true, false, null, 'false'].map((b64): [string, () => string] => [`b64 ${b64}`, () => signed({ b64 })]),
    ...wrong('aud', [
      ...odd,
      [ISSUER],
      [ISSUER, `${ISSUER}/token`],
      [[ISSUER]],
      `${ISSUER}/`,
      `${ISSUER}/token`,
      `${ISSUER}/introspect`,
      ISSUER.toUpperCase(),
      ISSUER.replace('http:', 'https:'),
      ` ${ISSUER}`,
      'https://other.example'
    ]),
    ...wrong('iss', [...odd, ['keys'], 'other', 'secret', 'nobody', 'KEYS', 'keys ', ISSUER]),
    ...wrong('sub', [
      ...odd,
      ['keys'],
      'other',
      'secret',
      'nobody',
      'KEYS',
      'keys ',
      'keys\0',
      ISSUER,
      'x'.repeat(300)
    ]),
    ...['other', 'secret', 'app', 'docs', 'nobody', 'keys\0', '\ud800', '', 'x'.repeat(4000)].map(
      (id): [string, () => string] => [
        `iss and sub ${JSON.stringify(id).slice(0, 20)}`,
        () => signed({}, { iss: id, sub: id })
      ]
    ),
    ...wrong('exp', [...odd, now(), now() - 1, now() + 305.001, now() + 306, now() + 3600, -1, 2 ** 53, 1e300]),
    ...wrong('exp', [
      `${now() + 60}`,
      [now() + 60],
      { value: now() + 60 },
      '2026-01-01T12:01:00Z',
      (now() + 60) * 1000
    ]),
    ...['1e400', '-1e400', '-0', '1e-400', '0.1e1'].map((literal) => raw('exp', literal)),
    ...['iat', 'nbf'].flatMap((name) => [
      ...wrong(name, [null, true, '', [], {}, now() + 5.001, now() + 6, now() + 60, `${now()}`, [now()], 1e300]),
      raw(name, '1e400')
    ]),
    ...wrong('jti', [...odd, 'x'.repeat(256), 'x'.repeat(4000), ['x']]),
    ...['[]', 'null', '"keys"', '1', 'true', '', '{', '{}', '[{}]', 'keys', '{"a":1}}'].map(
      (text): [string, () => string] => [`the payload ${text}`, () => signed({}, text)]
    ),
    ['claims in an array', () => signed({}, [claims()])],
    ['a payload of bad UTF-8', () => signed({}, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))],
    ['a payload with a byte order mark', () => signed({}, `\ufeff${JSON.stringify(claims())}`)],
    ...['[]', 'null', '"ES256"', '1', '', '{', '{}'].map((text): [string, () => string] => [
      `the header ${text}`,
      () => signed(encode(text))
    ]),
    ['a good one in upper case', () => signed().toUpperCase()],
    ['two segments', () => signed().split('.').slice(0, 2).join('.')],
    ['four segments', () => `${signed()}.`],
    ['five segments', () => `${signed()}.x.y`],
    ['an empty segment before', () => `.${signed()}`],
    ['segments in another order', () => signed().split('.').reverse().join('.')],
    ['dots', () => '..'],
    ['one dot', () => '.'],
    ['a word', () => 'x'],
    ['words', () => 'a.b.c'],
    ['a space before', () => ` ${signed()}`],
    ['a space after', () => `${signed()} `],
    ['a line end after', () => `${signed()}\n`],
    ['a line end inside', () => signed().replace('.', '.\n')],
    ['padding', () => `${signed()}==`],
    ['a signature whose last bits are others', tail(twin)],
    ['a signature with a character more', tail((text) => `${text}A`)],
    ['a signature twice', tail((text) => text + text)],
    ['a signature of zeros', tail(() => Buffer.alloc(64).toString('base64url'))],
    [
      'a signature in DER',
      () => {
        const input = `${encode({ alg: 'ES256', kid: 'ES256' })}.${encode(claims())}`
        return `${input}.${signBytes('sha256', Buffer.from(input), PAIRS.ES256.privateKey).toString('base64url')}`
      }
    ],
    ['a signature in plain base64', tail((text) => `${text.replaceAll('-', '+').replaceAll('_', '/')}+`)],
    ...[0, 1].flatMap((which): [string, () => string][] => [
      [
        `base64 and not base64url in segment ${which}`,
        inOtherBase64(which, (text) => Buffer.from(text, 'base64url').toString('base64').replaceAll('=', ''))
      ],
      [
        `padding in segment ${which}`,
        inOtherBase64(which, (text) =>
          Buffer.from(`${Buffer.from(text, 'base64url')} `)
            .toString('base64')
            .padEnd(4, '=')
        )
      ],
      [`a space in segment ${which}`, inOtherBase64(which, (text) => `${text.slice(0, 8)} ${text.slice(8)}`)]
    ]),
    [
      '8193 characters',
      () => {
        const short = signed({}, { x: '' }).length
        return signed({}, { x: 'x'.repeat(Math.ceil(((8193 - short) * 3) / 4) + 2) })
      }
    ],
    ...accessTokens.map((token, index): [string, () => string] => [`an access token of ours, ${index}`, () => token])
  ]
}

t.test('whatever is wrong about an assertion, it is refused in one way [CA8]', async (t) => {
  const world = await open(t)
  const { everywhere, login, secret, token, assert } = world
  const own = await token({ grant_type: 'client_credentials', client_id: 'secret', client_secret: secret })
  const forged = forgeries(world, [await login('alice'), await login('admin'), own.json().access_token])
  t.ok(forged.length > 300, `${forged.length} forgeries`)
  for (const [name, make] of forged) t.strictSame(await everywhere(() => form(make())), all(FAILED), name)
  t.strictSame(await sql(world, 'select count(*) as n from client_assertions'), [{ n: 0 }], 'none has used up anything')
  t.strictSame(await everywhere(async () => form(await assert())), all(IN), 'a good one is good as ever')
  await alive(t, world)
})

t.test('an assertion of 1 MB is refused before it is read [CA8]', async (t) => {
  const world = await open(t)
  const { everywhere, signed } = world
  const tooLarge = { ...FAILED, status: 413, challenge: undefined }
  const body = { error: 'invalid_request', error_description: 'The body is too large' }
  const huge = signed({}, { x: 'x'.repeat(750_000) })
  for (const assertion of [huge, 'x'.repeat(1_000_000), '.'.repeat(1_000_000)])
    t.strictSame(await everywhere(form(assertion)), all({ ...tooLarge, body }))
  await alive(t, world)
})

t.test('an address in the header is never called [CA8]', async (t) => {
  const { everywhere, signed } = await open(t)
  let calls = 0
  const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ keys: [jwk(attacker.publicKey, { kid: 'ES256', alg: 'ES256' })] }))
  })
  server.on('connection', () => calls++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
  for (const head of [{ jku: url }, { x5u: url }, { jku: url, kid: url }, { kid: url }])
    t.strictSame(await everywhere(() => form(signed(head, {}, 'ES256', attacker.privateKey))), all(FAILED))
  t.equal(calls, 0)
})

onOneDatabase(t, 'an assertion is good once, at whatever endpoint [CA8]', async (t, database) => {
  const { assert, post, signed } = await open(t, { database })
  const urls = Object.keys(ENDPOINTS)
  for (const first of urls) {
    const assertion = await assert()
    const ask = (url: string) => post(url, { ...ENDPOINTS[url], ...form(assertion) })
    t.equal(await ask(first), IN)
    for (const url of urls) t.strictSame(await ask(url), FAILED, `first at ${first}, then at ${url}`)
  }
  const jti = 'the same'
  const token = (assertion: string) => post('/token', { ...ENDPOINTS['/token'], ...form(assertion) })
  t.equal(await token(signed({}, { jti })), IN)
  t.strictSame(await token(signed({}, { jti }, 'RS256')), FAILED, 'also in another assertion')
  const other = { iss: 'other', sub: 'other', jti }
  t.equal(await token(signed({ kid: undefined }, other, 'ES256', OTHER.privateKey)), IN, 'another client’s is another')
  t.strictSame(await token(signed({ kid: undefined }, other, 'ES256', OTHER.privateKey)), FAILED)
})

onEachDatabase(
  t,
  'of many requests at once with one assertion, on two instances, one is accepted [CA8]',
  async (t, database) => {
    const at = await createDatabase(t, database)
    const one = await open(t, { at })
    const two = asking(await build(t, { at }))
    for (let round = 0; round < Math.max(3, ROUNDS / 100); round++) {
      const given = { ...ENDPOINTS['/token'], ...form(await one.assert()) }
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? one : two).post('/token', given))
      )
      t.equal(answers.filter((answer) => answer === IN).length, 1)
      t.strictSame(
        answers.filter((answer) => answer !== IN),
        Array(15).fill(FAILED)
      )
    }
  }
)

onOneDatabase(t, 'what is remembered of an assertion outlives it, and goes alone [CA8]', async (t, database) => {
  const world = await open(t, { database })
  const { app, clock, now, post, signed } = world
  const token = (assertion: string) => post('/token', { ...ENDPOINTS['/token'], ...form(assertion) })
  const jti = 'the same'
  t.equal(await token(signed({}, { jti, exp: now() + 1 })), IN)
  const late = { iss: 'other', sub: 'other', jti, exp: now() + 300 }
  const live = signed({ kid: undefined }, late, 'ES256', OTHER.privateKey)
  t.equal(await token(live), IN)
  clock.advance(2)
  await app.auth.removeExpired()
  t.strictSame(await token(signed({}, { jti })), FAILED, 'an instance whose clock is behind could still take it')
  clock.advance(120)
  await app.auth.removeExpired()
  t.strictSame(await sql(world, 'select client_id from client_assertions'), [{ client_id: 'other' }])
  t.strictSame(await token(live), FAILED, 'another client’s, which is not over, is not forgotten with it')
  t.equal(await token(signed({}, { jti })), IN)
})

onOneDatabase(
  t,
  'a key that is taken away, or whose client is disabled, is refused at once [CA8 SC6]',
  async (t, database) => {
    const at = await createDatabase(t, database)
    const { app, assert, post, signed } = await open(t, { at })
    const two = asking(await build(t, { at }))
    const ask = (by: Pick<typeof two, 'post'>, assertion: string) =>
      by.post('/token', { ...ENDPOINTS['/token'], ...form(assertion) })
    t.strictSame([await ask({ post }, await assert()), await ask(two, await assert())], [IN, IN])
    await app.auth.clients.change(OPERATOR, 'keys', { jwks: { keys: JWKS.keys.slice(1) } })
    for (const each of [{ post }, two]) {
      t.strictSame(await ask(each, await assert('ES256')), FAILED)
      t.strictSame(await ask(each, signed({ kid: undefined })), FAILED)
      t.equal(await ask(each, await assert('EdDSA')), IN)
    }
    await app.auth.clients.change(OPERATOR, 'keys', { disabled: true })
    for (const each of [{ post }, two]) t.strictSame(await ask(each, await assert('EdDSA')), FAILED)
    await app.auth.clients.change(OPERATOR, 'keys', { disabled: false })
    t.equal(await ask(two, await assert('EdDSA')), IN)
    await app.auth.clients.change(OPERATOR, 'keys', { jwks: null })
    t.strictSame(await ask(two, await assert('EdDSA')), FAILED)
    await app.auth.clients.delete(OPERATOR, 'keys')
    t.strictSame(await ask(two, await assert('EdDSA')), FAILED)
  }
)

t.test('no shared secret, no private key and no weak one can be registered [JW3]', async (t) => {
  const world = await open(t)
  const { app } = world
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const good = jwk(PAIRS.ES256.publicKey)
  const bad: [what: string, key: unknown][] = [
    ['a shared secret', { kty: 'oct', k: 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0' }],
    ['a shared secret for ES256', { kty: 'oct', k: 'c2VjcmV0', alg: 'ES256' }],
    ['a private key', PAIRS.ES256.privateKey.export({ format: 'jwk' })],
    ['an RSA private key', PAIRS.RS256.privateKey.export({ format: 'jwk' })],
    ['RSA of 1024 bits', jwk(weak)],
    ['P-384', jwk(p384)],
    ['an alg that is another key’s', { ...good, alg: 'RS256' }],
    ['alg HS256', { ...good, alg: 'HS256' }],
    ['alg none', { ...good, alg: 'none' }],
    ['an encryption key', { ...good, use: 'enc' }],
    ['a key that may not verify', { ...good, key_ops: ['sign'] }],
    ['a point that is not on the curve', { ...good, y: good.x }],
    ['a kid that is no text', { ...good, kid: 1 }],
    ['nothing', {}],
    ['null', null],
    ['text', 'x']
  ]
  for (const [what, key] of bad)
    await t.rejects(app.auth.clients.change(OPERATOR, 'keys', { jwks: { keys: [key] } }), { code: 'invalid' }, what)
  const stored = await sql<{ jwks: string }>(world, "select jwks from clients where id = 'keys'")
  t.notMatch(stored[0]?.jwks, '"d"')
})

t.test('no assertion that differs from a good one in anything is let in, or a failure of ours [CA8]', async (t) => {
  t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)
  const world = await open(t)
  const { assert, post } = world
  const goods: Record<string, string> = {}
  for (const alg of ALGS) goods[alg] = await assert(alg)
  let refused = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...ALGS),
      fc.constantFrom(...Object.keys(ENDPOINTS)),
      async (mutations, alg, url) => {
        const good = goods[alg] as string
        const assertion = mutations.reduce((text, mutate) => mutate(text), good)
        fc.pre(assertion !== good)
        const answer = await post(url, { ...ENDPOINTS[url], ...form(assertion) })
        ok(answer !== IN, `let in: ${JSON.stringify(assertion)}`)
        if (answer.status === 401) {
          refused++
          deepStrictEqual(answer, FAILED)
        } else {
          // Nothing is left of it, or it is no text.
          ok(assertion === '' || assertion.includes('\0') || !assertion.isWellFormed(), JSON.stringify(assertion))
          deepStrictEqual([answer.status, answer.body.error], [400, 'invalid_request'])
        }
      }
    ),
    { numRuns: ROUNDS, seed }
  )
  t.ok(refused > ROUNDS * 0.8, `${refused} were judged`)
  for (const good of Object.values(goods))
    t.equal(await post('/token', { ...ENDPOINTS['/token'], ...form(good) }), IN, 'the good one is still unused')
  await alive(t, world)
})
