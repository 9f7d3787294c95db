import t from 'tap'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import type { Event } from '../../src/domain/events.ts'
import { createGuesses } from '../../src/domain/guesses.ts'
import { createLogins } from '../../src/domain/logins.ts'
import type { Credentials, Session } from '../../src/domain/model.ts'
import { createPasswordProof } from '../../src/domain/password-proof.ts'
import type { GuessStore, Tries } from '../../src/domain/ports/guesses.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Config } from '../../src/settings.ts'

const HOME: Caller = { ...OPERATOR, kind: 'client', id: 'docs', address: '192.0.2.7' }
const PASSWORD = 'correct horse battery staple'

/** Counts of guesses in a map: each method runs without interruption, as the port promises. */
function guessStore(): GuessStore & { rows: Map<string, Tries> } {
  const rows = new Map<string, Tries>()
  return {
    rows,
    read: async (keys) => new Map([...rows].filter(([key]) => keys.includes(key))),
    async count(keys, decide) {
      const { next, result } = decide(new Map([...rows].filter(([key]) => keys.includes(key))))
      for (const tries of next) {
        if (tries.count === 0) rows.delete(tries.key)
        else rows.set(tries.key, tries)
      }
      return result
    }
  }
}

const user = (name: string, disabledAt: number | null = null): Credentials => ({
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

/** The steps of a login on a store of users and counts; every hash is the password itself. */
function world() {
  let now = Date.UTC(2026, 0, 1)
  const guessesStore = guessStore()
  const users = new Map<string, Credentials>()
  const opened: Session[] = []
  const events: Event[] = []
  const clock = { now: () => now, sleep: async () => {} }
  const store = {
    guesses: guessesStore,
    users: { credentials: async (name: string) => users.get(name) ?? null, replaceHash: async () => {} },
    sessions: {
      open: async (_caller: Caller, { session }: { session: Session }) => {
        opened.push(session)
        return true
      }
    }
  } as unknown as Store
  const hasher = {
    hash: async () => PASSWORD,
    verify: async (hash: string | null, password: string) => hash === password,
    outdated: () => false
  }
  const guesses = createGuesses({ store, clock, settings: { throttle: true } as Config })
  const proof = createPasswordProof({ store, hasher, guesses, events: { record: (event) => void events.push(event) } })
  return {
    users,
    opened,
    events,
    guesses,
    proof,
    hasher,
    rows: guessesStore.rows,
    logins: createLogins({ store, guesses }),
    advance: (ms: number) => {
      now += ms
    },
    guess: (username: string, password: string, caller = HOME) => proof.verifyLogin(caller, { username, password })
  }
}

/** Kinds of the rows and their counts. */
const counts = (rows: Map<string, Tries>) =>
  [...rows.values()].map(({ key, count }) => `${key.split(' ')[0]} ${count}`).toSorted()

t.test('many users who log in concurrently from one network are not throttled [F22]', async (t) => {
  const { users, guess, rows } = world()
  const names = Array.from({ length: 150 }, (_, index) => `user${index}`)
  for (const name of names) users.set(name, user(name))
  const proved = await Promise.all(names.map((name) => guess(name, PASSWORD)))
  t.strictSame(
    proved.map((credentials) => credentials?.user.username),
    names
  )
  t.strictSame(counts(rows), [])
})

t.test('many concurrent successful logins of one user are not throttled', async (t) => {
  const { users, guess, rows } = world()
  users.set('alice', user('alice'))
  const proved = await Promise.all(Array.from({ length: 40 }, () => guess('alice', PASSWORD)))
  t.equal(proved.filter((credentials) => credentials !== null).length, 40)
  t.strictSame(counts(rows), [])
})

t.test('only a finished login forgives earlier failures, and makes its network known', async (t) => {
  const { users, guess, rows, logins, opened } = world()
  const alice = user('alice')
  users.set('alice', alice)
  for (let tries = 0; tries < 3; tries++) t.equal(await guess('alice', 'wrong'), null)
  t.strictSame(counts(rows), ['account 3', 'network 3', 'pair 3'])
  t.equal(await guess('alice', PASSWORD), alice)
  t.strictSame(counts(rows), ['account 3', 'network 3', 'pair 3'], 'a right password alone forgives nothing')
  const login = { userId: alice.user.id, authVersion: 1, authAt: 0, amr: ['pwd'] }
  const session = { id: 'session' } as Session
  t.equal(await logins.finish(HOME, { login, session, rev: 0 }), true)
  t.strictSame(opened, [session])
  t.strictSame(counts(rows), ['known 1', 'network 3'])
})

t.test('a known network is written again only after a day', async (t) => {
  const { guesses, rows, advance } = world()
  await guesses.forgive('id', HOME.address)
  const [first] = [...rows.values()]
  advance(60_000)
  await guesses.forgive('id', HOME.address)
  t.equal([...rows.values()][0], first)
  advance(86_400_000)
  await guesses.forgive('id', HOME.address)
  t.ok(([...rows.values()][0]?.lastAt ?? 0) > (first?.lastAt ?? 0))
})

t.test('a hash that fails is no guess', async (t) => {
  const { users, guess, rows, hasher } = world()
  users.set('alice', user('alice'))
  hasher.verify = async () => {
    throw new Error('too busy')
  }
  await t.rejects(guess('alice', PASSWORD), { message: 'too busy' })
  t.strictSame(counts(rows), [])
})

t.test('the sixth failure in a row must wait, and the event says why', async (t) => {
  const { users, guess, events } = world()
  users.set('alice', user('alice'))
  for (let tries = 0; tries < 5; tries++) t.equal(await guess('alice', 'wrong'), null)
  await t.rejects(guess('alice', PASSWORD), { code: 'throttled', retryAfter: 1 })
  const subject = { user: 'id of alice', username: 'alice' }
  const failed = { type: 'login.failed', caller: HOME, subject, outcome: 'failure', reason: 'wrong password' } as const
  const throttled = {
    type: 'login.throttled',
    caller: HOME,
    subject,
    outcome: 'failure',
    reason: 'too many failures'
  } as const
  t.strictSame(events, [failed, failed, failed, failed, failed, throttled])
})

t.test('the event of a failed login names the account and the reason, but no text that names no account', async (t) => {
  const { users, guess, events } = world()
  users.set('bob', user('bob', 1))
  t.equal(await guess('bob', PASSWORD), null)
  t.equal(await guess('hunter2 typed into the wrong field', PASSWORD), null)
  t.strictSame(
    events.map(({ subject, reason }) => ({ subject, reason })),
    [
      { subject: { user: 'id of bob', username: 'bob' }, reason: 'user disabled' },
      { subject: {}, reason: 'unknown user' }
    ]
  )
})
