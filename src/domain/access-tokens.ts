import { randomBytes } from 'node:crypto'
import type { Config } from '../settings.ts'
import { toClaims } from '../token/claims.ts'
import type { Principal } from '../token/principal.ts'
import { createTokenVerifier, type VerifiedToken } from '../token/verifier.ts'
import { isSwitchedOff } from './built-in.ts'
import type { Keys } from './keys.ts'
import type { Client, Millis, PublicKey, Seconds } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { LiveState } from './ports/revocations.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'
import { intersect, narrowRoles } from './scopes.ts'

/** The accepted difference between the clocks of two instances. */
const SKEW: Seconds = 5
/** The same for a request that revokes a token. A larger value is safe, because a revocation gives no access. */
const REVOCATION_SKEW: Seconds = 60
/** Maximum number of tokens whose verified signature is cached. */
const REMEMBERED = 5000

/** Issues and verifies access tokens (RFC 9068). A token is valid by its signature, its claims and the current state. */
export function createAccessTokens(deps: { store: Store; signer: Signer; keys: Keys; clock: Clock; settings: Config }) {
  const { store, signer, keys, clock, settings } = deps
  const { issuer } = settings
  const tokens = createTokenVerifier<PublicKey>({
    issuer,
    clock,
    findKey: keys.find,
    hasValidSignature: signer.hasValidSignature,
    remembered: REMEMBERED
  })

  /** Returns the principal with the scopes and roles that the current state allows; null when the token is no longer valid. */
  function applyState({ principal, claims }: VerifiedToken<PublicKey>, state: LiveState): Principal | null {
    const { keyState, session, user, client, revoked } = state
    const { sub, clientId, sid, scopes } = principal
    if (revoked || keyState === null || keyState === 'retired') return null
    if (client === null || client.disabledAt !== null || isSwitchedOff(clientId, settings)) return null
    if (claims.rev < client.revokedSeq) return null
    if (sid === null) return { ...principal, scopes: intersect(scopes, client.scopes) }

    const now = clock.now()
    if (user === null || user.disabledAt !== null || session === null) return null
    if (session.userId !== sub || session.clientId !== clientId || session.endedAt !== null) return null
    if (now >= session.idleExpiresAt || now >= session.expiresAt) return null
    return {
      ...principal,
      scopes: intersect(scopes, client.scopes, user.scopes),
      roles: narrowRoles(user.roles, client)
    }
  }

  /**
   * Verifies signature, claims and current state of a token and returns its principal. Returns null for an invalid token, and for
   * a token with an audience that is not allowed. Caches no decision.
   */
  async function inspect(
    token: string,
    isAllowed: (aud: string) => boolean | Promise<boolean>
  ): Promise<Principal | null> {
    const verified = await tokens.verify(token, { audience: null, ahead: SKEW, behind: 0 })
    if (verified === null || !(await isAllowed(verified.claims.aud))) return null
    const { sub, sid, clientId } = verified.principal
    return applyState(
      verified,
      await store.state({ kid: verified.key.kid, jti: verified.claims.jti, sid, sub, clientId })
    )
  }

  return {
    /**
     * Signs an access token (RFC 9068). The token does not outlive the session, so services that verify it themselves need not know when
     * the session becomes idle.
     * @param subject `rev` is the number of the revocation log. The caller must read it before the other data of the token
     */
    async issue(subject: {
      sub: string
      client: Pick<Client, 'id' | 'accessTokenTtl'>
      aud: string
      scopes: string[]
      roles: string[]
      /** Null for a client's own token. */
      session: { sid: string; expiresAt: Millis } | null
      rev: number
    }): Promise<{ accessToken: string; expiresIn: Seconds }> {
      const { sub, client, aud, scopes, roles, session, rev } = subject
      const issuedAt = Math.floor(clock.now() / 1000)
      const left = session === null ? Number.POSITIVE_INFINITY : Math.floor(session.expiresAt / 1000) - issuedAt
      const expiresIn = Math.max(1, Math.min(client.accessTokenTtl ?? settings.accessTokenTtl, left))
      const claims = toClaims({
        issuer,
        sub,
        audience: aud,
        clientId: client.id,
        issuedAt,
        expiresAt: issuedAt + expiresIn,
        id: randomBytes(16).toString('base64url'),
        scopes,
        roles,
        sid: session === null ? null : session.sid,
        rev
      })
      return { accessToken: signer.sign(claims, await keys.signing()), expiresIn }
    },

    /** Returns the principal of a token for Latchkey's own API; null for every other token. */
    verify: (token: string): Promise<Principal | null> => inspect(token, (aud) => aud === issuer),

    inspect,

    /**
     * Verifies signature and claims of a token, and not whether the token was revoked. Returns its id and its client. Returns null for
     * an invalid token and for a token of a retired key. Accepts clocks that differ by a minute, so that a client can revoke every token
     * that any instance accepts.
     */
    async read(token: string): Promise<{ jti: string; clientId: string } | null> {
      const verified = await tokens.verify(token, { audience: null, ahead: REVOCATION_SKEW, behind: REVOCATION_SKEW })
      // A key can be retired because it is compromised. Then somebody else may sign with it.
      const key = verified && (await store.keys.find(verified.key.kid))
      if (verified === null || key === null || key.state === 'retired') return null
      return { jti: verified.claims.jti, clientId: verified.principal.clientId }
    }
  }
}

export type AccessTokens = ReturnType<typeof createAccessTokens>
