import type { Config } from '../settings.ts'
import { toClaims } from '../token/claims.ts'
import type { Principal } from '../token/principal.ts'
import { quoted, type Refusal, refusal } from '../token/refusal.ts'
import { TYP } from '../token/syntax.ts'
import { createTokenVerifier, type VerifiedToken } from '../token/verifier.ts'
import { isSwitchedOff } from './built-in.ts'
import type { Keys } from './keys.ts'
import type { Client, Millis, PublicKey, Seconds, SigningTimes, User } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { LiveState } from './ports/revocations.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'
import { heldByUser, intersect, narrowRoles } from './scopes.ts'
import { createTokenIds } from './token-ids.ts'

/** The accepted difference between the clocks of two instances. */
const SKEW: Seconds = 5
/** The same for a request that revokes a token. A larger value is safe, because a revocation gives no access. */
const REVOCATION_SKEW: Seconds = 60
/** Maximum number of tokens whose verified signature is cached. */
const REMEMBERED = 5000

/** A principal with the user as it was when the token was verified; null for a client's own token. */
export type CurrentPrincipal = Principal & { user: User | null }

/** Issues and verifies access tokens (RFC 9068). A token is valid by its signature, its claims and the current state. */
export function createAccessTokens(deps: { store: Store; signer: Signer; keys: Keys; clock: Clock; settings: Config }) {
  const { store, signer, keys, clock, settings } = deps
  const { issuer } = settings
  const newTokenId = createTokenIds()
  const tokens = createTokenVerifier<PublicKey>({
    issuer,
    clock,
    findKey: keys.find,
    hasValidSignature: signer.hasValidSignature,
    remembered: REMEMBERED
  })

  /** Returns the principal with the scopes and roles that the current state allows, or why the token is no longer valid. Caches no decision. */
  function applyState({ principal, claims }: VerifiedToken<PublicKey>, state: LiveState): CurrentPrincipal | Refusal {
    const { keyState, session, user, client, revoked } = state
    const { sub, clientId, sid, scopes } = principal
    const gone = (what: string) => refusal('revoked', `The token is no longer valid: ${what}`)
    if (revoked) return gone('it was revoked')
    if (keyState === null || keyState === 'retired') return gone('its key is retired')
    if (client === null) return gone('its client does not exist')
    if (client.disabledAt !== null || isSwitchedOff(clientId, settings)) return gone('its client is disabled')
    if (claims.rev < client.revokedSeq) return gone('its client was changed after it was issued')
    if (sid === null) return { ...principal, scopes: intersect(scopes, client.scopes), user: null }

    const now = clock.now()
    if (user === null) return gone('its user does not exist')
    if (user.disabledAt !== null) return gone('its user is disabled')
    if (session === null) return gone('its session does not exist')
    if (session.userId !== sub || session.clientId !== clientId)
      return gone('its session belongs to another user or client')
    if (session.endedAt !== null) return gone('its session has ended')
    if (claims.rev < session.revokedSeq) return gone('the earlier tokens of its session were revoked')
    if (now >= session.idleExpiresAt || now >= session.expiresAt) return gone('its session has expired')
    return {
      ...principal,
      scopes: intersect(scopes, client.scopes, heldByUser(user.scopes)),
      roles: narrowRoles(user.roles, client),
      user
    }
  }

  /** Reads the current state of a verified token. */
  function stateOf({ principal, claims, key }: VerifiedToken<PublicKey>, introspector: string | null) {
    const { sub, sid, clientId } = principal
    const { jti, aud } = claims
    return store.state({
      kid: key.kid,
      jti,
      sid,
      sub,
      clientId,
      introspector,
      identifier: aud === issuer ? '' : aud
    })
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
      /** The signing keys that the caller has read; empty when it has read none. */
      signing: SigningTimes[]
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
        id: newTokenId(),
        scopes,
        roles,
        sid: session === null ? null : session.sid,
        rev
      })
      return { accessToken: signer.sign(claims, await keys.signingAmong(subject.signing), TYP), expiresIn }
    },

    /** Returns the principal of a token for Latchkey's own API, or for any audience; the reason for every other token. */
    async verify(token: string, { anyAudience = false } = {}): Promise<CurrentPrincipal | Refusal> {
      const verified = await tokens.verify(token, { audiences: anyAudience ? null : [issuer], ahead: SKEW, behind: 0 })
      return verified.kind === 'refused' ? verified : applyState(verified, await stateOf(verified, null))
    },

    /** Returns the principal of a token that the client may introspect; the reason for every other token. */
    async introspect(token: string, client: Client): Promise<CurrentPrincipal | Refusal> {
      const verified = await tokens.verify(token, { audiences: null, ahead: SKEW, behind: 0 })
      if (verified.kind === 'refused') return verified
      const state = await stateOf(verified, client.id)
      if (state.mayIntrospect) return applyState(verified, state)
      const { aud } = verified.claims
      return refusal('wrong_audience', `The audience of the token is ${quoted(aud)}, which is not allowed here`)
    },

    /**
     * Verifies signature and claims of a token, and not whether the token was revoked. Returns null for
     * an invalid token and for a token of a retired key. Accepts clocks that differ by a minute, so that a client can revoke every token
     * that any instance accepts.
     */
    async read(token: string): Promise<Principal | null> {
      const verified = await tokens.verify(token, { audiences: null, ahead: REVOCATION_SKEW, behind: REVOCATION_SKEW })
      if (verified.kind === 'refused') return null
      // A key can be retired because it is compromised. Then somebody else may sign with it.
      const key = await store.keys.find(verified.key.kid)
      if (key === null || key.state === 'retired') return null
      return verified.principal
    }
  }
}

export type AccessTokens = ReturnType<typeof createAccessTokens>
