import { createPrivateKey, KeyObject, randomUUID, sign } from 'node:crypto'
import type { Clock } from '../token/clock.ts'

/** The credentials of a client: a secret, or a private key whose public key is registered for the client. */
export type Credentials =
  | { clientId: string; clientSecret: string; privateKey?: never; kid?: never }
  | {
      clientId: string
      clientSecret?: never
      /** An unencrypted PKCS #8 PEM or a KeyObject: P-256 (signs ES256), Ed25519 (EdDSA) or RSA of at least 2048 bits (RS256). */
      privateKey: string | KeyObject
      /** The id of the key among the registered ones. */
      kid?: string
    }

/** The headers and form parameters that authenticate one request. */
export interface Authentication {
  headers: Record<string, string>
  form: Record<string, string>
}

/** Makes the authentication of one request. An assertion must not be sent twice, so each request needs a new call. */
export type Authenticate = () => Authentication

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Lifetime of an assertion in seconds. */
const ASSERTION_TTL = 60

const formEncoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
const segment = (content: object): string => Buffer.from(JSON.stringify(content)).toString('base64url')

/** @throws TypeError, which holds nothing of the key */
function parseKey(key: string | KeyObject): KeyObject {
  try {
    const parsed = typeof key === 'string' ? createPrivateKey(key) : key
    if (parsed instanceof KeyObject && parsed.type === 'private') return parsed
  } catch {}
  throw new TypeError('privateKey must be a private key, as an unencrypted PKCS #8 PEM or a KeyObject')
}

/** Returns the JWS algorithm of a key (RFC 7518 §3.1). @throws TypeError */
function algorithmOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): string {
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256'
  throw new TypeError('privateKey must be a P-256 key, an Ed25519 key, or an RSA key of at least 2048 bits')
}

/** client_secret_basic, form-encoded (RFC 6749 §2.3.1). */
function withSecret(clientId: string, clientSecret: string): Authenticate {
  const credentials = Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')
  return () => ({ headers: { authorization: `Basic ${credentials}` }, form: {} })
}

/**
 * private_key_jwt (RFC 7523 §2.2) with the issuer as the only audience and a new `jti` each time. The assertion has no `iat`, so
 * the issuer accepts it also when the clock of the client is ahead.
 */
function withKey(options: {
  clientId: string
  privateKey: string | KeyObject
  kid: string | undefined
  issuer: string
  clock: Clock
}): Authenticate {
  const { clientId, kid, issuer, clock } = options
  const key = parseKey(options.privateKey)
  const alg = algorithmOf(key)
  const header = segment({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
  return () => {
    const exp = Math.floor(clock.now() / 1000) + ASSERTION_TTL
    const claims = segment({ iss: clientId, sub: clientId, aud: issuer, exp, jti: randomUUID() })
    const signature = sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(`${header}.${claims}`), {
      key,
      dsaEncoding: 'ieee-p1363'
    })
    const assertion = `${header}.${claims}.${signature.toString('base64url')}`
    return { headers: {}, form: { client_assertion_type: ASSERTION_TYPE, client_assertion: assertion } }
  }
}

/**
 * Returns the function that authenticates the requests of a client at the issuer.
 * @throws TypeError for credentials that are not valid
 */
export function createAuthentication(options: Credentials & { issuer: string; clock: Clock }): Authenticate {
  const { clientId, clientSecret, privateKey, kid, issuer, clock } = options
  if (typeof clientId !== 'string' || clientId === '') throw new TypeError('clientId must be the id of the client')
  if ((clientSecret === undefined) === (privateKey === undefined))
    throw new TypeError('either clientSecret or privateKey must be given')
  if (privateKey !== undefined) return withKey({ clientId, privateKey, kid, issuer, clock })
  if (typeof clientSecret !== 'string' || clientSecret === '')
    throw new TypeError('clientSecret must be a non-empty string')
  return withSecret(clientId, clientSecret)
}
