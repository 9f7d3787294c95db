import { clientRefused, DomainError, OAuthError } from './errors.ts'
import type { Clients, RefreshTokens, Tokens, Users } from './index.ts'
import { type Client, INTROSPECT } from './model.ts'
import type { Clock, Store } from './ports.ts'
import { intersect } from './scopes.ts'
import { REFRESH_GRANT } from './sessions.ts'

/** What is told of a good token, RFC 7662 §2.2. */
export interface ActiveToken {
  active: true
  scope: string
  client_id: string
  sub: string
  exp: number
  iat: number
  iss: string
  username?: string
  token_type?: 'Bearer'
  aud?: string
  jti?: string
  sid?: string
  roles?: string[]
}

const seconds = (at: number): number => Math.floor(at / 1000)

/** Taking tokens back and asking about them. */
export function createRevocation(deps: {
  store: Store
  users: Users
  clients: Clients
  tokens: Tokens
  refreshTokens: RefreshTokens
  clock: Clock
  issuer: string
}) {
  const { store, users, clients, tokens, refreshTokens, clock, issuer } = deps

  function assertOwn(client: Client, owner: string): void {
    if (client.id !== owner) throw new OAuthError('invalid_grant', 'The token belongs to another client')
  }

  const mayAsk = (asker: Client, aud: string) => store.resources.mayIntrospect(asker.id, aud === issuer ? null : aud)

  /** It is meant for Latchkey itself, and for the client that it was given to. */
  async function activeRefreshToken(token: string, asker: Client): Promise<ActiveToken | null> {
    const found = await refreshTokens.read(token)
    if (found === null) return null
    const { session, counter } = found
    if (session.clientId !== asker.id && !(await mayAsk(asker, issuer))) return null
    if (session.counter !== counter || session.endedAt !== null || clock.now() >= session.idleExpiresAt) return null
    const user = await users.enabled(session.userId)
    const client = await clients.get(session.clientId)
    const scopes = intersect(session.scopes, client?.scopes ?? [], (user && (await store.users.scopes(user.id))) ?? [])
    if (user === null || !client?.grantTypes.includes(REFRESH_GRANT) || scopes.length === 0) return null
    return {
      active: true,
      scope: scopes.join(' '),
      client_id: session.clientId,
      sub: session.userId,
      exp: seconds(session.idleExpiresAt),
      iat: seconds(session.lastUsedAt),
      iss: issuer,
      username: user.username,
      sid: session.id
    }
  }

  async function activeAccessToken(token: string, asker: Client): Promise<ActiveToken | null> {
    const principal = await tokens.inspect(token, (aud) => mayAsk(asker, aud))
    if (principal === null) return null
    const { kind, sub, clientId, sid, scopes, roles } = principal
    const { exp, iat, aud, jti } = principal.token
    const user = kind === 'user' ? await users.enabled(sub) : null
    if (kind === 'user' && user === null) return null
    return {
      active: true,
      scope: scopes.join(' '),
      client_id: clientId,
      sub,
      exp,
      iat,
      iss: issuer,
      ...(user === null ? {} : { username: user.username }),
      token_type: 'Bearer',
      aud,
      jti,
      ...(sid === null ? {} : { sid }),
      roles
    }
  }

  return {
    /**
     * RFC 7009: a refresh token, also one that was used before, ends its session; an access token ends alone. What is
     * unknown, or good no more, is revoked already.
     * @throws OAuthError invalid_grant when it belongs to another client; DomainError unavailable
     */
    async revoke(client: Client, token: string): Promise<void> {
      const found = await refreshTokens.read(token)
      if (found !== null) {
        assertOwn(client, found.session.clientId)
        await store.sessions.end({ id: found.session.id }, clock.now())
        return
      }
      const claims = await tokens.read(token)
      if (claims === null) return
      assertOwn(client, claims.client_id)
      try {
        await store.revocations.revokeToken(claims.jti, clock.now())
      } catch (error) {
        // Somebody else did it at this very moment.
        if (!(error instanceof DomainError && error.code === 'conflict')) throw error
      }
    },

    /**
     * RFC 7662, as things are at this instant; null for every token that is not good, or meant for a resource that the
     * client may not ask about.
     * @throws OAuthError invalid_client for a client without a secret, unauthorized_client without the scope
     */
    async introspect(client: Client | null, token: string): Promise<ActiveToken | null> {
      if (client?.kind !== 'confidential') throw clientRefused()
      if (!client.scopes.includes(INTROSPECT))
        throw new OAuthError('unauthorized_client', 'The client may not ask about tokens')
      return (await activeRefreshToken(token, client)) ?? (await activeAccessToken(token, client))
    }
  }
}
