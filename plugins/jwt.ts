import { createHash, createPublicKey, generateKeyPair as generateKeyPairCallback, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import fastifyJwt from '@fastify/jwt'
import { createSigner } from 'fast-jwt'
import fp from 'fastify-plugin'
import {
  ASSERTION_ALGS,
  type AssertionAlg,
  type ClientKey,
  type PublicKey,
  type SigningAlg
} from '../src/domain/model.ts'
import type { Signer } from '../src/domain/ports.ts'
import {
  isAccessToken,
  isCanonical,
  isKeyFor,
  looseObject,
  MAX_TOKEN_LENGTH,
  parse,
  publicKeyOf,
  TYP
} from '../src/guard/access-token.ts'

declare module 'fastify' {
  interface FastifyInstance {
    signer: Signer
  }
}

/** How many tokens are remembered whose signature was found good. */
const VERIFIED_KEPT = 5000

const generateKeyPair = promisify(generateKeyPairCallback)

const generate: Record<SigningAlg, () => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>> = {
  ES256: () => generateKeyPair('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPair('ed25519'),
  RS256: () => generateKeyPair('rsa', { modulusLength: 2048 })
}

/** RFC 7638 §3.2: the members that make the thumbprint, in its order. */
const THUMBPRINT_MEMBERS: Record<SigningAlg, string[]> = {
  ES256: ['crv', 'kty', 'x', 'y'],
  EdDSA: ['crv', 'kty', 'x'],
  RS256: ['e', 'kty', 'n']
}

const ALG_OF: Record<string, AssertionAlg> = { EC: 'ES256', OKP: 'EdDSA', RSA: 'RS256' }

function clientKey(jwk: Record<string, unknown>): ClientKey | null {
  const { kty, kid } = jwk
  const alg = jwk.alg ?? ALG_OF[String(kty)]
  const isAlg = (name: unknown): name is AssertionAlg => ASSERTION_ALGS.some((each) => each === name)
  if (!isAlg(alg) || (kid !== undefined && !(typeof kid === 'string' && /^[\x20-\x7e]{1,255}$/.test(kid)))) return null
  // A private key or a shared secret is registered by nobody.
  const key = publicKeyOf(jwk, alg)
  return key && { ...(key.export({ format: 'jwk' }) as { kty: string }), alg, ...(kid === undefined ? {} : { kid }) }
}

/** Signs and verifies access tokens. Which key signs and which still verifies is the domain's to say. */
export default fp(
  async (fastify) => {
    await fastify.register(fastifyJwt, {
      secret: { public: () => Promise.reject(new Error('a key is given with every call')) }
    })

    /** Of the key that signs, and of no other: private parts are not kept longer than they are needed. */
    let signer: { kid: string; sign: (claims: object) => string } | undefined
    const pems = new Map<string, string>()
    const verified = new Map<string, { kid: string; claims: Record<string, unknown> }>()

    function pemOf({ kid, alg, publicJwk }: PublicKey): string {
      const known = pems.get(kid)
      if (known !== undefined) return known
      const key = createPublicKey({ key: publicJwk, format: 'jwk' })
      if (!isKeyFor(alg, key)) throw new Error(`the key ${kid} is not one for ${alg}`)
      const pem = key.export({ type: 'spki', format: 'pem' }) as string
      pems.set(kid, pem)
      return pem
    }

    function remember(token: string, content: { kid: string; claims: Record<string, unknown> }) {
      if (verified.size >= VERIFIED_KEPT) verified.delete(verified.keys().next().value as string)
      Object.freeze(content.claims)
      Object.freeze(content.claims.roles)
      verified.set(token, content)
      return content
    }

    fastify.decorate('signer', {
      async generate(alg) {
        const { publicKey, privateKey } = await generate[alg]()
        const jwk = publicKey.export({ format: 'jwk' }) as Record<string, string>
        const publicJwk = Object.fromEntries(THUMBPRINT_MEMBERS[alg].map((name) => [name, jwk[name] as string]))
        const kid = createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url')
        return { kid, alg, publicJwk, privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
      },

      sign(claims, { kid, alg, privateKey }) {
        if (signer?.kid !== kid) {
          const sign = createSigner({ key: privateKey, algorithm: alg, kid, header: { alg, typ: TYP } })
          signer = { kid, sign: sign as (claims: object) => string }
        }
        return signer.sign(claims)
      },

      async verify(token, find) {
        const known = verified.get(token)
        const parsed = known ?? parse(token)
        const key = parsed && (await find(parsed.kid))
        if (parsed === null || key === null) return null
        if (known !== undefined) return known
        if ('alg' in parsed && parsed.alg !== key.alg) return null
        const pem = pemOf(key)
        try {
          fastify.jwt.verify(token, {
            key: pem,
            algorithms: [key.alg],
            ignoreExpiration: true,
            ignoreNotBefore: true
          })
        } catch {
          return null
        }
        return remember(token, { kid: parsed.kid, claims: parsed.claims })
      },

      isAccessToken,
      clientKey,

      async verifyAssertion(token, keysOf) {
        const [first = '', second = '', signature = '', ...rest] = token.split('.')
        if (token.length > MAX_TOKEN_LENGTH || rest.length > 0 || !isCanonical(signature)) return null
        const [header, claims] = [looseObject(first), looseObject(second)]
        // RFC 7515 §4.1.11: what one must understand and does not.
        if (header === null || claims === null || 'crit' in header || 'b64' in header) return null
        const keys = await keysOf(claims)
        const [candidate, ...more] = keys.filter(
          ({ alg, kid }) => alg === header.alg && (header.kid === undefined || kid === undefined || kid === header.kid)
        )
        // One check at most, whoever asks for it.
        if (candidate === undefined || more.length > 0) return null
        const { alg, ...jwk } = candidate
        try {
          const key = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
          fastify.jwt.verify(token, { key, algorithms: [alg], ignoreExpiration: true, ignoreNotBefore: true })
          return claims
        } catch {
          return null
        }
      }
    })
  },
  { name: 'jwt' }
)
