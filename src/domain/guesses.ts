import { createHash } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { DomainError } from './errors.ts'
import type { Millis } from './model.ts'
import type { Clock, Store, Tries } from './ports.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** Failures of one account from one network: the next try must wait 1 s after the fifth, then twice as long each time. */
const PAIR = { free: 5, firstWait: 1000, longestWait: 15 * MINUTE, memory: 15 * MINUTE }
/** Failures from one network, whatever the account, within the time that the first one begins. */
const NETWORK = { limit: 100, memory: 15 * MINUTE }
/**
 * Failures in a row of one account, from wherever: they make others wait a little, and after the last one (NIST SP
 * 800-63B-4 §3.2.2) only networks of former logins get in.
 */
const ACCOUNT = { free: 10, firstDelay: 250, longestDelay: 2000, slowFor: 15 * MINUTE, limit: 100, memory: 30 * DAY }
/** How long a network counts as one that the account logs in from. */
const KNOWN = { memory: 90 * DAY }
/** How many tries of one account from one network may wait for their turn here. */
const QUEUE = 64
const PRUNE_EVERY = 100

/** /24 of IPv4 (also when mapped into IPv6), /56 of IPv6: what one household or office has. Some proxies write the port too. */
export function networkOf(address: string | null): string {
  const plain = (address ?? '').replace(/^\[(.*)\](:\d+)?$|^([\d.]+):\d+$/, '$1$3').replace(/%.*$/, '')
  if (isIPv4(plain)) return plain.split('.').slice(0, 3).join('.')
  if (!isIPv6(plain)) return 'none'
  // In the one form that URLs have: without an IPv4 address in it.
  const canonical = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  const [head = [], tail = []] = canonical.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const all = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = all.map((group) => Number.parseInt(group, 16))
  if (a + b + c + d + e === 0 && f === 0xffff) return [g >> 8, g & 0xff, h >> 8].join('.')
  return [a, b, c, d & 0xff00].map((group) => group.toString(16)).join(':')
}

/** Names are typed by people, who type passwords into the wrong field: only a hash is kept. */
const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')

const growing = (first: number, longest: number, times: number): number => Math.min(first * 2 ** times, longest)

const throttled = (wait: Millis): DomainError =>
  new DomainError('throttled', 'Too many failed attempts', { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })

/**
 * Limits guessing, by counts in the store that all instances share. A try is counted as a failure before it is made and
 * taken back when it was none, so that parallel tries never get past a limit. Unknown names are counted like known ones.
 */
export function createGuesses({ store, clock, throttle }: { store: Store; clock: Clock; throttle: boolean }) {
  const turns = new Map<string, { last: Promise<void>; waiting: number }>()
  let settled = 0

  /** Parallel tries of one account from one network take turns, so that a burst of right ones is not taken for guessing. */
  async function inTurn<T>(key: string, run: () => Promise<T>): Promise<T> {
    const turn = turns.get(key) ?? { last: Promise.resolve(), waiting: 0 }
    if (turn.waiting >= QUEUE) throw throttled(1000)
    const { promise, resolve: endTurn } = Promise.withResolvers<void>()
    const before = turn.last
    turns.set(key, Object.assign(turn, { last: promise, waiting: turn.waiting + 1 }))
    await before
    try {
      return await run()
    } finally {
      turn.waiting--
      if (turn.waiting === 0) turns.delete(key)
      endTurn()
    }
  }

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

  const read = (tries: Map<string, Tries>, key: string, now: Millis): Tries => {
    const found = tries.get(key)
    if (found === undefined || found.expiresAt <= now) return { key, count: 0, lastAt: now, expiresAt: now }
    // What a clock wrote that was ahead counts from now on.
    const ahead = Math.max(0, found.lastAt - now)
    return { ...found, lastAt: found.lastAt - ahead, expiresAt: found.expiresAt - ahead }
  }

  /** Counts a try as a failure, or says how long it must wait. */
  const begin = ({ pair, network, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, network, account, known], (tries) => {
      const [ofPair, ofNetwork, ofAccount] = [
        read(tries, pair, now),
        read(tries, network, now),
        read(tries, account, now)
      ]
      const isKnown = read(tries, known, now).count > 0
      const pairWait =
        ofPair.count < PAIR.free
          ? 0
          : growing(PAIR.firstWait, PAIR.longestWait, ofPair.count - PAIR.free) - (now - ofPair.lastAt)
      const wait = Math.max(pairWait, ofNetwork.count < NETWORK.limit ? 0 : ofNetwork.expiresAt - now)
      if (wait > 0) return { next: [ofPair, ofNetwork], result: { wait, delay: 0, locked: false } }

      const slow = !isKnown && ofAccount.count >= ACCOUNT.free && now - ofAccount.lastAt < ACCOUNT.slowFor
      const next = [
        { key: pair, count: ofPair.count + 1, lastAt: now, expiresAt: now + PAIR.memory },
        {
          key: network,
          count: ofNetwork.count + 1,
          lastAt: now,
          expiresAt: ofNetwork.count === 0 ? now + NETWORK.memory : ofNetwork.expiresAt
        },
        { key: account, count: ofAccount.count + 1, lastAt: now, expiresAt: now + ACCOUNT.memory }
      ]
      const delay = slow ? growing(ACCOUNT.firstDelay, ACCOUNT.longestDelay, ofAccount.count - ACCOUNT.free) : 0
      return { next, result: { wait: 0, delay, locked: !isKnown && ofAccount.count >= ACCOUNT.limit } }
    })

  /** Takes back what `begin` counted: one try, or after a right one every failure but those of the network. */
  const settle = ({ pair, network, account, known }: Keys, right: boolean, now: Millis) =>
    store.guesses.count([pair, network, account, known], (tries) => {
      const less = (key: string, by: number): Tries => {
        const found = read(tries, key, now)
        return { ...found, count: Math.max(0, found.count - by) }
      }
      const all = right ? Number.POSITIVE_INFINITY : 1
      // What was no try must not make the next one wait.
      const next = [{ ...less(pair, all), lastAt: 0 }, less(account, all), less(network, 1)]
      if (right) next.push({ key: known, count: 1, lastAt: now, expiresAt: now + KNOWN.memory })
      return { next, result: undefined }
    })

  return {
    /**
     * Makes one try to guess an account's secret, if it may be made now.
     * @param account the canonical name, also of an account that does not exist
     * @param guess   gives null when the secret was wrong; what it throws was no try
     * @returns what `guess` gave; null also for an account that is locked, whatever the secret was
     * @throws DomainError throttled, with the seconds after which it may be tried again
     */
    async attempt<T>(account: string, address: string | null, guess: () => Promise<T | null>): Promise<T | null> {
      if (!throttle) return guess()
      const keys = keysOf(account, address)
      return inTurn(keys.pair, async () => {
        const { wait, delay, locked } = await begin(keys, clock.now())
        if (wait > 0) throw throttled(wait)
        if (delay > 0) await clock.sleep(delay)
        let right: boolean | null = null
        try {
          const result = await guess()
          right = result !== null && !locked
          return right ? result : null
        } finally {
          if (right !== false) await settle(keys, right === true, clock.now())
          // If it fails, the next one does it.
          if (++settled % PRUNE_EVERY === 0) await store.guesses.prune(clock.now()).catch(() => {})
        }
      })
    },

    /** Unlocks an account whose secret was set anew. */
    async forgive(account: string): Promise<void> {
      const { account: key } = keysOf(account, null)
      await store.guesses.count([key], () => ({
        next: [{ key, count: 0, lastAt: 0, expiresAt: 0 }],
        result: undefined
      }))
    }
  }
}
