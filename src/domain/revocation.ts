import { REVOCATION_QUOTA } from '../limits.ts'
import type { AccessTokens } from './access-tokens.ts'
import type { Caller } from './caller.ts'
import { DomainError, OAuthError } from './errors.ts'
import type { Client } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'
import type { RefreshTokens } from './refresh-tokens.ts'

/** Milliseconds after its `exp` for which another instance, whose clock is behind, may still accept a token. */
const CLOCKS_DIFFER_MS = 60_000

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
     * only this token, unless so many tokens of its session were revoked that all tokens of the session end. Does nothing for a token
     * that is unknown, expired or already revoked. The end of a session is never refused; single tokens have a quota.
     * @throws OAuthError invalid_grant when the token belongs to another client; DomainError throttled, unavailable
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
      const { kind, sub, sid, token: claims } = signed
      const { burst, intervalMs: interval } = REVOCATION_QUOTA[kind]
      try {
        await store.revocations.revokeToken(caller, {
          jti: claims.jti,
          userId: kind === 'user' ? sub : null,
          sid,
          aud: claims.aud,
          expiresAt: claims.exp * 1000 + CLOCKS_DIFFER_MS,
          now,
          quota: caller.kind === 'operator' ? null : { writer: `${kind} ${sub}`, burst, interval }
        })
      } catch (error) {
        const isRevoked = error instanceof DomainError && error.code === 'conflict'
        if (!isRevoked) throw error
      }
    }
  }
}
