import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import type { Event } from '../../src/domain/events.ts'
import { createGuesses } from '../../src/domain/guesses.ts'
import { createLogins } from '../../src/domain/logins.ts'
import type { Credentials, Session } from '../../src/domain/model.ts'
import { createPasswordProof } from '../../src/domain/password-proof.ts'
import type { GuessCount, GuessStore } from '../../src/domain/ports/guesses.ts'
import type { HashVisit } from '../../src/domain/ports/hasher.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Config } from '../../src/settings.ts'
import { TestClock } from '../clock.ts'

export const PASSWORD = 'correct horse battery staple'
export const WRONG = 'not the pass phrase'
export const HOME = '192.0.2.7'
export const ATTACKER = '203.0.113.7'
export const from = (address: string | null): Caller => ({ ...OPERATOR, kind: 'client', id: 'docs', address })

let networks = 0
/** Returns an address in a new network. */
export const elsewhere = (): string => `10.${++networks >> 8}.${networks & 255}.1`

/** Keeps counts in a map. Each method runs without interruption, as the port promises. */
function guessStore(): { store: GuessStore; rows: Map<string, GuessCount>; writes: () => number } {
  const rows = new Map<string, GuessCount>()
  let writes = 0
  const store: GuessStore = {
    read: async (keys) => new Map([...rows].filter(([key]) => keys.includes(key))),
    async count(keys, decide) {
      writes++
      const { next, result } = decide(new Map([...rows].filter(([key]) => keys.includes(key))))
      for (const tries of next) {
        if (tries.count === 0) rows.delete(tries.key)
        else rows.set(tries.key, tries)
      }
      return result
    }
  }
  return { store, rows, writes: () => writes }
}

/** Returns a user whose password is `PASSWORD`. */
export const newUser = (name: string, disabledAt: number | null = null): Credentials => ({
  user: {
    id: `id of ${name}`,
    username: name,
    email: null,
    fullName: null,
    disabledAt,
    roles: [],
    createdAt: 0,
    updatedAt: 0
  },
  passwordHash: PASSWORD,
  authVersion: 1
})

/** The outcome of a login; `wait` with the seconds until the next attempt for a throttled login. */
export type LoginOutcome = 'logged in' | 'failed' | `wait ${number}`

/** Everything that limits logins, on a store in memory with the user `alice`. Every hash is the password itself. */
export function openLogins() {
  const clock = new TestClock()
  const tries = guessStore()
  const users = new Map([['alice', newUser('alice')]])
  const opened: Session[] = []
  const events: Event[] = []
  const store = {
    guesses: tries.store,
    users: { credentials: async (name: string) => users.get(name) ?? null, replaceHash: async () => {} },
    sessions: {
      open: async (_caller: Caller, { session }: { session: Session }) => {
        opened.push(session)
        return true
      }
    }
  } as unknown as Store
  let verified = 0
  const hasher = {
    hash: async () => PASSWORD,
    verify: async (hash: string | null, password: string, visit?: HashVisit) => {
      await visit?.onEntered()
      verified++
      return hash === password
    },
    outdated: () => false
  }
  const guesses = createGuesses({ store, clock, settings: { throttle: true } as Config })
  const dummyHashes = { of: async () => null }
  const proof = createPasswordProof({
    store,
    hasher,
    guesses,
    dummyHashes,
    events: { record: (event) => void events.push(event) }
  })
  const logins = createLogins({
    store,
    guesses,
    clock,
    settings: { loginIdleTtl: 60, loginAbsoluteTtl: 60 },
    events: { record: (event) => void events.push(event) }
  })

  /** Verifies a password as a login does. */
  const guess = (address: string | null, username: string, password: string) =>
    proof.verifyLogin(from(address), { username, password })

  /** Logs in, and finishes the login when the password is right. */
  async function login(address: string | null, username = 'alice', password = WRONG): Promise<LoginOutcome> {
    try {
      const proved = await guess(address, username, password)
      if (proved.kind === 'refused') return 'failed'
      const login = { userId: proved.credentials.user.id, authVersion: 1, authAt: 0, amr: ['pwd'] }
      await logins.finish(from(address), { login, session: { id: 'session' } as Session, rev: 0 })
      return 'logged in'
    } catch (error) {
      if (error instanceof DomainError && error.code === 'throttled') return `wait ${error.retryAfter as number}`
      throw error
    }
  }

  return {
    clock,
    users,
    store,
    opened,
    events,
    guesses,
    hasher,
    proof,
    guess,
    login,
    rows: tries.rows,
    writes: tries.writes,
    verified: () => verified,
    /** Returns the kind and the value of each stored counter, for example `pair 5`. */
    counts: () => [...tries.rows.values()].map(({ key, count }) => `${key.split(' ')[0]} ${count}`).toSorted(),
    /** Makes `times` failed logins, five from each of several new networks. */
    async failFromEverywhere(times: number, username = 'alice') {
      let address = ''
      for (let done = 0; done < times; done++) {
        if (done % 5 === 0) address = elsewhere()
        if ((await login(address, username)) !== 'failed') throw new Error('a failure was throttled')
      }
    }
  }
}
