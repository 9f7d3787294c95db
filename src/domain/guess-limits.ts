import type { Millis } from './model.ts'
import type { GuessCount } from './ports/guesses.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** Failures of one account from one network. After the fifth failure the next attempt must wait 1 s, then twice as long each time. */
export const PAIR = { free: 5, firstWait: 1000, longestWait: 15 * MINUTE, memory: 15 * MINUTE }
/** Failures from one network for any account, counted for 15 minutes from the first. Only failed attempts are counted. */
export const NETWORK = { limit: 100, memory: 15 * MINUTE }
/**
 * Failures in a row of one account from any network; one is forgotten each `fade`. From `free` on they delay the response. At `limit` the
 * account is locked for unknown networks: they share the one attempt that each forgotten failure permits (NIST SP 800-63B-4 §3.2.2).
 */
export const ACCOUNT = { free: 10, firstDelay: 250, longestDelay: 2000, limit: 100, fade: 15 * MINUTE }
/**
 * Networks from which an account logged in. A network stays known for `memory` after the last login, and for at most `limit` failures
 * in a row. A login renews the entry once a day.
 */
export const KNOWN = { limit: 100, memory: 90 * DAY, renewAfter: DAY }

/** Returns a span of time that doubles with each failure, up to a maximum. */
const doubling = (first: Millis, longest: Millis, times: number): Millis => Math.min(first * 2 ** times, longest)

/** Returns the counter of a key at this instant. Corrects instants in the future, which an instance with a fast clock wrote. */
export function currentCount(counts: Map<string, GuessCount>, key: string, now: Millis): GuessCount {
  const stored = counts.get(key)
  if (stored === undefined || stored.expiresAt <= now) return { key, count: 0, lastAt: now, expiresAt: now }
  const ahead = Math.max(0, stored.lastAt - now)
  return { ...stored, lastAt: stored.lastAt - ahead, expiresAt: stored.expiresAt - ahead }
}

/** Returns the time until the next attempt on an account from one network; at most 0 when it may happen now. */
export const waitOfPair = ({ count, lastAt }: GuessCount, now: Millis): Millis =>
  count < PAIR.free ? 0 : doubling(PAIR.firstWait, PAIR.longestWait, count - PAIR.free) - (now - lastAt)

/** Returns the delay of the response to an attempt on an account. */
export const delayOfAccount = ({ count }: GuessCount): Millis =>
  count < ACCOUNT.free ? 0 : doubling(ACCOUNT.firstDelay, ACCOUNT.longestDelay, count - ACCOUNT.free)

/** Returns the counter of an account with another number of failures. After `lastAt` one failure is forgotten in each `fade`. */
export const withFailures = (counter: GuessCount, count: number): GuessCount => ({
  ...counter,
  count,
  expiresAt: counter.lastAt + count * ACCOUNT.fade
})

/** Returns the counter of an account at this instant, without the failures that have faded. */
export function currentFailures(counts: Map<string, GuessCount>, key: string, now: Millis): GuessCount {
  const counter = currentCount(counts, key, now)
  const gone = Math.floor((now - counter.lastAt) / ACCOUNT.fade)
  const left = Math.min(counter.count, ACCOUNT.limit) - gone
  if (left <= 0) return { key, count: 0, lastAt: now, expiresAt: now }
  return withFailures({ ...counter, lastAt: counter.lastAt + gone * ACCOUNT.fade }, left)
}

/** Returns whether a network is known, by its counter for an account: 1 after a login, and one more after each failure in a row. */
export const isKnownNetwork = ({ count }: GuessCount): boolean => count > 0 && count <= KNOWN.limit
