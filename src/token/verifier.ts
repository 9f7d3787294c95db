import { TOKEN_BYTES_MAX } from '../limits.ts'
import { type AccessTokenClaims, isAccessToken } from './claims.ts'
import type { Clock } from './clock.ts'
import { type Principal, principalOf } from './principal.ts'
import { quoted, type Refusal, refusal } from './refusal.ts'
import { parse, signatureOf } from './syntax.ts'

/** A key by its id and algorithm. */
export interface VerificationKey {
  kid: string
  alg: string
}

/** A token with a valid signature and valid claims. It may have been revoked. */
export interface VerifiedToken<Key extends VerificationKey> {
  kind: 'verified'
  token: string
  key: Key
  claims: AccessTokenClaims
  principal: Principal
}

/** The conditions under which a caller accepts the claims of a token. */
export interface Acceptance {
  /** The allowed values of `aud`; null for any. */
  audiences: readonly string[] | null
  /** Seconds that the clock of the issuer may be ahead of this one. */
  ahead: number
  /** Seconds that a token is accepted after its `exp`. */
  behind: number
}

/** Returns an instant of a claim for a message. A claim may be any integer, also one that is no date. */
function instant(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? `${seconds} s after 1970` : date.toISOString().replace('.000Z', 'Z')
}

const MALFORMED = refusal('malformed', 'The token does not have the form of an access token of Latchkey')
const NO_ACCESS_TOKEN = refusal('malformed', 'The claims of the token are not those of an access token of Latchkey')
const WRONG_SIGNATURE = refusal('wrong_signature', 'The signature of the token is not valid for its key')

/**
 * Verifies access tokens (RFC 9068 §4, RFC 8725): syntax, header, issuer, audience, time, key, signature. It does not check
 * whether a token, its session or its key was revoked. Remembers verified tokens; key, audience and time are checked every time.
 */
export function createTokenVerifier<Key extends VerificationKey>(deps: {
  issuer: string
  clock: Clock
  /**
   * Returns the key of a `kid`; null when there is none. Called for every token whose claims are accepted. Must return the same object
   * for the same key, because a token is verified again when its key is another object.
   */
  findKey: (kid: string) => Key | null | Promise<Key | null>
  /** Returns whether the signature of the token is valid for this key and its algorithm. */
  hasValidSignature: (token: string, key: Key) => boolean | Promise<boolean>
  /** Maximum number of remembered tokens. */
  remembered: number
}) {
  const { issuer, clock, findKey, hasValidSignature } = deps
  /** Verified tokens by their signature, which takes a sixth of the memory of the token. */
  const verified = new Map<string, VerifiedToken<Key>>()

  /** Returns why audience or time of a token are not accepted; null when they are. */
  function refusalOf({ aud, iat, exp }: AccessTokenClaims, { audiences, ahead, behind }: Acceptance): Refusal | null {
    if (audiences !== null && !audiences.includes(aud))
      return refusal(
        'wrong_audience',
        `The audience of the token is ${quoted(aud)}, this service is ${audiences.map(quoted).join(' or ')}`
      )
    const now = clock.now() / 1000
    if (now >= exp + behind)
      return refusal('expired', `The token expired at ${instant(exp)}, it is ${instant(Math.floor(now))}`)
    if (iat > now + ahead)
      return refusal(
        'clock',
        `The token was issued at ${instant(iat)}, it is ${instant(Math.floor(now))}: the clock of this service or of the issuer is wrong`
      )
    return null
  }

  function remember(entry: VerifiedToken<Key>): VerifiedToken<Key> {
    if (verified.size >= deps.remembered) verified.delete(verified.keys().next().value as string)
    verified.set(signatureOf(entry.token), entry)
    return entry
  }

  function forget({ token }: VerifiedToken<Key>): void {
    verified.delete(signatureOf(token))
  }

  function verifyAgain(known: VerifiedToken<Key>, acceptance: Acceptance): VerifiedToken<Key> | Refusal {
    const refused = refusalOf(known.claims, acceptance)
    if (refused !== null) forget(known)
    return refused ?? known
  }

  /**
   * Verifies a token that is not remembered, or whose key has changed. Searches the key last, because that can cost a request.
   * @param changed the new key of a remembered token; null when the key was removed
   */
  function verifyNew(token: string, acceptance: Acceptance, changed?: Key | null) {
    const parsed = parse(token)
    if (parsed === null) return MALFORMED
    const { alg, kid, claims } = parsed
    if (!isAccessToken(claims)) return NO_ACCESS_TOKEN
    const content: AccessTokenClaims = claims
    if (claims.iss !== issuer)
      return refusal(
        'wrong_issuer',
        `The issuer of the token is ${quoted(claims.iss)}, this service expects ${quoted(issuer)}`
      )
    const refused = refusalOf(claims, acceptance)
    if (refused !== null) return refused

    function withKey(found: Key | null): VerifiedToken<Key> | Refusal | Promise<VerifiedToken<Key> | Refusal> {
      if (found === null) return refusal('unknown_key', `The issuer has no key ${quoted(kid)}`)
      if (found.alg !== alg)
        return refusal('wrong_signature', `The token is signed with ${quoted(alg)}, its key is for ${found.alg}`)
      const conclude = (isValid: boolean) =>
        isValid
          ? remember({ kind: 'verified', token, key: found, claims: content, principal: principalOf(content) })
          : WRONG_SIGNATURE
      const isValid = hasValidSignature(token, found)
      return isValid instanceof Promise ? isValid.then(conclude) : conclude(isValid)
    }
    const key = changed === undefined ? findKey(kid) : changed
    return key instanceof Promise ? key.then(withKey) : withKey(key)
  }

  return {
    /**
     * Verifies a token. Returns the reason for an invalid token. Returns no promise for a remembered token unless `findKey` returns a
     * promise. Throws only the errors of `findKey` and `hasValidSignature`.
     */
    verify(
      token: string,
      acceptance: Acceptance
    ): VerifiedToken<Key> | Refusal | Promise<VerifiedToken<Key> | Refusal> {
      if (token.length > TOKEN_BYTES_MAX) return MALFORMED
      const known = verified.get(signatureOf(token))
      if (known?.token !== token) return verifyNew(token, acceptance)
      const withKey = (key: Key | null) => {
        if (key === known.key) return verifyAgain(known, acceptance)
        forget(known)
        return verifyNew(token, acceptance, key)
      }
      const key = findKey(known.key.kid)
      return key instanceof Promise ? key.then(withKey) : withKey(key)
    },

    /** Forgets a token, so that it takes no memory and is verified again. */
    forget,

    /** Returns the number of remembered tokens. */
    size: () => verified.size
  }
}
