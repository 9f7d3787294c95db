import { type AccessTokenClaims, isAccessToken } from './claims.ts'
import type { Clock } from './clock.ts'
import { type Principal, principalOf } from './principal.ts'
import { type ParsedToken, parse, signatureOf } from './syntax.ts'

/** A key by its id and algorithm. */
export interface VerificationKey {
  kid: string
  alg: string
}

/** A token with a valid signature and valid claims. It may have been revoked. */
export interface VerifiedToken<Key extends VerificationKey> {
  token: string
  key: Key
  claims: AccessTokenClaims
  principal: Principal
}

/** The conditions under which a caller accepts the claims of a token. */
export interface Acceptance {
  /** The required `aud`; null for any. */
  audience: string | null
  /** Seconds that the clock of the issuer may be ahead of this one. */
  ahead: number
  /** Seconds that a token is accepted after its `exp`. */
  behind: number
}

/**
 * Verifies access tokens (RFC 9068 §4, RFC 8725): syntax, header, key, signature, issuer, audience, time. It does not check
 * whether a token, its session or its key was revoked. Remembers verified tokens; key, audience and time are checked every time.
 */
export function createTokenVerifier<Key extends VerificationKey>(deps: {
  issuer: string
  clock: Clock
  /**
   * Returns the key of a `kid`; null when there is none. Called for every token. Must return the same object for the same key, because a
   * token is verified again when its key is another object.
   */
  findKey: (kid: string) => Key | null | Promise<Key | null>
  /** Returns whether the signature of the token is valid for this key and its algorithm. */
  hasValidSignature: (token: string, key: Key) => boolean
  /** Maximum number of remembered tokens. */
  remembered: number
}) {
  const { issuer, clock, findKey, hasValidSignature } = deps
  /** Verified tokens by their signature, which takes a sixth of the memory of the token. */
  const verified = new Map<string, VerifiedToken<Key>>()

  function isAccepted({ aud, iat, exp }: AccessTokenClaims, { audience, ahead, behind }: Acceptance): boolean {
    const now = clock.now() / 1000
    return (audience === null || aud === audience) && now < exp + behind && iat <= now + ahead
  }

  function remember(entry: VerifiedToken<Key>): VerifiedToken<Key> {
    if (verified.size >= deps.remembered) verified.delete(verified.keys().next().value as string)
    verified.set(signatureOf(entry.token), entry)
    return entry
  }

  /** Verifies a token that is not remembered, or whose key has changed. */
  function verifyNew(token: string, parsed: ParsedToken, key: Key | null, acceptance: Acceptance) {
    const { alg, claims } = parsed
    if (key === null || key.alg !== alg || !isAccessToken(claims)) return null
    if (claims.iss !== issuer || !isAccepted(claims, acceptance) || !hasValidSignature(token, key)) return null
    return remember({ token, key, claims, principal: principalOf(claims) })
  }

  function forget({ token }: VerifiedToken<Key>): void {
    verified.delete(signatureOf(token))
  }

  function verifyAgain(known: VerifiedToken<Key>, acceptance: Acceptance): VerifiedToken<Key> | null {
    if (isAccepted(known.claims, acceptance)) return known
    forget(known)
    return null
  }

  return {
    /**
     * Verifies a token. Returns null for an invalid token. Returns no promise for a remembered token unless `findKey` returns a promise.
     * Throws only the errors of `findKey`.
     */
    verify(token: string, acceptance: Acceptance): VerifiedToken<Key> | null | Promise<VerifiedToken<Key> | null> {
      const entry = verified.get(signatureOf(token))
      const known = entry?.token === token ? entry : undefined
      let key: Key | null | Promise<Key | null> | undefined
      if (known !== undefined) {
        key = findKey(known.key.kid)
        if (key === known.key) return verifyAgain(known, acceptance)
        if (!(key instanceof Promise)) forget(known)
      }
      const parsed = parse(token)
      if (parsed === null) return null
      const withKey = (each: Key | null) =>
        known !== undefined && each === known.key
          ? verifyAgain(known, acceptance)
          : verifyNew(token, parsed, each, acceptance)
      key ??= findKey(parsed.kid)
      return key instanceof Promise ? key.then(withKey) : withKey(key)
    },

    /** Forgets a token, so that it takes no memory and is verified again. */
    forget,

    /** Returns the number of remembered tokens. */
    size: () => verified.size
  }
}
