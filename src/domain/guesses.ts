import { createHash } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import type { Millis } from './model.ts'
import type { Clock, Store, Tries } from './ports.ts'
import { createTurns, throttled } from './turns.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** Failures of one account from one network: the next try must wait 1 s after the fifth, then twice as long each time. */
const PAIR = { free: 5, firstWait: 1000, longestWait: 15 * MINUTE, memory: 15 * MINUTE }
/** Failures from one network, whatever the account, within the time that the first one begins. What is under way does not count yet. */
const NETWORK = { limit: 100, memory: 15 * MINUTE }
/**
 * Failures in a row of one account, from wherever: they make others wait a little, and after the last one (NIST SP
 * 800-63B-4 §3.2.2) only networks of former logins get in.
 */
const ACCOUNT = { free: 10, firstDelay: 250, longestDelay: 2000, slowFor: 15 * MINUTE, limit: 100, memory: 30 * DAY }
/** How long, and for how many failures in a row, a network counts as one that the account logs in from. */
const KNOWN = { limit: 100, memory: 90 * DAY }
/** How many tries of one account from one network may wait for their turn here. */
const QUEUE = 64

/** /24 of IPv4 (also when mapped into IPv6), /48 of IPv6: what one household or office may have. Some proxies write the port too. */
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
  return [a, b, c].map((group) => group.toString(16)).join(':')
}

/** Names are typed by people, who type passwords into the wrong field: only a hash is kept. */
const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')

const growing = (first: number, longest: number, times: number): number => Math.min(first * 2 ** times, longest)

const TOO_MANY = 'Too many failed attempts'

/**
 * Limits guessing, by counts in the store that all instances share. A try is counted as a failure of its account before it
 * is made and taken back when it was none, so that parallel tries never get past a limit. Unknown names are counted like
 * known ones.
 */
export function createGuesses({ store, clock, throttle }: { store: Store; clock: Clock; throttle: boolean }) {
  /** Parallel tries of one account from one network take turns, so that a burst of right ones is not taken for guessing. */
  const inTurn = createTurns(QUEUE, TOO_MANY)

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

  const waitOfPair = ({ count, lastAt }: Tries, now: Millis): Millis =>
    count < PAIR.free ? 0 : growing(PAIR.firstWait, PAIR.longestWait, count - PAIR.free) - (now - lastAt)

  /** How long a try must wait by what can be read without keeping others from it: a flood of refused ones writes nothing. */
  async function refusal({ pair, network }: Keys, now: Millis): Promise<Millis> {
    const tries = await store.guesses.read([pair, network])
    const ofNetwork = read(tries, network, now)
    // What is of a clock that was ahead is put right by `begin`.
    const ahead = (tries.get(pair)?.lastAt ?? 0) > now
    return Math.max(
      ahead ? 0 : waitOfPair(read(tries, pair, now), now),
      ofNetwork.count < NETWORK.limit ? 0 : ofNetwork.expiresAt - now
    )
  }

  /** Counts a try as a failure of the account, or says how long it must wait. */
  const begin = ({ pair, account, known }: Keys, now: Millis) =>
    store.guesses.count([pair, account, known], (tries) => {
      const [ofPair, ofAccount, ofKnown] = [read(tries, pair, now), read(tries, account, now), read(tries, known, now)]
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

  /** Takes back what `begin` counted: all that the account failed from here when it was right, one try when it was none. */
  const settle = ({ pair, account, known }: Keys, how: 'right' | 'none', now: Millis) =>
    store.guesses.count([pair, account, known], (tries) => {
      const less = (key: string): Tries => {
        const found = read(tries, key, now)
        return { ...found, count: how === 'right' ? 0 : Math.max(0, found.count - 1) }
      }
      const ofKnown =
        how === 'right' ? { key: known, count: 1, lastAt: now, expiresAt: now + KNOWN.memory } : less(known)
      // What was no try must not make the next one wait.
      return { next: [{ ...less(pair), lastAt: 0 }, less(account), ofKnown], result: undefined }
    })

  const countNetwork = ({ network }: Keys, now: Millis) =>
    store.guesses.count([network], (tries) => {
      const { count, expiresAt } = read(tries, network, now)
      const end = count === 0 ? now + NETWORK.memory : expiresAt
      return { next: [{ key: network, count: count + 1, lastAt: now, expiresAt: end }], result: undefined }
    })

  return {
    /**
     * Makes one try to guess an account's secret, if it may be made now.
     * @param account what names it for good: an id, or the canonical name where there is no such account
     * @param guess   gives null when the secret was wrong; what it throws was no try
     * @returns what `guess` gave; null also for an account that is locked, whatever the secret was
     * @throws DomainError throttled, with the seconds after which it may be tried again
     */
    async attempt<T>(account: string, address: string | null, guess: () => Promise<T | null>): Promise<T | null> {
      if (!throttle) return guess()
      const keys = keysOf(account, address)
      return inTurn(keys.pair, async () => {
        const refused = await refusal(keys, clock.now())
        if (refused > 0) throw throttled(refused, TOO_MANY)
        const { wait, delay, locked } = await begin(keys, clock.now())
        if (wait > 0) throw throttled(wait, TOO_MANY)
        if (delay > 0) await clock.sleep(delay)
        let how: 'right' | 'wrong' | 'none' = 'none'
        try {
          const result = await guess()
          how = result === null || locked ? 'wrong' : 'right'
          return how === 'right' ? result : null
        } finally {
          if (how === 'wrong') await countNetwork(keys, clock.now())
          else await settle(keys, how, clock.now())
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
