import type { Config } from '../settings.ts'
import type { AccessTokens } from './access-tokens.ts'
import type { Clients } from './clients.ts'
import { clientRefused, OAuthError } from './errors.ts'
import { type Client, INTROSPECT, type Millis, REFRESH_GRANT, type Seconds } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'
import type { RefreshTokens } from './refresh-tokens.ts'
import { heldByUser, intersect } from './scopes.ts'

/** The current state of a valid token (RFC 7662 §2.2). Instants are seconds since the epoch. */
export type ActiveToken = {
  scopes: string[]
  clientId: string
  sub: string
  exp: Seconds
  iat: Seconds
  iss: string
  /** Null for a client's own token. */
  username: string | null
  /** The session; null for a client's own token. */
  sid: string | null
} & ({ kind: 'refresh' } | { kind: 'access'; aud: string; jti: string; roles: string[] })

const seconds = (at: Millis): Seconds => Math.floor(at / 1000)

/** Introspects tokens (RFC 7662). */
export function createIntrospection(deps: {
  store: Store
  clients: Clients
  accessTokens: AccessTokens
  refreshTokens: RefreshTokens
  clock: Clock
  settings: Config
}) {
  const { store, clients, accessTokens, refreshTokens, clock, settings } = deps
  const { issuer } = settings

  /**
   * Returns the state of a refresh token. Returns null unless the request comes from the client of the token, or from a client that may
   * introspect tokens for Latchkey's own API.
   */
  async function activeRefreshToken(token: string, requester: Client): Promise<ActiveToken | null> {
    const presented = await refreshTokens.read(token)
    if (presented === null) return null
    const { session, counter, user } = presented
    if (session.counter !== counter || session.endedAt !== null || clock.now() >= session.idleExpiresAt) return null
    if (session.clientId !== requester.id && !(await store.resources.mayIntrospect(requester.id, null))) return null
    const client = await clients.enabled(session.clientId)
    if (user.disabledAt !== null || !client?.grantTypes.includes(REFRESH_GRANT)) return null
    const scopes = intersect(session.scopes, client.scopes, heldByUser(user.scopes))
    if (scopes.length === 0) return null
    return {
      kind: 'refresh',
      scopes,
      clientId: session.clientId,
      sub: session.userId,
      exp: seconds(session.idleExpiresAt),
      iat: seconds(session.lastUsedAt),
      iss: issuer,
      username: user.username,
      sid: session.id
    }
  }

  async function activeAccessToken(token: string, requester: Client): Promise<ActiveToken | null> {
    const principal = await accessTokens.introspect(token, requester)
    if (principal.kind === 'refused') return null
    const { sub, clientId, sid, scopes, roles, user } = principal
    const { exp, iat, aud, jti } = principal.token
    const username = user === null ? null : user.username
    return { kind: 'access', scopes, clientId, sub, exp, iat, iss: issuer, username, sid, aud, jti, roles }
  }

  return {
    /**
     * Returns the current state of a token. Returns null for every invalid token, and for a token for a resource whose tokens the
     * client may not introspect.
     * @throws OAuthError invalid_client unless the client is confidential, unauthorized_client unless it has the scope
     *   `tokens:introspect`
     */
    async introspect(client: Client | null, token: string): Promise<ActiveToken | null> {
      if (client?.kind !== 'confidential') throw clientRefused()
      if (!client.scopes.includes(INTROSPECT))
        throw new OAuthError('unauthorized_client', 'The client may not introspect tokens')
      return (await activeRefreshToken(token, client)) ?? (await activeAccessToken(token, client))
    }
  }
}
