import { SIGNING_KEYS_MAX } from '../limits.ts'
import type { Config } from '../settings.ts'
import { type Caller, SYSTEM } from './caller.ts'
import { DomainError, noSuch } from './errors.ts'
import { type Keys, keyContext } from './keys.ts'
import { type Millis, type StoredKey, TOKENS_LIVE_MS } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { KeyBasis, SealedTable } from './ports/keys.ts'
import type { Page } from './ports/page.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Store } from './ports/store.ts'
import { type RefreshTokens, refreshKeyContext } from './refresh-tokens.ts'
import { CANARY } from './sealing.ts'

const DAY_MS = 86_400_000
/** The longest lifetime of a session plus one day. */
const REFRESH_VERIFIES_MS = 366 * DAY_MS

/** Returns the context with which a value of that table is sealed. */
function contextOf(table: SealedTable, id: string): string {
  switch (table) {
    case 'signing_keys':
      return keyContext(id)
    case 'refresh_keys':
      return refreshKeyContext(id)
    case 'sealed_values':
      return `sealed_values/${id}`
  }
}

const iso = (at: Millis): string => new Date(at).toISOString()
const conflict = (message: string) => new DomainError('conflict', message)
const resealFirst = () => conflict('The sealing key is being replaced: run "latchkey key reseal" first')
const changedMeanwhile = () => conflict('The keys were changed by somebody else at the same time')

/** Rotates and retires signing keys. The states of a key are next → signing → verifying → retired. */
export function createKeyRotation(deps: {
  store: Store
  keys: Keys
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
  settings: Config
}) {
  const { store, keys, refreshTokens, sealer, clock, settings } = deps
  const now = () => clock.now()

  async function get(kid: string): Promise<StoredKey> {
    const key = await store.keys.find(kid)
    if (key === null) throw noSuch('key', kid)
    return key
  }

  /** Reads the current keys, and the basis that must still hold when they change. */
  async function readBasis(): Promise<{ signing: StoredKey; next: StoredKey; from: KeyBasis; published: StoredKey[] }> {
    const [published, canary] = await Promise.all([store.keys.list(), store.sealed.get(CANARY.name)])
    const signing = published.find(({ state }) => state === 'signing')
    const next = published.find(({ state }) => state === 'next')
    if (signing === undefined || next === undefined || canary === null)
      throw new Error('the database has no signing key, no next key or no canary')
    return { signing, next, from: { signing: signing.kid, next: next.kid, canary }, published }
  }

  /** The instant from which every cached JWKS holds the key. */
  const knownFrom = (next: StoredKey): Millis => next.createdAt + settings.jwksMaxAge * 1000

  const advance = async (caller: Caller, from: KeyBasis): Promise<boolean> =>
    store.keys.rotate(caller, {
      from,
      next: await keys.generate('next'),
      refreshKey: refreshTokens.generateKey(),
      verifiesMs: TOKENS_LIVE_MS,
      refreshVerifiesMs: REFRESH_VERIFIES_MS,
      clock: now
    })

  return {
    /** Returns one page of all keys, the newest first. */
    page: (page: Page): Promise<Paged<StoredKey>> => paged(page, (key) => key.kid, store.keys.page),

    /**
     * Makes the next key sign. The previous key verifies for as long as its tokens can be valid, a new next key with the algorithm of
     * the settings is published, and the refresh key is replaced too. Exactly one of concurrent calls rotates.
     * @returns the key that signs now
     * @throws DomainError conflict when verifiers may not know the next key yet, when `SIGNING_KEYS_MAX` keys are published, when another call rotated at the same time, and
     *   between a replacement of the sealing key and `reseal`
     */
    async rotate(caller: Caller): Promise<StoredKey> {
      const { next, from, published } = await readBasis()
      if (!sealer.isCurrent(from.canary)) throw resealFirst()
      if (published.length >= SIGNING_KEYS_MAX)
        throw conflict(
          `There are ${published.length} published keys: the keys can be rotated when the tokens of an earlier key have expired`
        )
      if (now() < knownFrom(next))
        throw conflict(`The next key was published a short time ago: it can sign from ${iso(knownFrom(next))} on`)
      if (!(await advance(caller, from))) throw changedMeanwhile()
      return get(next.kid)
    },

    /**
     * Retires a key. A compromised key is retired at once, and every token that it signed becomes invalid.
     * If it was the signing key, the next key signs at once, even if verifiers may not know it yet. A key that is not compromised
     * can be retired when all tokens that it signed have expired. For a retired key the call changes nothing.
     * @throws DomainError not_found; conflict for a key that cannot be retired yet, when another call changed the keys at the same time,
     *   and for a compromised next or signing key between a replacement of the sealing key and `reseal`
     */
    async retire(caller: Caller, kid: string, { compromised }: { compromised: boolean }): Promise<StoredKey> {
      const key = await get(kid)
      if (key.state === 'retired') return key
      if (compromised) {
        const { from } = await readBasis()
        const isReplaced = key.state !== 'verifying'
        if (isReplaced && !sealer.isCurrent(from.canary)) throw resealFirst()
        const next = isReplaced ? await keys.generate('next') : null
        const retirement = { kid, canary: from.canary, next, clock: now }
        if (!(await store.keys.compromise(caller, retirement))) throw changedMeanwhile()
        return get(kid)
      }
      if (key.state !== 'verifying')
        throw conflict(
          'The key is signing or next: rotate the keys until the key is verifying, or retire it as compromised'
        )
      const until = key.verifiesUntilAt as Millis
      if (now() < until) throw conflict(`Tokens that the key signed can be valid until ${iso(until)}`)
      await store.keys.expire(caller, { now: now(), kid })
      return get(kid)
    },

    /**
     * Seals every value with the current sealing key, in one transaction.
     * @returns the number of values that were sealed with the previous key
     * @throws SetupError when a value cannot be opened; then nothing is changed
     */
    reseal: (caller: Caller): Promise<number> =>
      store.keys.reseal(caller, (table, id, sealed) => {
        const context = contextOf(table, id)
        const text = sealer.open(sealed, context)
        return sealer.isCurrent(sealed) ? sealed : sealer.seal(text, context)
      }),

    /**
     * Does the scheduled work on keys: retires keys whose tokens have all expired, and rotates the keys when they are old enough. May
     * run on any number of instances.
     * @returns `postponed` when a rotation is due but the sealing key is being replaced
     */
    async maintain(): Promise<'rotated' | 'postponed' | 'nothing'> {
      await store.keys.expire(SYSTEM, { now: now() })
      await store.refreshKeys.expire(now())
      if (settings.keyRotation === 0) return 'nothing'
      const [{ signing, next, from, published }, refreshKey] = await Promise.all([readBasis(), refreshTokens.current()])
      const since = Math.min(signing.signsSinceAt ?? signing.createdAt, refreshKey.createdAt)
      if (now() < since + settings.keyRotation * DAY_MS || now() < knownFrom(next)) return 'nothing'
      if (published.length >= SIGNING_KEYS_MAX) return 'nothing'
      if (!sealer.isCurrent(from.canary)) return 'postponed'
      return (await advance(SYSTEM, from)) ? 'rotated' : 'nothing'
    }
  }
}
