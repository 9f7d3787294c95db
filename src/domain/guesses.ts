import { createHash } from 'node:crypto'
import { createKeyedQueue } from '../queue.ts'
import type { Config } from '../settings.ts'
import { throttled } from './errors.ts'
import type { Millis } from './model.ts'
import { networkOf } from './networks.ts'
import type { Clock } from './ports/clock.ts'
import type { Tries } from './ports/guesses.ts'
import type { Store } from './ports/store.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** Failures of one account from one network. After the fifth the next try must wait 1 s, then twice as long each time. */
const PAIR = { free: 5, firstWait: 1000, longestWait: 15 * MINUTE, memory: 15 * MINUTE }
/** Failures from one network for any account. They are counted after the try, for 15 minutes from the first. */
const NETWORK = { limit: 100, memory: 15 * MINUTE }
/**
 * Failures in a row of one account from any network. They delay tries from unknown networks, and after the last one (NIST
 * SP 800-63B-4 §3.2.2) only known networks can log in.
 */
const ACCOUNT = { free: 10, firstDelay: 250, longestDelay: 2000, slowFor: 15 * MINUTE, limit: 100, memory: 30 * DAY }
/** Networks that the account logged in from: how long, and up to how many failures in a row, a network stays known. */
const KNOWN = { limit: 100, memory: 90 * DAY, renewAfter: DAY }
/** Number of tries of one account from one network that may wait in this process. */
const MAX_WAITING = 64

/** People type passwords into the field for the name, so only a hash of the name is stored. */
const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')

const growing = (first: number, longest: number, times: number): number => Math.min(first * 2 ** times, longest)

const TOO_MANY = 'Too many failed attempts'

/** One try that was admitted. The caller must call `fail` or `cancel` exactly once. */
export interface Attempt {
  /** Whether the account is locked for this network: every secret then counts as wrong. */
  locked: boolean
  /** Leaves the try counted as a failure. */
  fail(): Promise<void>
  /** Takes the count back, because the secret was right or was not checked. */
  cancel(): Promise<void>
}

const UNLIMITED: Attempt = { locked: false, fail: async () => {}, cancel: async () => {} }

/** The tries of a key as they count now. A clock that was ahead may have written instants in the future: they move back to now. */
function currentTries(tries: Map<string, Tries>, key: string, now: Millis): Tries {
  const stored = tries.get(key)
  if (stored === undefined || stored.expiresAt <= now) return { key, count: 0, lastAt: now, expiresAt: now }
  const ahead = Math.max(0, stored.lastAt - now)
  return { ...stored, lastAt: stored.lastAt - ahead, expiresAt: stored.expiresAt - ahead }
}

const waitOfPair = ({ count, lastAt }: Tries, now: Millis): Millis =>
  count < PAIR.free ? 0 : growing(PAIR.firstWait, PAIR.longestWait, count - PAIR.free) - (now - lastAt)

/**
 * Limits the guessing of secrets with counts in the store, which all instances share. A try counts as a failure of its account
 * before it is made, so parallel tries cannot get past a limit. Unknown names count like existing ones.
 */
export function createGuesses({ store, clock, settings }: { store: Store; clock: Clock; settings: Config }) {
  /** Parallel tries of one account from one network run one after the other: else many right ones at once would count as failures. */
  const queue = createKeyedQueue({
    concurrency: 1,
    maxWaiting: MAX_WAITING,
    refuse: () => throttled(1000, TOO_MANY)
  })

  const keysOf = (account: string, address: string | null) => {
    const [name, network] = [hashed(account), networkOf(address)]
    return {
      pair: `pair ${name} ${network}`,
      network: `network ${network}`,
      account: `account ${name}`,
      known: `known ${name} ${network}`
    }
  }
  type Keys = ReturnType<typeof keysOf>

  /** Returns the remaining wait. Reads only, so a flood of throttled tries writes nothing. */
  async function remainingWait({ pair, network }: Keys, now: Millis): Promise<Millis> {
    const tries = await store.guesses.read([pair, network])
    const ofNetwork = currentTries(tries, network, now)
    // `countAttempt` corrects a count that was written by a clock ahead of this one.
    const ahead = (tries.get(pair)?.lastAt ?? 0) > now
    return Math.max(
      ahead ? 0 : waitOfPair(currentTries(tries, pair, now), now),
      ofNetwork.count < NETWORK.limit ? 0 : ofNetwork.expiresAt - now
    )
  }

  /** Counts a try as a failure of the account, or returns how long it must wait. */
  const countAttempt = ({ pair, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, account, known], (tries) => {
      const ofPair = currentTries(tries, pair, now)
      const ofAccount = currentTries(tries, account, now)
      const ofKnown = currentTries(tries, known, now)
      const wait = waitOfPair(ofPair, now)
      if (wait > 0) return { next: [ofPair], result: { wait, delay: 0, locked: false } }

      const isKnown = ofKnown.count > 0 && ofKnown.count <= KNOWN.limit
      const slow = !isKnown && ofAccount.count >= ACCOUNT.free && now - ofAccount.lastAt < ACCOUNT.slowFor
      const next = [
        { key: pair, count: ofPair.count + 1, lastAt: now, expiresAt: now + PAIR.memory },
        { key: account, count: ofAccount.count + 1, lastAt: now, expiresAt: now + ACCOUNT.memory },
        ...(ofKnown.count > 0 ? [{ ...ofKnown, count: ofKnown.count + 1 }] : [])
      ]
      const delay = slow ? growing(ACCOUNT.firstDelay, ACCOUNT.longestDelay, ofAccount.count - ACCOUNT.free) : 0
      return { next, result: { wait: 0, delay, locked: !isKnown && ofAccount.count >= ACCOUNT.limit } }
    })

  /** Takes one counted try back. */
  const uncountAttempt = ({ pair, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, account, known], (tries) => {
      const less = (key: string): Tries => {
        const current = currentTries(tries, key, now)
        return { ...current, count: Math.max(0, current.count - 1) }
      }
      // The next try must not wait because of this one.
      return { next: [{ ...less(pair), lastAt: 0 }, less(account), less(known)], result: undefined }
    })

  const countNetwork = ({ network }: Keys, now: Millis) =>
    store.guesses.count([network], (tries) => {
      const { count, expiresAt } = currentTries(tries, network, now)
      const end = count === 0 ? now + NETWORK.memory : expiresAt
      return { next: [{ key: network, count: count + 1, lastAt: now, expiresAt: end }], result: undefined }
    })

  return {
    /**
     * Admits one try to guess the secret of an account, after waiting for its turn and for the delay of the account.
     * @param account the id of the account, or the canonical name where there is no such account
     * @throws DomainError throttled, with the seconds after which it may be tried again
     */
    async begin(account: string, address: string | null): Promise<Attempt> {
      if (!settings.throttle) return UNLIMITED
      const keys = keysOf(account, address)
      const leave = await queue.enter(keys.pair)
      try {
        const refused = await remainingWait(keys, clock.now())
        if (refused > 0) throw throttled(refused, TOO_MANY)
        const { wait, delay, locked } = await countAttempt(keys, clock.now())
        if (wait > 0) throw throttled(wait, TOO_MANY)
        if (delay > 0) await clock.sleep(delay)
        return {
          locked,
          fail: () => countNetwork(keys, clock.now()).finally(leave),
          cancel: () => uncountAttempt(keys, clock.now()).finally(leave)
        }
      } catch (error) {
        leave()
        throw error
      }
    },

    /** Forgets the failures of an account from everywhere and from this network, which counts as known from now on. */
    async forgive(account: string, address: string | null): Promise<void> {
      if (!settings.throttle) return
      const { pair, account: ofAccount, known } = keysOf(account, address)
      const now = clock.now()
      const tries = await store.guesses.read([pair, ofAccount, known])
      const stored = tries.get(known)
      const isFresh = stored !== undefined && stored.count === 1 && Math.abs(now - stored.lastAt) < KNOWN.renewAfter
      if (isFresh && [pair, ofAccount].every((key) => currentTries(tries, key, now).count === 0)) return
      await store.guesses.count([pair, ofAccount, known], () => ({
        next: [
          ...[pair, ofAccount].map((key) => ({ key, count: 0, lastAt: 0, expiresAt: 0 })),
          { key: known, count: 1, lastAt: now, expiresAt: now + KNOWN.memory }
        ],
        result: undefined
      }))
    },

    /** Unlocks an account whose secret was set anew or which was enabled again. */
    async unlock(account: string): Promise<void> {
      const { account: key } = keysOf(account, null)
      await store.guesses.count([key], () => ({
        next: [{ key, count: 0, lastAt: 0, expiresAt: 0 }],
        result: undefined
      }))
    }
  }
}

export type Guesses = ReturnType<typeof createGuesses>
