import { hash } from 'node:crypto'
import { runOutsideRequest } from '../deadline.ts'
import { createKeyedQueue } from '../queue.ts'
import type { Config } from '../settings.ts'
import { throttled } from './errors.ts'
import {
  ACCOUNT,
  currentCount,
  currentFailures,
  delayOfAccount,
  isKnownNetwork,
  KNOWN,
  NETWORK,
  PAIR,
  waitOfPair,
  withFailures
} from './guess-limits.ts'
import type { Millis } from './model.ts'
import { networkOf } from './networks.ts'
import type { Clock } from './ports/clock.ts'
import type { GuessCount } from './ports/guesses.ts'
import type { Store } from './ports/store.ts'

/** Number of attempts on one account from one network that may wait in this process. */
const MAX_WAITING = 64

/** Hashes a name for storage, because users sometimes type a password into the field for the name. */
const hashed = (text: string): string => hash('sha256', text, 'base64url')

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
  /**
   * Keeps the attempt counted as a failure of the account, and counts it for the network too.
   * @throws DomainError throttled when the network exceeded its limit before
   */
  fail(): Promise<void>
  /** Removes the attempt from the counts, because the secret was correct or was not checked. */
  cancel(): Promise<void>
}

const UNLIMITED: Turn = {
  isKnown: false,
  count: async () => ({ locked: false, fail: async () => {}, cancel: async () => {} }),
  leave: () => {}
}

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
      // Counts in place of the pair while the network is over its limit: the attempts of a known network, which are exempt from this
      // limit. Attempts of unknown networks are not counted then.
      exempt: `exempt ${name} ${network}`,
      network: `network ${network}`,
      account: `account ${name}`,
      known: `known ${name} ${network}`
    }
  }
  type Keys = ReturnType<typeof keysOf>

  /** The usual time between the count of an attempt and its failure. */
  let verificationTime: Millis = 0

  /** Reads what an attempt must wait for. Writes nothing, so a flood of throttled attempts writes nothing either. */
  async function readStanding(keys: Keys, now: Millis) {
    const counts = await store.guesses.read(Object.values(keys))
    // `countAttempt` corrects and stores a counter that an instance with a fast clock wrote.
    const waitOf = (key: string) =>
      (counts.get(key)?.lastAt ?? 0) > now ? 0 : waitOfPair(currentCount(counts, key, now), now)
    const ofNetwork = currentCount(counts, keys.network, now)
    return {
      pairWait: waitOf(keys.pair),
      exemptWait: waitOf(keys.exempt),
      networkWait: ofNetwork.count < NETWORK.limit ? 0 : ofNetwork.expiresAt - now,
      delay: delayOfAccount(currentFailures(counts, keys.account, now)),
      isKnown: isKnownNetwork(currentCount(counts, keys.known, now))
    }
  }

  /**
   * Counts an attempt as a failure of the pair, and of the account unless the attempt is exempt or the counter is full. Counts nothing
   * and returns the wait if the attempt must wait.
   */
  const countAttempt = ({ pair, account, known }: Keys, isExempt: boolean, now: Millis) =>
    store.guesses.count([pair, account, known], (counts) => {
      const ofPair = currentCount(counts, pair, now)
      const ofAccount = currentFailures(counts, account, now)
      const ofKnown = currentCount(counts, known, now)
      const wait = waitOfPair(ofPair, now)
      if (wait > 0) return { next: [ofPair], result: { wait, isCounted: false, locked: false } }

      // A full counter does not grow. `currentFailures` returns at most the limit, so the removal of an attempt above the limit would
      // remove an earlier failure, and the account would no longer be locked.
      const isFull = ofAccount.count >= ACCOUNT.limit
      const isCounted = !isFull && !isExempt
      const next = [
        { key: pair, count: ofPair.count + 1, lastAt: now, expiresAt: now + PAIR.memory },
        ...(isCounted ? [withFailures(ofAccount, ofAccount.count + 1)] : []),
        ...(ofKnown.count > 0 ? [{ ...ofKnown, count: ofKnown.count + 1 }] : [])
      ]
      return { next, result: { wait: 0, isCounted, locked: isFull && !isKnownNetwork(ofKnown) } }
    })

  /**
   * Removes one attempt from the counts. A known network stays known, also when `forgive` was called after the attempt was counted.
   * @param isCounted whether the attempt is in the counter of the account
   */
  const uncountAttempt = ({ pair, account, known }: Keys, isCounted: boolean, now: Millis) =>
    store.guesses.count([pair, account, known], (counts) => {
      const less = (counter: GuessCount, min: number) => Math.max(counter.count - 1, Math.min(counter.count, min))
      const ofPair = currentCount(counts, pair, now)
      const ofAccount = currentFailures(counts, account, now)
      const ofKnown = currentCount(counts, known, now)
      const next = [
        // With `lastAt: 0` the next attempt does not wait because of this attempt.
        { ...ofPair, count: less(ofPair, 0), lastAt: 0 },
        ...(isCounted ? [withFailures(ofAccount, less(ofAccount, 0))] : []),
        { ...ofKnown, count: less(ofKnown, 1) }
      ]
      return { next, result: undefined }
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
     *
     * The limit of the network does not stop a known network. To a caller who does not know the secret, a known network looks like an
     * unknown one: its delay comes after the failure, and a failure over the limit of the network is throttled. Over this
     * limit an attempt that is refused without a verification waits about as long as a verification takes.
     * @param account the id of the account, or the canonical name if no account has this name
     * @throws DomainError throttled, with the seconds after which the caller may try again
     */
    async enter(account: string, address: string | null): Promise<Turn> {
      if (!settings.throttle) return UNLIMITED
      const own = keysOf(account, address)
      const leave = await queue.enter(own.pair)
      try {
        const { pairWait, exemptWait, networkWait, delay, isKnown } = await readStanding(own, clock.now())
        const isOverLimit = networkWait > 0
        const refusal = throttled(Math.max(pairWait, networkWait), TOO_MANY)
        if (isOverLimit && (pairWait > 0 || exemptWait > 0 || !isKnown)) {
          await clock.sleep(verificationTime)
          throw refusal
        }
        if (pairWait > 0) throw refusal
        if (delay > 0 && !isKnown) await clock.sleep(delay)
        const keys = isOverLimit ? { ...own, pair: own.exempt } : own
        return {
          isKnown,
          leave,
          async count() {
            const { wait, isCounted, locked } = await countAttempt(keys, isOverLimit, clock.now())
            if (wait > 0) throw isOverLimit ? refusal : throttled(wait, TOO_MANY)
            const since = clock.now()
            return {
              locked,
              async fail() {
                verificationTime += (clock.now() - since - verificationTime) / 8
                if (isOverLimit) throw refusal
                await countNetwork(keys, clock.now())
                if (delay > 0 && isKnown) await clock.sleep(delay)
              },
              // Also after the deadline of the request, because a correct secret must not stay counted as a failure.
              cancel: () => runOutsideRequest(() => uncountAttempt(keys, isCounted, clock.now()))
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
      const { pair, exempt, account: ofAccount, known } = keysOf(account, address)
      const failures = [pair, exempt, ofAccount]
      const now = clock.now()
      const counts = await store.guesses.read([...failures, known])
      const stored = counts.get(known)
      const isFresh = stored !== undefined && stored.count === 1 && Math.abs(now - stored.lastAt) < KNOWN.renewAfter
      if (isFresh && failures.every((key) => currentCount(counts, key, now).count === 0)) return
      await store.guesses.count([...failures, known], () => ({
        next: [
          ...failures.map((key) => ({ key, count: 0, lastAt: 0, expiresAt: 0 })),
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
