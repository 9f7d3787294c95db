import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { compareAll } from '../rows.ts'
import { openSigner, PAIRS } from './assertions.ts'
import { openDomain } from './open.ts'

const INVALID =
  'A key must be a public JWK for ES256 (P-256), EdDSA (Ed25519), or RS256 or PS256 (RSA, 2048 to 4096 bits)'

type Jwk = Record<string, unknown>
const toJwk = (key: KeyObject) => key.export({ format: 'jwk' }) as Jwk
const onCurve = (namedCurve: string) => toJwk(generateKeyPairSync('ec', { namedCurve }).publicKey)
const EC = toJwk(PAIRS.ES256.publicKey)
const RSA = toJwk(PAIRS.RS256.publicKey)
const OKP = toJwk(PAIRS.EdDSA.publicKey)

/** Returns a function that registers a client with the given keys and returns the stored keys, or the message of the refusal. */
async function open(t: Test) {
  const { auth } = await openDomain(t, { signer: await openSigner(t) })
  return async (keys: unknown[], method: 'private_key_jwt' | 'none' | 'client_secret_basic' = 'private_key_jwt') => {
    try {
      return (await auth.clients.create(OPERATOR, { name: 'Keyed', method, jwks: { keys } })).client.jwks
    } catch (error) {
      return (error as Error).message
    }
  }
}

t.test('a client can register public keys for ES256, EdDSA, RS256 and PS256, and a kid is kept', async (t) => {
  const register = await open(t)
  const more = { kid: 'x'.repeat(255), alg: 'ES256', use: 'sig', key_ops: ['verify'], x5c: ['AA=='] }
  t.strictSame(await register([{ ...EC, ...more }, OKP, RSA, { ...RSA, alg: 'PS256' }]), [
    { ...EC, alg: 'ES256', kid: 'x'.repeat(255) },
    { ...OKP, alg: 'EdDSA' },
    { ...RSA, alg: 'RS256' },
    { ...RSA, alg: 'PS256' }
  ])
})

t.test('no shared secret, private key, weak key or key of another kind can be registered [JW3]', async (t) => {
  const register = await open(t)
  const members = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
  const refused: Record<string, unknown> = {
    'private EC': toJwk(PAIRS.ES256.privateKey),
    'private Ed25519': toJwk(PAIRS.EdDSA.privateKey),
    'private RSA': toJwk(PAIRS.RS256.privateKey),
    ...Object.fromEntries(members.map((name) => [`the private member ${name}`, { ...EC, [name]: '' }])),
    'a shared secret': { kty: 'oct', k: 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0' },
    'a shared secret for ES256': { kty: 'oct', k: 'c2VjcmV0', alg: 'ES256' },
    'RSA of 1024 bits': toJwk(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey),
    'RSA of 8192 bits': { ...RSA, n: Buffer.alloc(1024, 0xff).toString('base64url') },
    'RSA with the exponent 1, whose signatures need no private key': { ...RSA, e: 'AQ' },
    'RSA with the exponent 3': { ...RSA, e: 'Aw' },
    'RSA for ES256': { ...RSA, alg: 'ES256' },
    'EC for RS256': { ...EC, alg: 'RS256' },
    'P-384': onCurve('P-384'),
    'P-521 for ES256': { ...onCurve('P-521'), alg: 'ES256' },
    secp256k1: onCurve('secp256k1'),
    X25519: toJwk(generateKeyPairSync('x25519').publicKey),
    'alg HS256': { ...EC, alg: 'HS256' },
    'alg none': { ...EC, alg: 'none' },
    'alg ES384': { ...EC, alg: 'ES384' },
    'a key for encryption': { ...EC, use: 'enc' },
    'a key that may not verify': { ...EC, key_ops: ['sign'] },
    'key_ops as a text': { ...EC, key_ops: 'verify' },
    'a kid that is a number': { ...EC, kid: 7 },
    'an empty kid': { ...EC, kid: '' },
    'a kid of 256 characters': { ...EC, kid: 'x'.repeat(256) },
    'a point that is not on the curve': { ...EC, y: EC.x },
    'half a point': { kty: 'EC', crv: 'P-256', x: EC.x },
    'an unknown type': { kty: 'AKP' },
    'an empty object': {},
    null: null,
    'a text': 'x'
  }
  await compareAll(t, async (row) => {
    for (const [name, key] of Object.entries(refused)) {
      row(name, await register([key]), INVALID)
      row(`${name}, after a valid key`, await register([EC, key]), INVALID)
    }
  })
})

t.test('keys for the same algorithm must have different kids', async (t) => {
  const register = await open(t)
  const another = onCurve('P-256')
  const refused = 'Keys for the same algorithm must have different kids'
  for (const [name, keys] of Object.entries({
    'the same key twice': [EC, EC],
    'two keys without kid': [EC, another],
    'two keys, one without kid': [{ ...EC, kid: 'one' }, another],
    'two keys with the same kid': [
      { ...EC, kid: 'one' },
      { ...another, kid: 'one' }
    ]
  }))
    t.equal(await register(keys), refused, name)
  t.type(
    await register([
      { ...EC, kid: 'one' },
      { ...another, kid: 'two' }
    ]),
    Array
  )
})

t.test('a client with another method than private_key_jwt cannot register keys', async (t) => {
  const register = await open(t)
  for (const method of ['none', 'client_secret_basic'] as const)
    t.equal(
      await register([EC], method),
      'A client must have jwks with the method private_key_jwt, and with no other method',
      method
    )
})
