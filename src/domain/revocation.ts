import type { AccessTokens } from './access-tokens.ts'
import type { Caller } from './caller.ts'
import { DomainError, OAuthError } from './errors.ts'
import type { Client } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'
import type { RefreshTokens } from './refresh-tokens.ts'

/** Revokes tokens (RFC 7009). */
export function createRevocation(deps: {
  store: Store
  accessTokens: AccessTokens
  refreshTokens: RefreshTokens
  clock: Clock
}) {
  const { store, accessTokens, refreshTokens, clock } = deps

  function assertOwner(client: Pick<Client, 'id'>, owner: string): void {
    if (client.id !== owner) throw new OAuthError('invalid_grant', 'The token belongs to another client')
  }

  return {
    /**
     * Revokes a token. Revoking a refresh token ends its session, even if the token was used before. Revoking an access token ends
     * only this token. Does nothing for a token that is unknown, expired or already revoked.
     * @throws OAuthError invalid_grant when the token belongs to another client; DomainError unavailable
     */
    async revoke(caller: Caller, { client, token }: { client: Pick<Client, 'id'>; token: string }): Promise<void> {
      const now = clock.now()
      const presented = await refreshTokens.read(token)
      if (presented !== null) {
        assertOwner(client, presented.session.clientId)
        await store.sessions.end(caller, { id: presented.session.id, now })
        return
      }
      const signed = await accessTokens.read(token)
      if (signed === null) return
      assertOwner(client, signed.clientId)
      try {
        await store.revocations.revokeToken(caller, { jti: signed.jti, now })
      } catch (error) {
        const isRevoked = error instanceof DomainError && error.code === 'conflict'
        if (!isRevoked) throw error
      }
    }
  }
}
