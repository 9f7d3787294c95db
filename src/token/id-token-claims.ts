import { createHash } from 'node:crypto'
import { defined } from '../defined.ts'

/** The `typ` of ID tokens and of logout tokens. Neither is the `typ` of access tokens, so no kind of token is accepted as another. */
export const ID_TOKEN_TYP = 'JWT'
export const LOGOUT_TOKEN_TYP = 'logout+jwt'

/** The member of `events` that makes a JWT a logout token. */
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/**
 * Returns the left half of the hash of an access token, with the hash of the signature algorithm (OpenID Connect Core 1.0 §3.1.3.6). EdDSA
 * with Ed25519 uses SHA-512.
 */
function halfHash(accessToken: string, alg: string): string {
  const hash = createHash(alg === 'EdDSA' ? 'sha512' : 'sha256')
    .update(accessToken)
    .digest()
  return hash.subarray(0, hash.length / 2).toString('base64url')
}

/** The content of a token for a client about a session of a user. Times are in seconds since the epoch. */
interface TokenContent {
  issuer: string
  sub: string
  clientId: string
  sid: string
  issuedAt: number
  expiresAt: number
}

/** Returns the claims of an ID token (OpenID Connect Core 1.0 §2). @param content `alg` is the algorithm of the signature */
export const toIdTokenClaims = (
  content: TokenContent & { authAt: number; amr: string[]; nonce: string | null; accessToken: string; alg: string }
): Record<string, unknown> => ({
  iss: content.issuer,
  sub: content.sub,
  aud: content.clientId,
  azp: content.clientId,
  exp: content.expiresAt,
  iat: content.issuedAt,
  auth_time: content.authAt,
  ...defined({ nonce: content.nonce ?? undefined }),
  amr: content.amr,
  at_hash: halfHash(content.accessToken, content.alg),
  sid: content.sid
})

/** Returns the claims of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4). */
export const toLogoutTokenClaims = (content: TokenContent & { id: string }): Record<string, unknown> => ({
  iss: content.issuer,
  sub: content.sub,
  aud: content.clientId,
  iat: content.issuedAt,
  exp: content.expiresAt,
  jti: content.id,
  events: { [LOGOUT_EVENT]: {} },
  sid: content.sid
})
