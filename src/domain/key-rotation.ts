import { DomainError } from './errors.ts'
import type { RefreshTokens } from './index.ts'
import { type Keys, keyContext } from './keys.ts'
import { type Millis, type Seconds, type StoredKey, TOKENS_LIVE_MS } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock, KeyBasis, Page, Sealer, Store } from './ports.ts'
import { refreshKeyContext } from './refresh-tokens.ts'
import { CANARY } from './sealing.ts'

const DAY_MS = 86_400_000
/** As long as any session can last, and a day. */
const REFRESH_VERIFIES_MS = 366 * DAY_MS

const CONTEXTS = {
  signing_keys: keyContext,
  refresh_keys: refreshKeyContext,
  sealed_values: (name: string) => `sealed_values/${name}`
}

const iso = (at: Millis): string => new Date(at).toISOString()
const conflict = (message: string) => new DomainError('conflict', message)
const resealFirst = () => conflict('The sealing key is being changed: run "latchkey key reseal" first')
const atThisMoment = () => conflict('The keys were changed at this very moment')

const found = (key: StoredKey | null): StoredKey => {
  if (key === null) throw new DomainError('not_found', 'There is no such key')
  return key
}

/** A key in the names of the wire, without its private part. */
export const view = (key: StoredKey) => ({
  kid: key.kid,
  alg: key.alg,
  state: key.state,
  created_at: iso(key.createdAt),
  signs_since_at: key.signsSinceAt === null ? null : iso(key.signsSinceAt),
  verifies_until_at: key.verifiesUntilAt === null ? null : iso(key.verifiesUntilAt),
  retired_at: key.retiredAt === null ? null : iso(key.retiredAt)
})

/** Keys that come and go: next → signing → verifying → retired. */
export function createKeyRotation(deps: {
  store: Store
  keys: Keys
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
  keyRotation: number
  jwksMaxAge: Seconds
}) {
  const { store, keys, refreshTokens, sealer, clock, keyRotation, jwksMaxAge } = deps
  const now = () => clock.now()

  /** The keys as they are, and what must still be so for them to change. */
  async function standing(): Promise<{ signing: StoredKey; next: StoredKey; from: KeyBasis }> {
    const [published, canary] = await Promise.all([store.keys.list(), store.sealed.get(CANARY.name)])
    const signing = published.find(({ state }) => state === 'signing')
    const next = published.find(({ state }) => state === 'next')
    if (signing === undefined || next === undefined || canary === null)
      throw new Error('there is not one key that signs and one next')
    return { signing, next, from: { signing: signing.kid, next: next.kid, canary } }
  }

  /** From when on everyone who keeps the JWKS as long as they may has seen the key. */
  const knownFrom = (next: StoredKey): Millis => next.createdAt + jwksMaxAge * 1000

  const change = async (from: KeyBasis): Promise<boolean> =>
    store.keys.rotate(
      {
        from,
        next: await keys.generate('next'),
        refreshKey: refreshTokens.generateKey(),
        verifiesMs: TOKENS_LIVE_MS,
        refreshVerifiesMs: REFRESH_VERIFIES_MS
      },
      now
    )

  return {
    view,

    /** One page, the newest first, retired ones too. */
    page: (page: Page): Promise<Paged<StoredKey>> => paged(page, (key) => key.kid, store.keys.page),

    /**
     * The next key signs from now on, the one before verifies for as long as its tokens can live, and a new next one of the
     * algorithm of the settings is published; the refresh key becomes another one too. Of concurrent calls one rotates.
     * @returns the key that signs now
     * @throws DomainError conflict when others may not know the next key yet, when somebody else was first, and between a
     *   change of the sealing key and `reseal`
     */
    async rotate(): Promise<StoredKey> {
      const { next, from } = await standing()
      if (!sealer.isCurrent(from.canary)) throw resealFirst()
      if (now() < knownFrom(next))
        throw conflict(`The next key was published just now: it can sign from ${iso(knownFrom(next))} on`)
      if (!(await change(from))) throw atThisMoment()
      return found(await store.keys.find(next.kid))
    },

    /**
     * Takes a key out of use, for everyone at their next request. One that was compromised goes at once, with every token that
     * it signed: the next key signs in its place, however young it is. Any other goes when nothing that it signed can live.
     * A key that is retired stays so, whoever asks again.
     * @throws DomainError not_found, conflict for a key that is in use, and as `rotate` does
     */
    async retire(kid: string, { compromised }: { compromised: boolean }): Promise<StoredKey> {
      const key = found(await store.keys.find(kid))
      if (key.state === 'retired') return key
      if (compromised) {
        const { from } = await standing()
        const replaced = key.state !== 'verifying'
        if (replaced && !sealer.isCurrent(from.canary)) throw resealFirst()
        const next = replaced ? await keys.generate('next') : null
        if (!(await store.keys.compromise(kid, { canary: from.canary, next }, now))) throw atThisMoment()
      } else {
        if (key.state !== 'verifying')
          throw conflict('The key is in use: rotate, so that it signs no more, or say that it was compromised')
        const until = key.verifiesUntilAt as Millis
        if (now() < until) throw conflict(`Tokens that it signed can live until ${iso(until)}`)
        await store.keys.expire(now(), kid)
      }
      return found(await store.keys.find(kid))
    },

    /**
     * Seals everything anew with the sealing key of the settings, in one transaction; how much was sealed with the one before.
     * @throws SetupError, and nothing is changed, when something cannot be opened
     */
    reseal: (): Promise<number> =>
      store.keys.reseal((table, id, sealed) => {
        const context = CONTEXTS[table](id)
        const text = sealer.open(sealed, context)
        return sealer.isCurrent(sealed) ? sealed : sealer.seal(text, context)
      }),

    /**
     * What is done to keys without being asked, again and again, by any number of instances: those whose time is over are
     * retired, and those that sign rotate when they are old enough.
     * @returns `postponed` when they are due but the sealing key is being changed
     */
    async tend(): Promise<'rotated' | 'postponed' | 'nothing'> {
      await store.keys.expire(now())
      await store.refreshKeys.expire(now())
      if (keyRotation === 0) return 'nothing'
      const [{ signing, next, from }, refreshKey] = await Promise.all([standing(), refreshTokens.current()])
      const since = Math.min(signing.signsSinceAt ?? signing.createdAt, refreshKey.createdAt)
      if (now() < since + keyRotation * DAY_MS || now() < knownFrom(next)) return 'nothing'
      if (!sealer.isCurrent(from.canary)) return 'postponed'
      return (await change(from)) ? 'rotated' : 'nothing'
    }
  }
}
