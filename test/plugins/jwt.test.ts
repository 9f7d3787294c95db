import crypto, {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes
} from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { mock } from 'node:test'
import fastify from 'fastify'
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import jwt from '../../plugins/jwt.ts'
import type { PublicKey, SigningAlg } from '../../src/domain/model.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { createTokenVerifier } from '../../src/token/verifier.ts'
import { encode } from '../forge.ts'

const ALGS: SigningAlg[] = ['ES256', 'EdDSA', 'RS256']
const HEADER_TYP = 'at+jwt'

const claims: AccessTokenClaims = {
  iss: 'https://latchkey.example',
  sub: 'user-1',
  aud: 'https://latchkey.example',
  client_id: 'docs',
  iat: 1_767_268_800,
  exp: 1_767_269_100,
  jti: 'jti-1',
  scope: 'profile users:read',
  roles: ['user'],
  sid: 'session-1',
  rev: 0
}

type Find = (kid: string) => Promise<PublicKey | null>

/** Opens the plugin and a token verifier that checks signatures with it. */
async function open(t: Test) {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(jwt)
  await app.ready()
  const { signer } = app
  let findKey: Find = async () => null
  const verifier = createTokenVerifier<PublicKey>({
    issuer: claims.iss,
    clock: { now: () => claims.iat * 1000 },
    findKey: (kid) => findKey(kid),
    hasValidSignature: signer.hasValidSignature,
    remembered: 50
  })
  return {
    signer,
    async verify(token: string, find: Find) {
      findKey = find
      const verified = await verifier.verify(token, { audiences: null, ahead: 0, behind: 0 })
      return verified.kind === 'refused' ? null : { kid: verified.key.kid, claims: verified.claims }
    }
  }
}

const finding =
  (...keys: PublicKey[]): Find =>
  async (kid) =>
    keys.find((key) => key.kid === kid) ?? null

const MEMBERS = { ES256: ['crv', 'kty', 'x', 'y'], EdDSA: ['crv', 'kty', 'x'], RS256: ['e', 'kty', 'n'] }
const DETAILS = {
  ES256: { asymmetricKeyType: 'ec', asymmetricKeyDetails: { namedCurve: 'prime256v1' } },
  EdDSA: { asymmetricKeyType: 'ed25519', asymmetricKeyDetails: {} },
  RS256: { asymmetricKeyType: 'rsa', asymmetricKeyDetails: { modulusLength: 2048, publicExponent: 65537n } }
}

const { signer: generator } = await open(t)
/** One key of each algorithm for all tests: an RSA key takes long to generate. */
const KEYS = {
  ES256: await generator.generate('ES256'),
  EdDSA: await generator.generate('EdDSA'),
  RS256: await generator.generate('RS256')
}
const OTHERS = await Promise.all(ALGS.map((alg) => generator.generate(alg)))

for (const alg of ALGS) {
  t.test(`a generated ${alg} key has its type, and its kid is the thumbprint (RFC 7638)`, async (t) => {
    const { signer } = await open(t)
    const key = await signer.generate(alg)
    t.equal(key.alg, alg)
    t.equal(key.kid, await calculateJwkThumbprint(key.publicJwk))
    t.strictSame(Object.keys(key.publicJwk).sort(), MEMBERS[alg], 'public members only')
    const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(key.privateKey)
    t.strictSame({ asymmetricKeyType, asymmetricKeyDetails }, DETAILS[alg])
    const { kty, ...rest } = createPublicKey(createPrivateKey(key.privateKey)).export({ format: 'jwk' })
    t.strictSame(key.publicJwk, { kty, ...rest })
    t.match(key.privateKey, /^-----BEGIN PRIVATE KEY-----\n/, 'PKCS #8')
    t.not((await signer.generate(alg)).kid, key.kid)
  })

  t.test(`a token that is signed with ${alg} is verified, here and by jose`, async (t) => {
    const { signer, verify } = await open(t)
    const key = KEYS[alg]
    const token = signer.sign(claims, key, 'at+jwt')
    t.strictSame(decodeProtectedHeader(token), { alg, typ: HEADER_TYP, kid: key.kid })
    t.strictSame(await verify(token, finding(key)), { kid: key.kid, claims })

    const { payload } = await jwtVerify(token, await importJWK(key.publicJwk, alg), {
      typ: HEADER_TYP,
      issuer: claims.iss,
      audience: claims.aud,
      algorithms: [alg],
      currentDate: new Date(claims.iat * 1000)
    })
    t.strictSame(payload, claims)
  })

  t.test(`a token that jose signs with ${alg} is verified`, async (t) => {
    const { verify } = await open(t)
    const key = KEYS[alg]
    const token = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg, typ: HEADER_TYP, kid: key.kid })
      .sign(createPrivateKey(key.privateKey))
    t.strictSame(await verify(token, finding(key)), { kid: key.kid, claims })
  })

  t.test(`a token of ${alg} is refused with another key and without a key`, async (t) => {
    const { signer, verify } = await open(t)
    const key = KEYS[alg]
    const token = signer.sign(claims, key, 'at+jwt')
    t.equal(await verify(token, finding()), null)
    t.equal(await verify(token, finding(...OTHERS)), null)
    for (const other of OTHERS) {
      t.equal(await verify(token, async () => ({ ...other, kid: key.kid })), null, `${other.alg} for its kid`)
      t.equal(await verify(token, async () => other), null, `${other.alg} for another kid`)
    }
    const control = await open(t)
    t.strictSame(await control.verify(token, finding(key)), { kid: key.kid, claims }, 'it is accepted with its own key')
  })

  t.test(`a token of ${alg} is refused when its key is stored with another algorithm`, async (t) => {
    const { signer, verify } = await open(t)
    const key = KEYS[alg]
    const token = signer.sign(claims, key, 'at+jwt')
    for (const other of ALGS.filter((each) => each !== alg)) {
      t.equal(await verify(token, async () => ({ ...key, alg: other })), null, other)
    }
  })
}

t.test('of 3,000 ES256 signatures all are valid, also those with a short integer (RFC 7518 §3.4)', async (t) => {
  const { signer } = await open(t)
  const key = KEYS.ES256
  const invalid: string[] = []
  // DER leaves out the first byte of one of 512 integers, and each signature has two.
  for (let index = 0; index < 3000; index++) {
    const token = signer.sign({ index }, key, HEADER_TYP)
    if (!(await signer.hasValidSignature(token, key))) invalid.push(token)
  }
  t.strictSame(invalid, [])
})

t.test('one key signs tokens of several types, each with its own type', async (t) => {
  const { signer } = await open(t)
  for (const typ of [HEADER_TYP, 'JWT', HEADER_TYP] as const)
    t.equal(decodeProtectedHeader(signer.sign(claims, KEYS.ES256, typ)).typ, typ)
})

t.test('a damaged stored key is an error, and not a refusal of the token', async (t) => {
  const { signer, verify } = await open(t)
  const key = KEYS.ES256
  const token = signer.sign(claims, key, 'at+jwt')
  for (const publicJwk of [{}, { ...key.publicJwk, x: '' }, { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' }]) {
    await t.rejects(verify(token, async () => ({ ...key, publicJwk: publicJwk as Record<string, string> })))
  }
})

/** Signs a token with each of 21 keys. Returns the tokens, and a function that verifies a token and returns how many keys were read. */
async function signWithMany(t: Test) {
  const { signer } = await open(t)
  const keys = await Promise.all(Array.from({ length: 21 }, () => signer.generate('ES256')))
  const tokens = keys.map((key) => ({ key, token: signer.sign(claims, key, HEADER_TYP) }))
  type Signed = (typeof tokens)[number]
  const read = mock.method(crypto, 'createPublicKey')
  syncBuiltinESMExports()
  t.teardown(() => {
    read.mock.restore()
    syncBuiltinESMExports()
  })
  async function readKeys({ key, token }: Signed, isValid = true): Promise<number> {
    const before = read.mock.callCount()
    t.equal(await signer.hasValidSignature(token, key), isValid)
    return read.mock.callCount() - before
  }
  return { tokens, first: tokens[0] as Signed, last: tokens[20] as Signed, readKeys }
}

t.test('the verifiers of at most 20 keys are kept, and a token of an earlier key is verified [KS2]', async (t) => {
  const { tokens, first, last, readKeys } = await signWithMany(t)
  for (const each of tokens) t.equal(await readKeys(each), 1)
  t.equal(await readKeys(last), 0)
  t.equal(await readKeys(first), 1)
})

t.test('when 20 verifiers are kept, only a valid signature replaces one of them [JW4]', async (t) => {
  const { tokens, first, last, readKeys } = await signWithMany(t)
  for (const each of tokens.slice(0, 20)) await readKeys(each)
  const forged = { key: last.key, token: last.token.replace(/[^.]+$/, 'A'.padEnd(86, 'A')) }
  await readKeys(forged, false)
  t.equal(await readKeys(first), 0)
  await readKeys(last)
  t.equal(await readKeys(forged, false), 0)
  t.equal(await readKeys(first), 1)
})

t.test('a key that is too weak or of another curve verifies no token [JW3]', async (t) => {
  const { verify } = await open(t)
  const header = (alg: string, kid: string) => ({ alg, typ: HEADER_TYP, kid })
  const kid = 'A'.repeat(43)
  const make = (alg: string, sign: (input: string) => Buffer) => {
    const input = `${encode(header(alg, kid))}.${encode({ ...claims })}`
    return `${input}.${sign(input).toString('base64url')}`
  }
  const plain = (key: KeyObject) => (input: string) => signBytes('sha256', Buffer.from(input), key)
  const p1363 = (key: KeyObject) => (input: string) =>
    signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength })
  const strong = rsa(2048)
  const find = (alg: SigningAlg, key: KeyObject) => async (): Promise<PublicKey> => ({
    kid,
    alg,
    publicJwk: key.export({ format: 'jwk' }) as Record<string, string>
  })
  const control = make('RS256', plain(strong.privateKey))
  t.strictSame(await verify(control, find('RS256', strong.publicKey)), { kid, claims }, 'a strong key verifies')

  const weak: [name: string, alg: SigningAlg, pair: { publicKey: KeyObject; privateKey: KeyObject }][] = [
    ['RSA of 1024 bits', 'RS256', rsa(1024)],
    ['RSA of 2040 bits', 'RS256', rsa(2040)],
    ['P-384', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['secp256k1', 'ES256', generateKeyPairSync('ec', { namedCurve: 'secp256k1' })]
  ]
  for (const [name, alg, { publicKey, privateKey }] of weak) {
    const opened = await open(t)
    const token = make(alg, alg === 'RS256' ? plain(privateKey) : p1363(privateKey))
    let verified: unknown = null
    try {
      verified = await opened.verify(token, find(alg, publicKey))
    } catch {
      // An error is as safe as a refusal.
    }
    t.equal(verified, null, name)
  }
})

t.test('an RSA key verifies RS256 only [JW3]', async (t) => {
  const { verify } = await open(t)
  const key = KEYS.RS256
  const privateKey = createPrivateKey(key.privateKey)
  const by = (alg: string) =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg, typ: HEADER_TYP, kid: key.kid }).sign(privateKey)
  for (const alg of ['RS384', 'RS512', 'PS256', 'PS384', 'PS512'])
    t.equal(await verify(await by(alg), finding(key)), null, alg)
  t.strictSame(await verify(await by('RS256'), finding(key)), { kid: key.kid, claims })
})

t.test('the payload that jose reads has the bytes that were signed', async (t) => {
  const { signer, verify } = await open(t)
  const key = KEYS.ES256
  const unusual = { ...claims, scope: 'käse:lesen ☃ 😀', roles: ['a"b', 'c\\d', '\u2028'] }
  const token = signer.sign(unusual, key, 'at+jwt')
  const { payload } = await compactVerify(token, await importJWK(key.publicJwk, 'ES256'))
  t.equal(Buffer.from(payload).toString('utf8'), JSON.stringify(unusual))
  t.strictSame((await verify(token, finding(key)))?.claims, unusual)
})
