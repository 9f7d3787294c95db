import { SIGNING_KEYS_MAX } from '../limits.ts'
import type { Config } from '../settings.ts'
import { type Caller, SYSTEM } from './caller.ts'
import { DomainError, noSuch } from './errors.ts'
import { chainsOf, type KeyChain, type KeyChains } from './key-chains.ts'
import { type Keys, keyContext } from './keys.ts'
import { type Millis, type SigningAlg, type StoredKey, TOKENS_LIVE_MS } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { SealedTable } from './ports/keys.ts'
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

/** Rotates and retires signing keys. The states of a key are next → signing → verifying → retired, and each algorithm in use has one key that signs and one that is next. */
export function createKeyRotation(deps: {
  store: Store
  keys: Keys
  keyChains: KeyChains
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
  settings: Config
}) {
  const { store, keys, keyChains, refreshTokens, sealer, clock, settings } = deps
  const now = () => clock.now()

  async function get(kid: string): Promise<StoredKey> {
    const key = await store.keys.find(kid)
    if (key === null) throw noSuch('key', kid)
    return key
  }

  /** Reads the published keys, their chains, and the canary that must still be stored when they change. */
  async function read(): Promise<{ published: StoredKey[]; chains: KeyChain[]; inUse: SigningAlg[]; canary: string }> {
    const [published, canary, inUse] = await Promise.all([
      store.keys.list(),
      store.sealed.get(CANARY.name),
      keyChains.inUse()
    ])
    const chains = chainsOf(published)
    if (chains.length === 0 || canary === null) throw new Error('the database has no signing key or no canary')
    return { published, chains, inUse, canary }
  }

  /** The instant from which every cached JWKS holds the key. */
  const knownFrom = (next: StoredKey): Millis => next.createdAt + settings.jwksMaxAge * 1000

  /** Returns whether the next key can sign. A chain that ends needs no next key. */
  const isReady = ({ alg, next }: KeyChain, inUse: SigningAlg[]): boolean =>
    !inUse.includes(alg) || (next !== null && now() >= knownFrom(next))

  /** Rotates chains, and ends those whose algorithm is not in use any more. */
  async function advance(
    caller: Caller,
    { chains, inUse, canary }: { chains: KeyChain[]; inUse: SigningAlg[]; canary: string },
    { withRefreshKey }: { withRefreshKey: boolean }
  ): Promise<boolean> {
    const rotations = chains.map(async ({ alg, signing, next }) => ({
      signing: signing?.kid ?? null,
      next: next?.kid ?? null,
      successor: inUse.includes(alg) ? await keys.generate('next', alg) : null
    }))
    return store.keys.rotate(caller, {
      canary,
      chains: await Promise.all(rotations),
      refreshKey: withRefreshKey ? refreshTokens.generateKey() : null,
      verifiesMs: TOKENS_LIVE_MS,
      refreshVerifiesMs: REFRESH_VERIFIES_MS,
      clock: now
    })
  }

  /** Returns the key that signs access tokens next: after a change of the setting, the first key of the new algorithm. */
  function successorOf(main: KeyChain, chains: KeyChain[]): StoredKey {
    const own = chains.find(({ alg }) => alg === settings.signingAlg) ?? main
    return (own === main ? main.next : own.signing) as StoredKey
  }

  /** Returns the chain that signs access tokens. It does not end, not even after a change of the setting. */
  async function mainOf(chains: KeyChain[]): Promise<KeyChain> {
    const { kid } = await keys.signing()
    const main = chains.find(({ signing }) => signing?.kid === kid)
    if (main === undefined) throw changedMeanwhile()
    return main
  }

  return {
    /** Returns one page of all keys, the newest first. */
    page: (page: Page): Promise<Paged<StoredKey>> => paged(page, (key) => key.kid, store.keys.page),

    /**
     * Makes the next key sign for the algorithm of access tokens, and for every other algorithm whose next key every verifier can know. A previous key
     * verifies for as long as its tokens can be valid, a new next key of its algorithm is published, and the refresh key is replaced too.
     * The keys of an algorithm that is not in use any more end. Exactly one of concurrent calls rotates.
     * @returns the key that signs access tokens now
     * @throws DomainError conflict when verifiers may not know the next key yet, when `SIGNING_KEYS_MAX` keys are published, when another call rotated at the same time, and
     *   between a replacement of the sealing key and `reseal`
     */
    async rotate(caller: Caller): Promise<StoredKey> {
      await keyChains.beginAll(caller)
      const { published, chains, inUse, canary } = await read()
      if (!sealer.isCurrent(canary)) throw resealFirst()
      const main = await mainOf(chains)
      const ready = chains.filter((chain) => isReady(chain, inUse) && (chain !== main || inUse.includes(main.alg)))
      if (published.length + ready.length > SIGNING_KEYS_MAX)
        throw conflict(
          `There are ${published.length} published keys: the keys can be rotated when the tokens of an earlier key have expired`
        )
      if (!ready.includes(main))
        throw conflict(
          `The next key was published a short time ago: it can sign from ${iso(knownFrom(successorOf(main, chains)))} on`
        )
      if (!(await advance(caller, { chains: ready, inUse, canary }, { withRefreshKey: true }))) throw changedMeanwhile()
      return get((await keys.signing()).kid)
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
        const { canary } = await read()
        const isReplaced = key.state !== 'verifying'
        if (isReplaced && !sealer.isCurrent(canary)) throw resealFirst()
        const next = isReplaced ? await keys.generate('next', key.alg) : null
        const retirement = { kid, canary, next, clock: now }
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
     * Does the scheduled work on keys: retires keys whose tokens have all expired, creates the keys of algorithms in use that have none,
     * and rotates the keys when they are old enough. May run on any number of instances.
     * @returns `postponed` when keys must be created but the sealing key is being replaced
     */
    async maintain(): Promise<'rotated' | 'postponed' | 'nothing'> {
      await store.keys.expire(SYSTEM, { now: now() })
      await store.refreshKeys.expire(now())
      const areComplete = await keyChains.beginAll(SYSTEM)
      const [{ published, chains, inUse, canary }, refreshKey] = await Promise.all([read(), refreshTokens.current()])
      if (settings.keyRotation === 0) return areComplete || sealer.isCurrent(canary) ? 'nothing' : 'postponed'
      const main = await mainOf(chains)
      const isOld = (since: Millis) => now() >= since + settings.keyRotation * DAY_MS
      const due = chains.filter((chain) => {
        if (chain === main && !inUse.includes(main.alg)) return false
        const key = chain.signing ?? (chain.next as StoredKey)
        const since = key.signsSinceAt ?? key.createdAt
        return isOld(chain === main ? Math.min(since, refreshKey.createdAt) : since) && isReady(chain, inUse)
      })
      if (!sealer.isCurrent(canary)) return areComplete && due.length === 0 ? 'nothing' : 'postponed'
      if (due.length === 0 || published.length + due.length > SIGNING_KEYS_MAX) return 'nothing'
      const rotation = { chains: due, inUse, canary }
      return (await advance(SYSTEM, rotation, { withRefreshKey: due.includes(main) })) ? 'rotated' : 'nothing'
    }
  }
}
