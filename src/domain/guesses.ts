import { createHash } from 'node:crypto'
import { createKeyedQueue } from '../queue.ts'
import type { Config } from '../settings.ts'
import { throttled } from './errors.ts'
import type { Millis } from './model.ts'
import { networkOf } from './networks.ts'
import type { Clock } from './ports/clock.ts'
import type { GuessCount } from './ports/guesses.ts'
import type { Store } from './ports/store.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** Failures of one account from one network. After the fifth failure the next attempt must wait 1 s, then twice as long each time. */
const PAIR = { free: 5, firstWait: 1000, longestWait: 15 * MINUTE, memory: 15 * MINUTE }
/** Failures from one network for any account, counted for 15 minutes from the first. Only failed attempts are counted. */
const NETWORK = { limit: 100, memory: 15 * MINUTE }
/**
 * Failures in a row of one account from any network. From `free` on they delay attempts from unknown networks. From `limit` on only
 * known networks can log in (NIST SP 800-63B-4 §3.2.2).
 */
const ACCOUNT = { free: 10, firstDelay: 250, longestDelay: 2000, slowFor: 15 * MINUTE, limit: 100, memory: 30 * DAY }
/**
 * Networks from which an account logged in. A network stays known for `memory` after the last login, and for at most `limit` failures
 * in a row. A login renews the entry once a day.
 */
const KNOWN = { limit: 100, memory: 90 * DAY, renewAfter: DAY }
/** Number of attempts on one account from one network that may wait in this process. */
const MAX_WAITING = 64

/** Hashes a name for storage, because users sometimes type a password into the field for the name. */
const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** Returns a span of time that doubles with each failure, up to a maximum. */
const doubling = (first: Millis, longest: Millis, times: number): Millis => Math.min(first * 2 ** times, longest)

const TOO_MANY = 'Too many failed attempts'

/** The turn of one attempt on the secret of an account. Nothing is counted yet. The caller must call `leave` in the end. */
export interface Turn {
  /** Whether the account logged in from this network before. */
  isKnown: boolean
  /** Counts the attempt. Called at most once, before the secret is checked. @throws DomainError throttled, and then counts nothing */
  count(): Promise<Attempt>
  /** Lets the next attempt on the account from this network begin. A second call has no effect. */
  leave(): void
}

/** One attempt that was counted. The caller must call `fail` or `cancel` exactly once, before it leaves its turn. */
export interface Attempt {
  /** Whether the account is locked for this network: every secret then counts as wrong. */
  locked: boolean
  /** Keeps the attempt counted as a failure of the account, and counts it for the network too. */
  fail(): Promise<void>
  /** Removes the attempt from the counts, because the secret was correct or was not checked. */
  cancel(): Promise<void>
}

const UNLIMITED: Turn = {
  isKnown: false,
  count: async () => ({ locked: false, fail: async () => {}, cancel: async () => {} }),
  leave: () => {}
}

/** Returns the counter of a key at this instant. Corrects instants in the future, which an instance with a fast clock wrote. */
function currentCount(counts: Map<string, GuessCount>, key: string, now: Millis): GuessCount {
  const stored = counts.get(key)
  if (stored === undefined || stored.expiresAt <= now) return { key, count: 0, lastAt: now, expiresAt: now }
  const ahead = Math.max(0, stored.lastAt - now)
  return { ...stored, lastAt: stored.lastAt - ahead, expiresAt: stored.expiresAt - ahead }
}

const waitOfPair = ({ count, lastAt }: GuessCount, now: Millis): Millis =>
  count < PAIR.free ? 0 : doubling(PAIR.firstWait, PAIR.longestWait, count - PAIR.free) - (now - lastAt)

/**
 * Limits the guessing of secrets with counters in the store, which all instances share. An attempt counts as a failure of its account
 * before the secret is checked, so parallel attempts cannot exceed the limits of an account. Unknown names are counted like existing names.
 */
export function createGuesses({ store, clock, settings }: { store: Store; clock: Clock; settings: Config }) {
  /**
   * Attempts on one account from one network run one after the other. Otherwise parallel attempts with the correct secret would count
   * as failures of each other.
   */
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

  const isKnownNetwork = ({ count }: GuessCount): boolean => count > 0 && count <= KNOWN.limit

  /** Returns the remaining wait and the delay of an attempt. Reads only, so a flood of throttled attempts writes nothing. */
  async function readStanding(keys: Keys, now: Millis): Promise<{ wait: Millis; delay: Millis; isKnown: boolean }> {
    const counts = await store.guesses.read(Object.values(keys))
    const current = (key: string) => currentCount(counts, key, now)
    const isKnown = isKnownNetwork(current(keys.known))
    const ofNetwork = current(keys.network)
    const ofAccount = current(keys.account)
    const isSlow = !isKnown && ofAccount.count >= ACCOUNT.free && now - ofAccount.lastAt < ACCOUNT.slowFor
    // `countAttempt` corrects and stores a counter that an instance with a fast clock wrote.
    const isAhead = (counts.get(keys.pair)?.lastAt ?? 0) > now
    return {
      wait: Math.max(
        isAhead ? 0 : waitOfPair(current(keys.pair), now),
        ofNetwork.count < NETWORK.limit ? 0 : ofNetwork.expiresAt - now
      ),
      delay: isSlow ? doubling(ACCOUNT.firstDelay, ACCOUNT.longestDelay, ofAccount.count - ACCOUNT.free) : 0,
      isKnown
    }
  }

  /** Counts an attempt as a failure of the account. Counts nothing and returns the wait if the attempt must wait. */
  const countAttempt = ({ pair, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, account, known], (counts) => {
      const ofPair = currentCount(counts, pair, now)
      const ofAccount = currentCount(counts, account, now)
      const ofKnown = currentCount(counts, known, now)
      const wait = waitOfPair(ofPair, now)
      if (wait > 0) return { next: [ofPair], result: { wait, locked: false } }

      const next = [
        { key: pair, count: ofPair.count + 1, lastAt: now, expiresAt: now + PAIR.memory },
        { key: account, count: ofAccount.count + 1, lastAt: now, expiresAt: now + ACCOUNT.memory },
        ...(ofKnown.count > 0 ? [{ ...ofKnown, count: ofKnown.count + 1 }] : [])
      ]
      return { next, result: { wait: 0, locked: !isKnownNetwork(ofKnown) && ofAccount.count >= ACCOUNT.limit } }
    })

  /** Removes one attempt from the counts. A known network stays known, also when `forgive` was called after the attempt was counted. */
  const uncountAttempt = ({ pair, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, account, known], (counts) => {
      const less = (key: string, min: number): GuessCount => {
        const current = currentCount(counts, key, now)
        return { ...current, count: Math.max(current.count - 1, Math.min(current.count, min)) }
      }
      // With `lastAt: 0` the next attempt does not wait because of this attempt.
      return { next: [{ ...less(pair, 0), lastAt: 0 }, less(account, 0), less(known, 1)], result: undefined }
    })

  const countNetwork = ({ network }: Keys, now: Millis) =>
    store.guesses.count([network], (counts) => {
      const { count, expiresAt } = currentCount(counts, network, now)
      const end = count === 0 ? now + NETWORK.memory : expiresAt
      return { next: [{ key: network, count: count + 1, lastAt: now, expiresAt: end }], result: undefined }
    })

  return {
    /**
     * Waits for the turn of one attempt on the secret of an account: for earlier attempts and for the delay of the account. Reads only.
     * @param account the id of the account, or the canonical name if no account has this name
     * @throws DomainError throttled, with the seconds after which the caller may try again
     */
    async enter(account: string, address: string | null): Promise<Turn> {
      if (!settings.throttle) return UNLIMITED
      const keys = keysOf(account, address)
      const leave = await queue.enter(keys.pair)
      try {
        const { wait, delay, isKnown } = await readStanding(keys, clock.now())
        if (wait > 0) throw throttled(wait, TOO_MANY)
        if (delay > 0) await clock.sleep(delay)
        return {
          isKnown,
          leave,
          async count() {
            const counted = await countAttempt(keys, clock.now())
            if (counted.wait > 0) throw throttled(counted.wait, TOO_MANY)
            return {
              locked: counted.locked,
              fail: () => countNetwork(keys, clock.now()),
              cancel: () => uncountAttempt(keys, clock.now())
            }
          }
        }
      } catch (error) {
        leave()
        throw error
      }
    },

    /** Forgets the failures of an account in total and from this network, and makes this network a known network of the account. */
    async forgive(account: string, address: string | null): Promise<void> {
      if (!settings.throttle) return
      const { pair, account: ofAccount, known } = keysOf(account, address)
      const now = clock.now()
      const counts = await store.guesses.read([pair, ofAccount, known])
      const stored = counts.get(known)
      const isFresh = stored !== undefined && stored.count === 1 && Math.abs(now - stored.lastAt) < KNOWN.renewAfter
      if (isFresh && [pair, ofAccount].every((key) => currentCount(counts, key, now).count === 0)) return
      await store.guesses.count([pair, ofAccount, known], () => ({
        next: [
          ...[pair, ofAccount].map((key) => ({ key, count: 0, lastAt: 0, expiresAt: 0 })),
          { key: known, count: 1, lastAt: now, expiresAt: now + KNOWN.memory }
        ],
        result: undefined
      }))
    },

    /** Unlocks an account after its secret was replaced or the account was enabled. */
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
