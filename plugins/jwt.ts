import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair as generateKeyPairCallback,
  type KeyObject,
  sign as signBytes
} from 'node:crypto'
import { promisify } from 'node:util'
import fastifyJwt from '@fastify/jwt'
import fastify from 'fastify'
import fp from 'fastify-plugin'
import { defined } from '../src/defined.ts'
import {
  ASSERTION_ALGS,
  type AssertionAlg,
  type ClientKey,
  type PublicKey,
  type SigningAlg
} from '../src/domain/model.ts'
import type { Signer } from '../src/domain/ports/signer.ts'
import { ASSERTION_BYTES_MAX } from '../src/limits.ts'
import { isKeyFor, publicKeyOf } from '../src/token/keys.ts'
import { isCanonical, looseObject } from '../src/token/syntax.ts'

declare module 'fastify' {
  interface FastifyInstance {
    signer: Signer
  }
}

const generateKeyPair = promisify(generateKeyPairCallback)

const generate: Record<SigningAlg, () => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>> = {
  ES256: () => generateKeyPair('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPair('ed25519'),
  RS256: () => generateKeyPair('rsa', { modulusLength: 2048 })
}

/** The members of the thumbprint, in the required order (RFC 7638 §3.2). */
const THUMBPRINT_MEMBERS: Record<SigningAlg, string[]> = {
  ES256: ['crv', 'kty', 'x', 'y'],
  EdDSA: ['crv', 'kty', 'x'],
  RS256: ['e', 'kty', 'n']
}

const ALG_OF: Record<string, AssertionAlg> = { EC: 'ES256', OKP: 'EdDSA', RSA: 'RS256' }

/** Maximum number of keys whose verifiers are kept. Each takes 150 kB and 3 ms. */
const VERIFIERS = 20

/** The domain checks the claims. */
const SIGNATURE_ONLY = { ignoreExpiration: true, ignoreNotBefore: true }

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Length of each of the two integers of an ES256 signature in bytes. */
const INTEGER_BYTES = 32

/** Returns the two integers of a DER signature (RFC 3279 §2.2.3) in the form of RFC 7518 §3.4. OpenSSL takes 60 µs for this. */
function joseSignature(der: Buffer): Buffer {
  const signature = Buffer.alloc(2 * INTEGER_BYTES)
  let at = 2
  for (const end of [INTEGER_BYTES, 2 * INTEGER_BYTES]) {
    const length = der[at + 1] as number
    // DER adds a zero before a high bit, and leaves out leading zeros.
    const from = at + 2 + Math.max(0, length - INTEGER_BYTES)
    at += 2 + length
    der.copy(signature, end - (at - from), from, at)
  }
  return signature
}

/** Returns a function that signs claims as a JWT (RFC 7515 §5.1). Reads the private key once. */
function createSigner(
  { kid, alg, privateKey }: PublicKey & { privateKey: string },
  typ: string
): (claims: object) => string {
  const key = createPrivateKey(privateKey)
  const header = base64url({ alg, typ, kid })
  return (claims) => {
    const input = `${header}.${base64url(claims)}`
    const signature = signBytes(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), key)
    return `${input}.${(alg === 'ES256' ? joseSignature(signature) : signature).toString('base64url')}`
  }
}

/** Returns a public key as PEM. @throws Error when it is not a key for its algorithm */
function pemOf({ kid, alg, publicJwk }: PublicKey): string {
  const key = createPublicKey({ key: publicJwk, format: 'jwk' })
  if (!isKeyFor(alg, key)) throw new Error(`the key ${kid} is not a key for ${alg}`)
  return key.export({ type: 'spki', format: 'pem' }) as string
}

/**
 * Returns a function that returns whether @fastify/jwt verifies the signature of a token with this key. It checks no claims. @fastify/jwt
 * reads a key at each call, which takes as long as the verification, except the key with which it was registered.
 */
async function createVerifier(pem: string, alg: SigningAlg): Promise<(token: string) => boolean> {
  const instance = fastify()
  await instance.register(fastifyJwt, {
    secret: { public: pem },
    verify: { algorithms: [alg], ...SIGNATURE_ONLY }
  })
  return (token) => {
    try {
      instance.jwt.verify(token)
      return true
    } catch {
      return false
    }
  }
}

function clientKey(jwk: Record<string, unknown>): ClientKey | null {
  const { kty, kid } = jwk
  const alg = jwk.alg ?? ALG_OF[String(kty)]
  const isAlg = (name: unknown): name is AssertionAlg => ASSERTION_ALGS.some((each) => each === name)
  if (!isAlg(alg) || (kid !== undefined && !(typeof kid === 'string' && /^[\x20-\x7e]{1,255}$/.test(kid)))) return null
  // `publicKeyOf` refuses private keys and shared secrets.
  const key = publicKeyOf(jwk, alg)
  return key && { ...(key.export({ format: 'jwk' }) as { kty: string }), alg, ...defined({ kid }) }
}

/** Signs JWTs with OpenSSL and verifies them with @fastify/jwt. The domain decides which keys sign and verify. */
export default fp(
  async (fastify) => {
    await fastify.register(fastifyJwt, {
      secret: { public: () => Promise.reject(new Error('every call must give a key')) }
    })

    /** The signers of the current keys, by algorithm and type. Signers of previous keys are dropped, because they hold private keys. */
    const signers = new Map<string, { kid: string; sign: (claims: object) => string }>()
    /** The verifiers of the keys that have come into use last, by their ids. */
    const verifiers = new Map<string, Promise<(token: string) => boolean>>()

    /** Returns whether @fastify/jwt verifies the signature with this key. Does not check claims. */
    function hasSignatureOf(token: string, key: string, alg: string): boolean {
      try {
        fastify.jwt.verify(token, { key, algorithms: [alg as 'ES256'], ...SIGNATURE_ONLY })
        return true
      } catch {
        return false
      }
    }

    fastify.decorate('signer', {
      async generate(alg) {
        const { publicKey, privateKey } = await generate[alg]()
        const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>
        const publicJwk = Object.fromEntries(THUMBPRINT_MEMBERS[alg].map((name) => [name, jwk[name] as string]))
        const kid = createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url')
        return { kid, alg, publicJwk, privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
      },

      sign(claims, key, typ) {
        const known = signers.get(`${key.alg} ${typ}`)
        if (known?.kid === key.kid) return known.sign(claims)
        const sign = createSigner(key, typ)
        signers.set(`${key.alg} ${typ}`, { kid: key.kid, sign })
        return sign(claims)
      },

      async hasValidSignature(token, key) {
        let verifier = verifiers.get(key.kid)
        if (verifier === undefined) {
          const pem = pemOf(key)
          if (verifiers.size >= VERIFIERS) {
            // Anyone can send tokens with the ids of all keys that ever signed. Only a valid signature is worth the time for a verifier.
            if (!hasSignatureOf(token, pem, key.alg)) return false
            verifiers.delete(verifiers.keys().next().value as string)
          }
          verifier = createVerifier(pem, key.alg)
          verifiers.set(key.kid, verifier)
        }
        return (await verifier)(token)
      },

      clientKey,

      async verifyAssertion(token, keysOf) {
        if (token.length > ASSERTION_BYTES_MAX) return null
        const [first = '', second = '', signature = '', ...rest] = token.split('.')
        if (rest.length > 0 || !isCanonical(signature)) return null
        const [header, claims] = [looseObject(first), looseObject(second)]
        // No extension is supported, so a JWT that requires an extension is invalid (RFC 7515 §4.1.11).
        if (header === null || claims === null || 'crit' in header || 'b64' in header) return null
        const keys = await keysOf(claims)
        const [candidate, ...more] = keys.filter(
          ({ alg, kid }) => alg === header.alg && (header.kid === undefined || kid === undefined || kid === header.kid)
        )
        // At most one signature is verified for each assertion.
        if (candidate === undefined || more.length > 0) return null
        const { alg, ...jwk } = candidate
        const key = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
        return hasSignatureOf(token, key, alg) ? claims : null
      }
    })
  },
  { name: 'jwt' }
)
