import { verify as verifySignature } from 'node:crypto'
import type { AccessTokenClaims } from '../token/claims.ts'
import type { Clock } from '../token/clock.ts'
import type { Principal } from '../token/principal.ts'
import { type Refusal, refusal } from '../token/refusal.ts'
import { createTokenVerifier, type VerifiedToken } from '../token/verifier.ts'
import type { createKeys, IssuerKey } from './keys.ts'

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
  refuses(claims: AccessTokenClaims, kid: string): boolean
}

export const NOTHING_REVOKED: RevokedTokens = { version: () => 0, assertKnown: () => {}, refuses: () => false }

const REVOKED = refusal(
  'revoked',
  'The token, its session, its user, its client, one of its roles or its key was revoked'
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

  function judge(verified: VerifiedToken<IssuerKey> | Refusal): Principal | Refusal {
    if (verified.kind === 'refused') return verified
    revoked.assertKnown()
    const version = revoked.version()
    if (versions.get(verified) === version) return verified.principal
    if (revoked.refuses(verified.claims, verified.key.kid)) {
      tokens.forget(verified)
      return REVOKED
    }
    versions.set(verified, version)
    return verified.principal
  }

  return {
    /**
     * Returns the principal of a token; the reason for every token that is not valid or that is revoked. Returns no promise unless the
     * keys of the issuer must be fetched.
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
