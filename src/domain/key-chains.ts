import { SIGNING_KEYS_MAX } from '../limits.ts'
import type { Config } from '../settings.ts'
import type { Caller } from './caller.ts'
import type { Keys } from './keys.ts'
import type { SigningAlg, StoredKey } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Store } from './ports/store.ts'
import { CANARY } from './sealing.ts'

/** The keys of one algorithm that sign now or next. */
export interface KeyChain {
  alg: SigningAlg
  signing: StoredKey | null
  next: StoredKey | null
}

/** Returns the chains of published keys, the one whose keys were published first before the others. */
export function chainsOf(published: StoredKey[]): KeyChain[] {
  const current = published.filter(({ state }) => state === 'signing' || state === 'next')
  return [...new Set(current.map(({ alg }) => alg))].map((alg) => {
    const of = (state: string) => current.find((key) => key.alg === alg && key.state === state) ?? null
    return { alg, signing: of('signing'), next: of('next') }
  })
}

/** Decides which algorithms have signing keys: that of the settings, and those that clients have registered for their ID tokens. */
export function createKeyChains(deps: { store: Store; keys: Keys; sealer: Sealer; clock: Clock; settings: Config }) {
  const { store, keys, sealer, clock, settings } = deps

  /** Returns the algorithms in use, that of the settings first. */
  const inUse = async (): Promise<SigningAlg[]> => [
    ...new Set([settings.signingAlg, ...(await store.clients.idTokenAlgs())])
  ]

  /**
   * Creates the keys of an algorithm: one that signs and one that is next. Does nothing when the algorithm has both.
   * @returns false, and creates nothing, while the sealing key is being replaced or too many keys are published
   */
  async function begin(caller: Caller, alg: SigningAlg): Promise<boolean> {
    const published = await store.keys.list()
    const chain = chainsOf(published).find((each) => each.alg === alg)
    if (chain?.signing != null && chain.next !== null) return true
    const canary = await store.sealed.get(CANARY.name)
    if (canary === null || !sealer.isCurrent(canary) || published.length + 2 > SIGNING_KEYS_MAX) return false
    const [signing, next] = await Promise.all([keys.generate('signing', alg), keys.generate('next', alg)])
    return store.keys.begin(caller, { canary, signing, next, clock: () => clock.now() })
  }

  return {
    inUse,
    begin,

    /** Creates the keys of every algorithm in use that lacks one. @returns the result of `begin`, for all */
    async beginAll(caller: Caller): Promise<boolean> {
      let areComplete = true
      for (const alg of await inUse()) areComplete = (await begin(caller, alg)) && areComplete
      return areComplete
    }
  }
}

export type KeyChains = ReturnType<typeof createKeyChains>
