import { createPublicKey, type KeyObject } from 'node:crypto'

/** Returns whether a key has the type and strength that the algorithm needs (RFC 7518 §3.3, §3.4; RFC 8037 §3.1). */
export function isKeyFor(alg: string, { asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean {
  if (alg === 'ES256') return type === 'ec' && details?.namedCurve === 'prime256v1'
  if (alg === 'EdDSA') return type === 'ed25519'
  const { modulusLength = 0, publicExponent } = details ?? {}
  // With a small exponent signatures can be forged without the private key. With a large modulus verification is slow.
  return type === 'rsa' && modulusLength >= 2048 && modulusLength <= 4096 && publicExponent === 65537n
}

/** The private members of a JWK (RFC 7518 §6). A published JWK with such a member is compromised. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** Returns the key of a public JWK that may verify signatures of the algorithm (RFC 7517 §4); null for any other JWK. */
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
