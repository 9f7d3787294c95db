import { createPrivateKey, KeyObject, randomUUID, sign } from 'node:crypto'
import type { Clock } from './clock.ts'

/** How a client says who it is: by a secret, or by a private key whose public half is registered for it. */
export type Credentials =
  | { clientId: string; clientSecret: string; privateKey?: never; kid?: never }
  | {
      clientId: string
      clientSecret?: never
      /** An unencrypted PKCS #8 PEM, or a key: P-256 (signs by ES256), Ed25519 (EdDSA) or RSA of at least 2048 bits (RS256). */
      privateKey: string | KeyObject
      /** The id of the key among those that are registered. */
      kid?: string
    }

/** What a request has beside its own headers and parameters. */
export interface Authentication {
  headers: Record<string, string>
  form: Record<string, string>
}

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Seconds for which an assertion is good. */
const ASSERTION_TTL = 60

const formEncoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
const segment = (content: object): string => Buffer.from(JSON.stringify(content)).toString('base64url')

/** @throws TypeError, with nothing of the key in it */
function parseKey(key: string | KeyObject): KeyObject {
  try {
    const parsed = typeof key === 'string' ? createPrivateKey(key) : key
    if (parsed instanceof KeyObject && parsed.type === 'private') return parsed
  } catch {}
  throw new TypeError('privateKey must be a private key, as an unencrypted PKCS #8 PEM or a KeyObject')
}

/** RFC 7518 §3.1. @throws TypeError */
function algorithmOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string {
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256'
  throw new TypeError('privateKey must be a key of P-256, of Ed25519, or RSA of at least 2048 bits')
}

/**
 * Makes what authenticates one request: client_secret_basic, form-encoded (RFC 6749 §2.3.1), or private_key_jwt (RFC 7523 §2.2)
 * with the issuer as its one audience and an id that never comes again, so it is called anew for every request. An assertion
 * has no `iat`, so a clock that is ahead does no harm.
 * @throws TypeError for credentials that cannot be used
 */
export function createAuthentication(options: Credentials & { issuer: string; clock: Clock }): () => Authentication {
  const { clientId, clientSecret, privateKey, kid, issuer, clock } = options
  if (typeof clientId !== 'string' || clientId === '') throw new TypeError('clientId must be the id of the client')
  if ((clientSecret === undefined) === (privateKey === undefined))
    throw new TypeError('one of clientSecret and privateKey must be given')
  if (privateKey === undefined) {
    if (typeof clientSecret !== 'string' || clientSecret === '') throw new TypeError('clientSecret must be a text')
    const credentials = Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')
    return () => ({ headers: { authorization: `Basic ${credentials}` }, form: {} })
  }

  const key = parseKey(privateKey)
  const alg = algorithmOf(key)
  const header = segment({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
  return () => {
    const exp = Math.floor(clock.now() / 1000) + ASSERTION_TTL
    const claims = segment({ iss: clientId, sub: clientId, aud: issuer, exp, jti: randomUUID() })
    const signed = sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(`${header}.${claims}`), {
      key,
      dsaEncoding: 'ieee-p1363'
    })
    const assertion = `${header}.${claims}.${signed.toString('base64url')}`
    return { headers: {}, form: { client_assertion_type: ASSERTION_TYPE, client_assertion: assertion } }
  }
}
