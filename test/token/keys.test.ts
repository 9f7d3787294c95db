import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { publicKeyOf } from '../../src/token/keys.ts'
import { generateKeyPair, type Members } from '../jws.ts'

const jwkOf = (alg: Parameters<typeof generateKeyPair>[0]): Members =>
  generateKeyPair(alg).publicKey.export({ format: 'jwk' })
const [es256, edDsa, rs256] = [jwkOf('ES256'), jwkOf('EdDSA'), jwkOf('RS256')]
const otherPoint = jwkOf('ES256')

/** Returns the JWK of an RSA key of this size. Nobody knows its private key. */
function rsaOf(bits: number): Members {
  const modulus = randomBytes(Math.ceil(bits / 8))
  const topBits = bits % 8 || 8
  modulus[0] = ((modulus[0] as number) & (2 ** topBits - 1)) | (2 ** (topBits - 1))
  return { ...rs256, n: modulus.toString('base64url') }
}
const curve = (namedCurve: string): Members =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' })

const USABLE: [name: string, jwk: Members, alg: string][] = [
  ['ES256', es256, 'ES256'],
  ['EdDSA', edDsa, 'EdDSA'],
  ['RS256 with 2048 bits', rsaOf(2048), 'RS256'],
  ['RS256 with 3072 bits', rsaOf(3072), 'RS256'],
  ['RS256 with 4096 bits', rsaOf(4096), 'RS256'],
  ['the use sig', { ...es256, use: 'sig' }, 'ES256'],
  ['key_ops with verify', { ...es256, key_ops: ['sign', 'verify'] }, 'ES256'],
  ['members that are not known', { ...es256, x5c: ['AAAA'], more: { a: 1 } }, 'ES256']
]
for (const [name, jwk, alg] of USABLE)
  t.test(`a public JWK may verify signatures: ${name} [JW3]`, async (t) => {
    t.equal(publicKeyOf(jwk, alg)?.type, 'public')
  })

const { privateKey } = generateKeyPair('ES256')
const UNUSABLE: [name: string, jwk: Members, alg: string][] = [
  ['a private key', privateKey.export({ format: 'jwk' }), 'ES256'],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((name): [string, Members, string] => [
    `the private member ${name}`,
    { ...rs256, [name]: null },
    'RS256'
  ]),
  ['RSA with 1024 bits', rsaOf(1024), 'RS256'],
  ['RSA with 2047 bits', rsaOf(2047), 'RS256'],
  ['RSA with 4104 bits', rsaOf(4104), 'RS256'],
  ['RSA with the exponent 3', { ...rs256, e: 'Aw' }, 'RS256'],
  ['the use enc', { ...es256, use: 'enc' }, 'ES256'],
  ['the use null', { ...es256, use: null }, 'ES256'],
  ['key_ops without verify', { ...es256, key_ops: ['encrypt'] }, 'ES256'],
  ['key_ops that is a string', { ...es256, key_ops: 'verify' }, 'ES256'],
  ['EC for EdDSA', es256, 'EdDSA'],
  ['EC for RS256', es256, 'RS256'],
  ['Ed25519 for ES256', edDsa, 'ES256'],
  ['RSA for ES256', rs256, 'ES256'],
  ['the curve P-384', curve('P-384'), 'ES256'],
  ['the curve secp256k1', curve('secp256k1'), 'ES256'],
  ['the curve Ed448', generateKeyPairSync('ed448').publicKey.export({ format: 'jwk' }), 'EdDSA'],
  ['a point that is not on the curve', { ...es256, x: otherPoint.x }, 'ES256'],
  ['a point without y', { ...es256, y: undefined }, 'ES256'],
  ['a kty that is not known', { ...es256, kty: 'AKP' }, 'ES256'],
  ['a shared secret', { kty: 'oct', k: 'c2VjcmV0' }, 'ES256'],
  ['no kty', { ...es256, kty: undefined }, 'ES256'],
  ['an array', [es256] as unknown as Members, 'ES256'],
  ['an empty object', {}, 'ES256']
]
for (const [name, jwk, alg] of UNUSABLE)
  t.test(`a JWK may not verify signatures: ${name} [JW3]`, async (t) => {
    t.equal(publicKeyOf(jwk, alg), null)
  })
