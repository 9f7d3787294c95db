import { verify as verifySignature } from 'node:crypto'
import type { AccessTokenClaims } from '../token/claims.ts'
import type { Clock } from '../token/clock.ts'
import type { Principal } from '../token/principal.ts'
import { type Refusal, refusal } from '../token/refusal.ts'
import { createTokenVerifier, type VerifiedToken } from '../token/verifier.ts'
import { UnavailableError } from './errors.ts'
import type { createKeys, IssuerKey } from './keys.ts'
import type { Verdict } from './revoked.ts'

/** Seconds that the clock of the issuer may be ahead of this one. */
const SKEW = 60
/** Number of verified tokens to remember. */
const REMEMBERED = 10_000

/** The revoked tokens. */
export interface RevokedTokens {
  /** Returns a number that changes when anything is revoked. */
  version(): number
  /** @throws UnavailableError when it is unknown which tokens are revoked */
  assertKnown(): void
  /** Returns whether this token is revoked. */
  judge(claims: AccessTokenClaims, kid: string): Verdict
  /**
   * Asks the issuer about a token that is `unknown`.
   * @throws UnavailableError when the issuer gives no valid response, or does not allow the question
   */
  introspect(token: string, principal: Principal): Promise<Principal | Refusal>
}

export const NOTHING_REVOKED: RevokedTokens = {
  version: () => 0,
  assertKnown: () => {},
  judge: () => 'valid',
  introspect: async (_token, principal) => principal
}

const REVOKED = refusal(
  'revoked',
  'The token, its session, its user, its client, one of its roles or its key was revoked'
)

const TOO_OLD = refusal(
  'revoked',
  'The token is older than the revocations in memory, and the issuer does not say whether it is active: a newer token is accepted'
)

const signatures: Record<string, (input: Buffer, key: IssuerKey['key'], signature: Buffer) => boolean> = {
  ES256: (input, key, signature) => verifySignature('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature),
  EdDSA: (input, key, signature) => verifySignature(null, input, key, signature),
  RS256: (input, key, signature) => verifySignature('sha256', input, key, signature)
}

/** Returns whether the signature of a token is valid for this key (RFC 7515 §5.2). */
export function hasValidSignature(token: string, { alg, key }: IssuerKey): boolean {
  const dot = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(dot + 1), 'base64url')
  return signatures[alg]?.(Buffer.from(token.slice(0, dot)), key, signature) === true
}

/** Verifies tokens in this process, with the keys and the revocations of the issuer. */
export function createVerifier(deps: {
  issuer: string
  audiences: readonly string[]
  keys: ReturnType<typeof createKeys>
  revoked: RevokedTokens
  clock: Clock
}) {
  const { issuer, audiences, keys, revoked, clock } = deps
  const tokens = createTokenVerifier({
    issuer,
    clock,
    findKey: keys.find,
    hasValidSignature,
    remembered: REMEMBERED
  })
  const acceptance = { audiences, ahead: SKEW, behind: 0 }
  /** By remembered token: the version of the revocations in which it was not revoked. */
  const versions = new WeakMap<VerifiedToken<IssuerKey>, number>()

  function judge(verified: VerifiedToken<IssuerKey> | Refusal): Principal | Refusal | Promise<Principal | Refusal> {
    if (verified.kind === 'refused') return verified
    revoked.assertKnown()
    const version = revoked.version()
    if (versions.get(verified) === version) return verified.principal
    const verdict = revoked.judge(verified.claims, verified.key.kid)
    if (verdict === 'revoked') {
      tokens.forget(verified)
      return REVOKED
    }
    if (verdict === 'unknown')
      return revoked.introspect(verified.token, verified.principal).catch((error: unknown) => {
        if (error instanceof UnavailableError) return TOO_OLD
        throw error
      })
    versions.set(verified, version)
    return verified.principal
  }

  return {
    /**
     * Returns the principal of a token; the reason for every token that is not valid or that is revoked. Returns no promise unless the
     * keys of the issuer must be fetched, or the issuer must be asked about the token.
     * @throws UnavailableError when it cannot be known now whether the token is valid
     */
    verify(token: string): Principal | Refusal | Promise<Principal | Refusal> {
      const verified = tokens.verify(token, acceptance)
      return verified instanceof Promise ? verified.then(judge) : judge(verified)
    },

    /** Returns the number of remembered tokens. */
    size: tokens.size
  }
}
