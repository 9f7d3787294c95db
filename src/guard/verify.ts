import { verify as verifySignature } from 'node:crypto'
import { type AccessTokenClaims, isAccessToken, parse } from './access-token.ts'
import type { Clock } from './clock.ts'
import type { Principal } from './core.ts'
import type { createKeys, VerificationKey } from './keys.ts'

/** Seconds that the clock of the issuer may be ahead of ours. */
const SKEW = 60
/** How many tokens are remembered whose signature was found good. */
const VERIFIED_KEPT = 10_000

interface Verified {
  token: string
  key: VerificationKey
  claims: AccessTokenClaims
  principal: Principal
  /** The version of the revocations in which it was judged. */
  version: number
}

/** What can end a token before its time. */
export interface Revoked {
  /** Changes when anything is revoked. */
  version(): number
  /** @throws UnavailableError when it is not known at this instant what was revoked */
  assertKnown(): void
  /** Whether it ends this token. */
  refuses(claims: AccessTokenClaims, kid: string): boolean
}

const signed: Record<string, (input: Buffer, key: VerificationKey['key'], signature: Buffer) => boolean> = {
  ES256: (input, key, signature) => verifySignature('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature),
  EdDSA: (input, key, signature) => verifySignature(null, input, key, signature),
  RS256: (input, key, signature) => verifySignature('sha256', input, key, signature)
}

const NO_ROLES = Object.freeze<string[]>([]) as string[]

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze)
  return value
}

const signatureOf = (token: string): string => token.slice(token.lastIndexOf('.') + 1)

/** It goes to every request of its token. */
function principalOf(claims: AccessTokenClaims): Principal {
  deepFreeze(claims)
  const { sub, client_id: clientId, sid = null, scope, roles } = claims
  const scopes = Object.freeze(scope.split(' ').filter((name) => name !== '')) as string[]
  return Object.freeze({
    kind: sid === null ? 'client' : 'user',
    sub,
    clientId,
    sid,
    scopes,
    // Only users have roles.
    roles: sid === null ? NO_ROLES : roles,
    token: claims
  })
}

/**
 * Judges tokens here, without asking anyone (RFC 9068 §4, RFC 8725): signature, `typ`, issuer, audience, time, required
 * claims, strict syntax. What was found good is remembered, and known by the whole token; time, key and revocations are looked at anew
 * each time.
 */
export function createVerifier(deps: {
  issuer: string
  audience: string
  keys: ReturnType<typeof createKeys>
  revoked: Revoked
  clock: Clock
}) {
  const { issuer, audience, keys, revoked, clock } = deps
  /** By their signatures, which are a sixth of what a look-up by the whole text would have to read. */
  const remembered = new Map<string, Verified>()

  function isInTime({ iat, exp }: AccessTokenClaims): boolean {
    const now = clock.now() / 1000
    return now < exp && iat <= now + SKEW
  }

  function remember(verified: Verified): void {
    if (remembered.size >= VERIFIED_KEPT) remembered.delete(remembered.keys().next().value as string)
    remembered.set(signatureOf(verified.token), verified)
  }

  /** Of a token that is not remembered, or whose key is another now. */
  function judgeNew(token: string, parsed: { alg: string; kid: string; claims: object }, key: VerificationKey | null) {
    const claims = parsed.claims as Record<string, unknown>
    if (key === null || key.alg !== parsed.alg || !isAccessToken(claims)) return null
    if (claims.iss !== issuer || claims.aud !== audience || !isInTime(claims)) return null
    // RFC 9068 §5: a client's own token must not be taken for a user's.
    if (claims.sid === undefined && claims.sub !== claims.client_id) return null
    const dot = token.lastIndexOf('.')
    const signature = Buffer.from(token.slice(dot + 1), 'base64url')
    if (!signed[key.alg]?.(Buffer.from(token.slice(0, dot)), key.key, signature)) return null
    revoked.assertKnown()
    const version = revoked.version()
    if (revoked.refuses(claims, key.kid)) return null
    const principal = principalOf(claims)
    remember({ token, key, claims, principal, version })
    return principal
  }

  /** Of one that was found good before with this very key. */
  function judgeAgain(known: Verified): Principal | null {
    const { token, key, claims, principal } = known
    if (isInTime(claims)) {
      revoked.assertKnown()
      const version = revoked.version()
      if (known.version === version || !revoked.refuses(claims, key.kid)) {
        known.version = version
        return principal
      }
    }
    remembered.delete(signatureOf(token))
    return null
  }

  return {
    /**
     * Whom a token speaks for; null for every token that is not good. At once, unless the issuer must be asked for its keys.
     * @throws UnavailableError when that is not to be known now
     */
    verify(token: string): Principal | null | Promise<Principal | null> {
      const known = remembered.get(signatureOf(token))
      let key: ReturnType<typeof keys.find> | undefined
      if (known !== undefined && known.token === token) {
        key = keys.find(known.key.kid)
        if (key === known.key) return judgeAgain(known)
        remembered.delete(signatureOf(token))
      }
      const parsed = parse(token)
      if (parsed === null) return null
      const judge = (found: VerificationKey | null) => judgeNew(token, parsed, found)
      key ??= keys.find(parsed.kid)
      return key instanceof Promise ? key.then(judge) : judge(key)
    },

    /** How many tokens are remembered. */
    size: () => remembered.size
  }
}
