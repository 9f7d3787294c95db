import { defined } from '../defined.ts'

/** The claims of an access token of Latchkey (RFC 9068 §2.2). */
export interface AccessTokenClaims {
  iss: string
  sub: string
  aud: string
  client_id: string
  /** Seconds since the epoch. */
  iat: number
  /** Seconds since the epoch. */
  exp: number
  jti: string
  /** Separated by spaces, RFC 6749 §3.3. */
  scope: string
  roles: string[]
  /** The session; only in the token of a user. */
  sid?: string
  /** The number of the revocation log that was read before the other data of the token. */
  rev: number
}

/** The content of an access token, with the names of the code. */
export interface TokenContent {
  issuer: string
  sub: string
  audience: string
  clientId: string
  /** Seconds since the epoch. */
  issuedAt: number
  /** Seconds since the epoch. */
  expiresAt: number
  id: string
  scopes: string[]
  roles: string[]
  /** Null for a client's own token. */
  sid: string | null
  rev: number
}

/** Returns the claims of a token. */
export const toClaims = (content: TokenContent): AccessTokenClaims => ({
  iss: content.issuer,
  sub: content.sub,
  aud: content.audience,
  client_id: content.clientId,
  iat: content.issuedAt,
  exp: content.expiresAt,
  jti: content.id,
  scope: content.scopes.join(' '),
  roles: content.roles,
  ...defined({ sid: content.sid ?? undefined }),
  rev: content.rev
})

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.isWellFormed() && !value.includes('\0')

/**
 * Returns whether these are the claims of an access token of Latchkey, and not of another kind of token (RFC 9068 §2.2, RFC 8725
 * §3). A token without a session must be a client's own token, with the client as `sub` (RFC 9068 §5).
 */
export function isAccessToken(claims: Record<string, unknown>): claims is Record<string, unknown> & AccessTokenClaims {
  const { iss, sub, aud, client_id, iat, exp, jti, scope, roles, sid, rev, nbf } = claims
  return (
    [iss, sub, aud, client_id, jti].every(isText) &&
    [iat, exp, rev].every(isCount) &&
    (exp as number) > (iat as number) &&
    typeof scope === 'string' &&
    Array.isArray(roles) &&
    roles.every(isText) &&
    (sid === undefined ? sub === client_id : isText(sid)) &&
    nbf === undefined
  )
}
