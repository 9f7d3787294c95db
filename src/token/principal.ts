import { deepFreeze } from '../deep-freeze.ts'
import type { AccessTokenClaims } from './claims.ts'

/** The user or client that a token identifies. */
export interface Principal {
  kind: 'user' | 'client'
  /** The id of the user; for a client's own token the id of the client. */
  sub: string
  clientId: string
  /** The session; null for a client's own token. */
  sid: string | null
  scopes: string[]
  /** Always empty for a client's own token. */
  roles: string[]
  /** The claims as they were signed. */
  token: AccessTokenClaims
}

const NO_ROLES = Object.freeze<string[]>([]) as string[]

/** Returns the principal of a token. The principal is frozen, because every request with the token gets the same object. */
export function principalOf(claims: AccessTokenClaims): Principal {
  deepFreeze(claims)
  const { sub, client_id: clientId, sid = null, scope, roles } = claims
  return Object.freeze({
    kind: sid === null ? 'client' : 'user',
    sub,
    clientId,
    sid,
    scopes: Object.freeze(scope.split(' ').filter((name) => name !== '')) as string[],
    roles: sid === null ? NO_ROLES : roles,
    token: claims
  })
}
