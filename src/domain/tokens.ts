import { randomBytes } from 'node:crypto'
import type { Clients } from './index.ts'
import type { Keys } from './keys.ts'
import type { AccessTokenClaims, Client, Millis, Principal, Seconds } from './model.ts'
import type { Clock, LiveState, Signer, Store } from './ports.ts'
import { intersect } from './scopes.ts'

/** How far another instance's clock may be ahead of this one. */
const SKEW: Seconds = 5

/** Access tokens: made by the rules of RFC 9068, judged by the state of the instant. */
export function createTokens(deps: {
  store: Store
  signer: Signer
  keys: Keys
  clients: Clients
  clock: Clock
  issuer: string
  /** The lifetime of a token whose client has none of its own. */
  ttl: Seconds
}) {
  const { store, signer, keys, clients, clock, issuer, ttl } = deps

  /** What the live state leaves of a genuine token; null for nothing. */
  function judge(token: AccessTokenClaims, state: LiveState): Principal | null {
    const { keyState, session, user, client, revoked } = state
    const now = clock.now()
    const sid = token.sid ?? null
    if (revoked || keyState === null || keyState === 'retired') return null
    if (client === null || client.disabledAt !== null || !clients.enabled(token.client_id)) return null
    if (token.rev < client.revokedSeq) return null

    if (sid === null) {
      if (token.sub !== token.client_id) return null
    } else {
      if (user === null || user.disabledAt !== null || session === null) return null
      if (session.userId !== token.sub || session.clientId !== token.client_id || session.endedAt !== null) return null
      if (now >= session.idleExpiresAt || now >= session.expiresAt) return null
    }
    const scopes = token.scope.split(' ')
    return {
      kind: sid === null ? 'client' : 'user',
      sub: token.sub,
      clientId: token.client_id,
      sid,
      scopes: intersect(scopes, client.scopes, sid === null ? scopes : (user?.scopes ?? [])),
      roles: sid === null ? [] : (user?.roles ?? []),
      token
    }
  }

  /** @param skew how far the clock that signed, or that other instances have, may be from this one */
  async function genuine(
    token: string,
    skew: { ahead: Seconds; behind: Seconds }
  ): Promise<{ kid: string; claims: AccessTokenClaims } | null> {
    const verified = await signer.verify(token, keys.find)
    if (verified === null || !signer.isAccessToken(verified.claims)) return null
    const { kid, claims } = verified
    const now = clock.now() / 1000
    const inTime = now < claims.exp + skew.behind && claims.iat <= now + skew.ahead
    return claims.iss === issuer && inTime ? { kid, claims } : null
  }

  /**
   * Whom this token speaks for, by its signature, its claims and the state of this instant; null for every token that is
   * not good, whatever the reason, or not for an audience that is allowed. Nothing of the answer is kept.
   */
  async function inspect(
    token: string,
    allowed: (aud: string) => boolean | Promise<boolean>
  ): Promise<Principal | null> {
    const found = await genuine(token, { ahead: SKEW, behind: 0 })
    if (found === null || !(await allowed(found.claims.aud))) return null
    const { kid, claims } = found
    const { jti, sub, sid = null, client_id: clientId } = claims
    return judge(claims, await store.state({ kid, jti, sid, sub, clientId }))
  }

  return {
    /**
     * Signs an access token, RFC 9068; it does not outlive the session.
     * @param rev the revocation log's sequence, read before anything else that the token is made from
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
      const { id: clientId, accessTokenTtl } = subject.client
      const iat = Math.floor(clock.now() / 1000)
      const left =
        subject.session === null ? Number.POSITIVE_INFINITY : Math.floor(subject.session.expiresAt / 1000) - iat
      const expiresIn = Math.max(1, Math.min(accessTokenTtl ?? ttl, left))
      const claims: AccessTokenClaims = {
        iss: issuer,
        sub: subject.sub,
        aud: subject.aud,
        client_id: clientId,
        iat,
        exp: iat + expiresIn,
        jti: randomBytes(16).toString('base64url'),
        scope: subject.scopes.join(' '),
        roles: subject.roles,
        ...(subject.session === null ? {} : { sid: subject.session.sid }),
        rev: subject.rev
      }
      return { accessToken: signer.sign(claims, await keys.signing()), expiresIn }
    },

    /** Who is calling this service with this token: `inspect`, of a token that is for Latchkey's own API. */
    verify: (token: string): Promise<Principal | null> => inspect(token, (aud) => aud === issuer),

    inspect,

    /** The claims of a token that we signed and that any instance may take for good, whatever has become of what it rests on; else null. */
    async read(token: string): Promise<AccessTokenClaims | null> {
      const found = await genuine(token, { ahead: 60, behind: 60 })
      // With a key that was lost anybody signs.
      const key = found && (await store.keys.find(found.kid))
      return found === null || key === null || key.state === 'retired' ? null : found.claims
    }
  }
}
