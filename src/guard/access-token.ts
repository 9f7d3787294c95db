import { isUtf8 } from 'node:buffer'
import { createPublicKey, type KeyObject } from 'node:crypto'

/** The claims of an access token, RFC 9068 §2.2, as Latchkey signs them. */
export interface AccessTokenClaims {
  iss: string
  sub: string
  aud: string
  client_id: string
  /** Seconds since the epoch. */
  iat: number
  exp: number
  jti: string
  /** Space-separated, RFC 6749 §3.3. */
  scope: string
  roles: string[]
  /** The session; only in a user's token. */
  sid?: string
  /** How far the revocation log had come before the state was read that this token was made from. */
  rev: number
}

export const TYP = 'at+jwt'
export const MAX_TOKEN_LENGTH = 8192

/** Whether a key is of the kind and strength that the algorithm asks for (RFC 7518 §3.3, §3.4; RFC 8037 §3.1). */
export function isKeyFor(alg: string, { asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean {
  if (alg === 'ES256') return type === 'ec' && details?.namedCurve === 'prime256v1'
  if (alg === 'EdDSA') return type === 'ed25519'
  const { modulusLength = 0, publicExponent } = details ?? {}
  // With a small exponent a signature can be made without the private key; with large numbers a check takes long.
  return type === 'rsa' && modulusLength >= 2048 && modulusLength <= 4096 && publicExponent === 65537n
}

/** What a JWK holds beside its public members (RFC 7518 §6): such a key is no secret any more. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** The key of a public JWK that signatures of that algorithm may be verified with (RFC 7517 §4); null for any other. */
export function publicKeyOf(jwk: Record<string, unknown>, alg: string): KeyObject | null {
  const { use, key_ops: operations } = jwk
  if (PRIVATE_MEMBERS.some((name) => name in jwk) || (use !== undefined && use !== 'sig')) return null
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return null
  try {
    const key = createPublicKey({ key: jwk as Record<string, string>, format: 'jwk' })
    return isKeyFor(alg, key) ? key : null
  } catch {
    return null
  }
}

/** The JSON object in a segment that is canonical base64url and UTF-8; other people’s serializers write spaces. */
export function looseObject(segment: string): Record<string, unknown> | null {
  const bytes = Buffer.from(segment, 'base64url')
  if (bytes.toString('base64url') !== segment || !isUtf8(bytes)) return null
  try {
    const value = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/**
 * The same, null unless segment and text are exactly what a serializer writes: no member twice, no spaces, no number that is
 * not itself.
 */
function strictObject(segment: string): Record<string, unknown> | null {
  const value = looseObject(segment)
  return value !== null && Buffer.from(JSON.stringify(value)).toString('base64url') === segment ? value : null
}

/** Whether a signature is there, in the one way to write it. */
export const isCanonical = (signature: string): boolean =>
  signature !== '' && Buffer.from(signature, 'base64url').toString('base64url') === signature

/** The parts of a compact JWS with the header that our tokens have and no other (RFC 7515 §3.1, RFC 8725 §3). */
export function parse(token: string): { alg: string; kid: string; claims: Record<string, unknown> } | null {
  const [header = '', payload = '', signature = '', ...more] = token.split('.')
  if (token.length > MAX_TOKEN_LENGTH || more.length > 0 || !isCanonical(signature)) return null
  const { alg, typ, kid, ...others } = strictObject(header) ?? {}
  if (typ !== TYP || typeof alg !== 'string' || typeof kid !== 'string' || !/^[\w-]{43}$/.test(kid)) return null
  const claims = strictObject(payload)
  return claims === null || Object.keys(others).length > 0 ? null : { alg, kid, claims }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.isWellFormed() && !value.includes('\0')

/** Whether the claims are those of an access token of ours, and of no other kind (RFC 9068 §2.2, RFC 8725 §3). */
export function isAccessToken(claims: Record<string, unknown>): claims is Record<string, unknown> & AccessTokenClaims {
  const { iss, sub, aud, client_id, iat, exp, jti, scope, roles, sid, rev, nbf } = claims
  return (
    [iss, sub, aud, client_id, jti].every(isText) &&
    [iat, exp, rev].every(isCount) &&
    (exp as number) > (iat as number) &&
    typeof scope === 'string' &&
    Array.isArray(roles) &&
    roles.every(isText) &&
    (sid === undefined || isText(sid)) &&
    nbf === undefined
  )
}
