import type { KeyObject } from 'node:crypto'
import { JWKS_BYTES_MAX, SIGNING_KEYS_MAX } from '../limits.ts'
import { publicKeyOf } from '../token/keys.ts'
import type { VerificationKey } from '../token/verifier.ts'
import { UnavailableError } from './errors.ts'
import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'
import type { Timer } from './timer.ts'

/** A key of the issuer that verifies its tokens. */
export interface IssuerKey extends VerificationKey {
  key: KeyObject
}

const TIMEOUT_MS = 5000
/** Seconds for which keys are fresh: without `max-age`, and at most. */
const MAX_AGE = { default: 300, max: 86_400 }
/** Milliseconds for which stale keys are still used when they cannot be fetched. */
const STALE_MS = 3_600_000
/** Minimum milliseconds from the start of one fetch to the start of the next. */
const COOLDOWN_MS = 200
/** Number of tokens with an unknown key that may wait for a fetch. */
const MAX_WAITING = 1000

const UNAVAILABLE = 'The keys of the issuer cannot be fetched'

const ALGS = ['ES256', 'EdDSA', 'RS256']
function issuerKey(jwk: Record<string, unknown>): IssuerKey | null {
  const { kid, alg } = jwk
  if (typeof kid !== 'string' || typeof alg !== 'string' || !ALGS.includes(alg)) return null
  const key = publicKeyOf(jwk, alg)
  return key && { kid, alg, key }
}

/**
 * Returns the keys of a JWKS (RFC 7517 §5) that may verify tokens; null when it is not a JWKS. Leaves out every `kid` that occurs
 * more than once.
 */
function readJwks(body: unknown): Map<string, IssuerKey> | null {
  const { keys } = (body ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length > SIGNING_KEYS_MAX) return null
  const isObject = (jwk: unknown): jwk is Record<string, unknown> => typeof jwk === 'object' && jwk !== null
  const byKid = Map.groupBy(keys.filter(isObject), ({ kid }) => kid)
  const valid = [...byKid.values()].flatMap(([jwk, ...more]) => {
    const key = jwk === undefined || more.length > 0 ? null : issuerKey(jwk)
    return key === null ? [] : [key]
  })
  return new Map(valid.map((key) => [key.kid, key]))
}

/** Returns the freshness lifetime in milliseconds (RFC 9111 §5.2.2.1). */
function maxAgeOf(headers: Headers): number {
  const [, seconds] = /(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])/i.exec(headers.get('cache-control') ?? '') ?? []
  return Math.min(seconds === undefined ? MAX_AGE.default : Number(seconds), MAX_AGE.max) * 1000
}

/**
 * Holds the keys of the issuer. Fetches them at the first use, when they are no longer fresh, and for an unknown key, at most five
 * times a second. Each fetch replaces all keys. When a fetch fails the keys are used for one more hour.
 */
export function createKeys(deps: { metadata: ReturnType<typeof createMetadata>; fetch: Fetch; timer: Timer }) {
  const { metadata, fetch, timer } = deps
  let keys = new Map<string, IssuerKey>()
  let freshUntil = Number.NEGATIVE_INFINITY
  let usableUntil = Number.NEGATIVE_INFINITY
  let fetchedAt = Number.NEGATIVE_INFINITY
  /** Number of fetches that have begun. */
  let fetches = 0
  /** The latest fetch: running, or ended. */
  let latest = Promise.resolve()
  let isFetching = false
  let waiting = 0

  async function load(): Promise<void> {
    const { jwksUri } = await metadata.get()
    const at = timer.elapsed()
    const { body, headers } = await requestJson(fetch, jwksUri, {
      timeout: TIMEOUT_MS,
      timer,
      maxBytes: JWKS_BYTES_MAX
    })
    const read = readJwks(body)
    if (read === null) throw new Error(`${jwksUri} is not a JWKS`)
    // Keeps the object of an unchanged key: a remembered token refers to its key by identity.
    const unchanged = (key: IssuerKey) => {
      const previous = keys.get(key.kid)
      return previous?.alg === key.alg && previous.key.equals(key.key) ? previous : key
    }
    keys = new Map([...read].map(([kid, key]) => [kid, unchanged(key)]))
    freshUntil = at + maxAgeOf(headers)
    usableUntil = freshUntil + STALE_MS
  }

  /** Fetches the keys. All callers at the same time share one fetch. */
  function refresh(): Promise<void> {
    if (!isFetching) {
      fetchedAt = timer.elapsed()
      fetches++
      isFetching = true
      latest = load().finally(() => {
        isFetching = false
      })
    }
    return latest
  }

  /** Waits for a fetch that begins after this call: the key may be newer than the current fetch. */
  async function fetchKey(kid: string): Promise<IssuerKey | null> {
    const before = fetches
    waiting++
    try {
      await latest.catch(() => {})
      const isMissing = () => !keys.has(kid) || timer.elapsed() >= usableUntil
      const pause = fetchedAt + COOLDOWN_MS - timer.elapsed()
      if (isMissing() && fetches === before && pause > 0) await timer.sleep(pause)
      if (isMissing()) await (fetches === before ? refresh() : latest)
    } catch (cause) {
      throw new UnavailableError(UNAVAILABLE, cause)
    } finally {
      waiting--
    }
    return keys.get(kid) ?? null
  }

  return {
    /**
     * Returns the key of a `kid`; null when the issuer has none. Returns no promise for a key that is known. While `MAX_WAITING` tokens
     * wait for a fetch, returns null for every other unknown key.
     * @throws UnavailableError when the keys are too old, or when it cannot be known whether the issuer has this key
     */
    find(kid: string): IssuerKey | null | Promise<IssuerKey | null> {
      const now = timer.elapsed()
      const isUsable = now < usableUntil
      const known = isUsable ? keys.get(kid) : undefined
      if (known === undefined) {
        if (waiting < MAX_WAITING) return fetchKey(kid)
        if (!isUsable) throw new UnavailableError(UNAVAILABLE)
        return null
      }
      // Uses the known key until the new ones have arrived.
      if (now >= freshUntil && now - fetchedAt >= COOLDOWN_MS) refresh().catch(() => {})
      return known
    }
  }
}
