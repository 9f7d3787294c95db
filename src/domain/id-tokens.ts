import { randomUUID } from 'node:crypto'
import { ID_TOKEN_BYTES_MAX } from '../limits.ts'
import type { Config } from '../settings.ts'
import { ID_TOKEN_TYP, LOGOUT_TOKEN_TYP, toIdTokenClaims, toLogoutTokenClaims } from '../token/id-token-claims.ts'
import { isCanonical, looseObject } from '../token/syntax.ts'
import { SYSTEM } from './caller.ts'
import { DomainError } from './errors.ts'
import type { KeyChains } from './key-chains.ts'
import type { Keys, SigningKey } from './keys.ts'
import { type Client, type Millis, type Seconds, SIGNING_ALGS, type StoredKey } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

/** Lifetime of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4 recommends at most two minutes). */
const LOGOUT_TOKEN_TTL: Seconds = 120
const seconds = (at: Millis): Seconds => Math.floor(at / 1000)

/** An ID token that this service issued to a client earlier. It may have expired. */
export interface IdTokenHint {
  userId: string
  clientId: string
  sessionId: string
}

/** Returns whether a key is published, or was retired because its tokens have expired: not as compromised while they were valid. */
const isTrusted = ({ state, verifiesUntilAt, retiredAt }: StoredKey): boolean =>
  state !== 'retired' || (verifiesUntilAt !== null && retiredAt !== null && retiredAt >= verifiesUntilAt)

/** Issues and reads ID tokens (OpenID Connect Core 1.0 §2), and issues logout tokens (Back-Channel Logout 1.0 §2.4). */
export function createIdTokens(deps: {
  store: Store
  signer: Signer
  keys: Keys
  keyChains: KeyChains
  clock: Clock
  settings: Config
}) {
  const { store, signer, keys, keyChains, clock, settings } = deps
  const { issuer } = settings

  /** Returns the key for the tokens of a client. @throws DomainError unavailable while no key can be created */
  async function keyFor({ idTokenAlg: alg }: Pick<Client, 'idTokenAlg'>): Promise<SigningKey> {
    if (alg === null) return keys.signing()
    const known = await keys.signingWith(alg)
    if (known !== null) return known
    await keyChains.begin(SYSTEM, alg)
    const key = await keys.signingWith(alg)
    if (key === null)
      throw new DomainError('unavailable', 'ID tokens of the client cannot be signed now', { retryAfter: 60 })
    return key
  }

  return {
    /** The algorithms that a client may register for its ID tokens. */
    algs: [...SIGNING_ALGS],

    /**
     * Signs the ID token of a session. Holds claims about the login only: a client reads the profile from `/userinfo`.
     * @param session its `authAt` and `amr` are those of the login, also after a renewal (OpenID Connect Core 1.0 §12.2)
     * @param nonce of the authorization request; null for a renewal
     */
    async issue(
      client: Pick<Client, 'id' | 'idTokenAlg'>,
      {
        session,
        nonce,
        accessToken,
        expiresIn
      }: {
        session: { id: string; userId: string; authAt: Millis; amr: string[] }
        nonce: string | null
        accessToken: string
        expiresIn: Seconds
      }
    ): Promise<string> {
      const key = await keyFor(client)
      const { id: sid, userId: sub, authAt, amr } = session
      const issuedAt = seconds(clock.now())
      const claims = toIdTokenClaims({
        issuer,
        sub,
        clientId: client.id,
        sid,
        issuedAt,
        expiresAt: issuedAt + expiresIn,
        authAt: seconds(authAt),
        amr,
        nonce,
        accessToken,
        alg: key.alg
      })
      return signer.sign(claims, key, ID_TOKEN_TYP)
    },

    /** Signs a logout token: it tells a client that a session of one of its users has ended. */
    async issueLogout(
      client: Pick<Client, 'id' | 'idTokenAlg'>,
      { userId, sessionId }: { userId: string; sessionId: string }
    ): Promise<string> {
      const issuedAt = seconds(clock.now())
      const claims = toLogoutTokenClaims({
        issuer,
        sub: userId,
        clientId: client.id,
        sid: sessionId,
        issuedAt,
        expiresAt: issuedAt + LOGOUT_TOKEN_TTL,
        id: randomUUID()
      })
      return signer.sign(claims, await keyFor(client), LOGOUT_TOKEN_TYP)
    },

    /**
     * Reads an `id_token_hint`. Accepts an expired token, and a token of a key that has expired, because an app keeps its last ID token
     * for as long as the session. Returns null for every text that is not an ID token of this service. Grants nothing: the hint names a
     * user, and does not prove that the sender is this user.
     */
    async readHint(token: string): Promise<IdTokenHint | null> {
      if (token.length > ID_TOKEN_BYTES_MAX) return null
      const [first = '', second = '', signature = '', ...rest] = token.split('.')
      if (rest.length > 0 || !isCanonical(signature)) return null
      const [header, claims] = [looseObject(first), looseObject(second)]
      if (header === null || claims === null || header.typ !== ID_TOKEN_TYP || typeof header.kid !== 'string')
        return null
      if ('crit' in header || 'b64' in header) return null
      const key = await store.keys.find(header.kid)
      if (key === null || key.alg !== header.alg || !isTrusted(key)) return null
      if (!(await signer.hasValidSignature(token, key)) || claims.iss !== issuer) return null
      const { sub, aud, sid } = claims
      if (typeof sub !== 'string' || typeof aud !== 'string' || typeof sid !== 'string') return null
      return { userId: sub, clientId: aud, sessionId: sid }
    }
  }
}

export type IdTokens = ReturnType<typeof createIdTokens>
