import type { KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { publicKeyOf } from './access-token.ts'
import { UnavailableError } from './errors.ts'
import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'

/** A key that tokens of the issuer are verified with. */
export interface VerificationKey {
  kid: string
  alg: string
  key: KeyObject
}

const TIMEOUT_MS = 5000
const MAX_BYTES = 65_536
const MAX_KEYS = 100
/** Seconds for which the keys are good when the issuer does not say it, and at most. */
const MAX_AGE = { otherwise: 300, most: 86_400 }
/** How long keys that cannot be fetched anew go on being good. */
const STALE_MS = 3_600_000
/** From one fetch to the next, and how many tokens with a key that is not known wait for that at most. */
const COOLDOWN_MS = 200
const MOST_WAITING = 1000

const UNAVAILABLE = 'The keys of the issuer cannot be fetched'

const ALGS = ['ES256', 'EdDSA', 'RS256']
function verificationKey(jwk: Record<string, unknown>): VerificationKey | null {
  const { kid, alg } = jwk
  if (typeof kid !== 'string' || typeof alg !== 'string' || !ALGS.includes(alg)) return null
  const key = publicKeyOf(jwk, alg)
  return key && { kid, alg, key }
}

/** The keys of a JWKS (RFC 7517 §5) that tokens may be verified with; a kid that two keys have is none's. Null for no JWKS. */
function readJwks(body: unknown): Map<string, VerificationKey> | null {
  const { keys } = (body ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) return null
  const isObject = (jwk: unknown): jwk is Record<string, unknown> => typeof jwk === 'object' && jwk !== null
  const times = Map.groupBy(keys.filter(isObject), ({ kid }) => kid)
  const found = [...times.values()].flatMap(([jwk, ...more]) => {
    const key = jwk === undefined || more.length > 0 ? null : verificationKey(jwk)
    return key === null ? [] : [key]
  })
  return new Map(found.map((key) => [key.kid, key]))
}

/** RFC 9111 §5.2.2.1 */
function maxAgeOf(headers: Headers): number {
  const [, seconds] = /(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])/i.exec(headers.get('cache-control') ?? '') ?? []
  return Math.min(seconds === undefined ? MAX_AGE.otherwise : Number(seconds), MAX_AGE.most) * 1000
}

/**
 * The keys of the issuer: fetched at the first use, again when the time is over for which the issuer lets them be kept, and
 * for a key that is not known, five times a second at most. What is fetched replaces all that was there. Keys that cannot be
 * fetched anew are good for an hour more.
 */
export function createKeys(deps: { metadata: ReturnType<typeof createMetadata>; fetch: Fetch; elapsed: () => number }) {
  const { metadata, fetch, elapsed } = deps
  let keys = new Map<string, VerificationKey>()
  let freshUntil = Number.NEGATIVE_INFINITY
  let goodUntil = Number.NEGATIVE_INFINITY
  let askedAt = Number.NEGATIVE_INFINITY
  let underWay: Promise<void> | null = null
  let waiting = 0

  async function load(): Promise<void> {
    const { jwksUri } = await metadata.get()
    const at = elapsed()
    const { body, headers } = await requestJson(fetch, jwksUri, { timeout: TIMEOUT_MS, maxBytes: MAX_BYTES })
    const read = readJwks(body)
    if (read === null) throw new Error(`${jwksUri} is no JWKS`)
    // The same object for the same key: what was verified with it is known by it.
    const same = (key: VerificationKey) => {
      const before = keys.get(key.kid)
      return before?.alg === key.alg && before.key.equals(key.key) ? before : key
    }
    keys = new Map([...read].map(([kid, key]) => [kid, same(key)]))
    freshUntil = at + maxAgeOf(headers)
    goodUntil = freshUntil + STALE_MS
  }

  /** One at a time, whoever asks. */
  function refresh(): Promise<void> {
    if (underWay === null) {
      askedAt = elapsed()
      underWay = load().finally(() => {
        underWay = null
      })
    }
    return underWay
  }

  /** A look that began before the token came is not the last word: the key may be newer. */
  async function lookFor(kid: string): Promise<VerificationKey | null> {
    const since = elapsed()
    waiting++
    try {
      await underWay?.catch(() => {})
      const pause = askedAt + COOLDOWN_MS - elapsed()
      if (!keys.has(kid) && pause > 0) await sleep(pause)
      if (!keys.has(kid) || elapsed() >= goodUntil) await (askedAt < since ? refresh() : underWay)
    } catch (cause) {
      throw new UnavailableError(UNAVAILABLE, cause)
    } finally {
      waiting--
    }
    return keys.get(kid) ?? null
  }

  return {
    /**
     * Null for a key that the issuer does not have. At once for one that is known and good.
     * @throws UnavailableError when there are no keys that are good, or the issuer does not say whether it has this one
     */
    find(kid: string): VerificationKey | null | Promise<VerificationKey | null> {
      const now = elapsed()
      const isGood = now < goodUntil
      const known = isGood ? keys.get(kid) : undefined
      if (known === undefined) {
        if (waiting < MOST_WAITING) return lookFor(kid)
        if (!isGood) throw new UnavailableError(UNAVAILABLE)
        return null
      }
      // What is known is used on until the new ones are there.
      if (now >= freshUntil && now - askedAt >= COOLDOWN_MS) refresh().catch(() => {})
      return known
    }
  }
}
