import t from 'tap'
import { DomainError } from '../../src/domain/errors.ts'
import { ATTACKER, elsewhere, HOME, newUser, openLogins, PASSWORD, WRONG } from './login-world.ts'

const DAY = 86_400
const unavailable = async (): Promise<never> => {
  throw new DomainError('unavailable', 'The database is not available')
}

t.test('the limits of an account are the same whether it exists, is disabled or was used before [BF1]', async (t) => {
  const world = openLogins()
  const { users, clock, login, writes, verified } = world
  for (const name of ['carol', 'dave', 'bob', 'barbara'])
    users.set(name, newUser(name, name.startsWith('b') ? 1 : null))
  t.equal(await login(HOME, 'carol', PASSWORD), 'logged in')

  const waits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]
  // After 10 failures of the account the next ones are also delayed.
  const delays = [0, 0, 0, 0, 0, 250, 500, 1000, 2000, 2000]
  // Each line is the outcome, then the number of writes and of verifications, then the delay.
  const expected = [
    ...Array(5).fill('failed 2 1 0'),
    ...waits.flatMap((wait, index) => [
      `wait ${wait} 0 0 0`,
      ...(wait === 1 ? [] : ['wait 1 0 0 0']),
      ...(index < delays.length ? [`failed 2 1 ${delays[index]}`] : [])
    ])
  ]
  const cases: Record<string, [username: string, password: string]> = {
    'a user': ['alice', WRONG],
    'a user who logged in from another network': ['carol', WRONG],
    'a user who logged in from this network before': ['dave', WRONG],
    'a disabled user': ['bob', WRONG],
    'a disabled user with the right password': ['barbara', PASSWORD],
    'an unknown user': ['nobody', WRONG],
    'an invalid name': ['no body', WRONG],
    'a long text': ['x'.repeat(5000), WRONG]
  }
  for (const [name, [username, password]] of Object.entries(cases)) {
    const address = elsewhere()
    if (name === 'a user who logged in from this network before')
      t.equal(await login(address, username, PASSWORD), 'logged in')
    const seen: string[] = []
    const attempt = async () => {
      const before = { writes: writes(), verified: verified(), slept: clock.slept }
      const outcome = await login(address, username, password)
      seen.push(`${outcome} ${writes() - before.writes} ${verified() - before.verified} ${clock.slept - before.slept}`)
    }
    for (let i = 0; i < 5; i++) await attempt()
    for (const wait of waits) {
      await attempt()
      clock.advance(wait - 1)
      if (wait > 1) await attempt()
      clock.advance(1)
      if (wait < 900) await attempt()
    }
    t.strictSame(seen, expected, name)
    t.equal(await login(address, username, password), 'failed', 'the limits start again after 15 minutes')
  }
})

t.test('a throttled try does not count, even with the right password [BF1]', async (t) => {
  const { login, clock, verified } = openLogins()
  for (let i = 0; i < 5; i++) await login(ATTACKER)
  for (let i = 0; i < 110; i++) t.equal(await login(ATTACKER, 'alice', PASSWORD), 'wait 1')
  t.equal(verified(), 5)
  clock.advance(1)
  t.equal(await login(ATTACKER, 'alice', PASSWORD), 'logged in')
  for (let i = 0; i < 5; i++) t.equal(await login(ATTACKER), 'failed', 'the login has forgiven the failures')
  t.equal(await login(ATTACKER), 'wait 1')
})

t.test(
  'an attempt that leaves its turn before it is counted writes nothing, and says whether its network is known',
  async (t) => {
    const { guesses, login, counts, writes } = openLogins()
    await login(HOME, 'alice', PASSWORD)
    const before = writes()
    for (const [account, address, isKnown] of [
      ['id of alice', HOME, true],
      ['id of alice', ATTACKER, false],
      ['nobody', HOME, false]
    ] as const) {
      const turn = await guesses.enter(account, address)
      t.equal(turn.isKnown, isKnown, `${account} from ${address}`)
      turn.leave()
      turn.leave()
    }
    t.equal(writes(), before)
    t.strictSame(counts(), ['known 1'])
  }
)

t.test('failures are forgotten 15 minutes after the last one [BF1]', async (t) => {
  const { login, clock } = openLogins()
  for (let i = 0; i < 4; i++) await login(ATTACKER)
  for (const wait of ['wait 1', 'wait 2']) {
    clock.advance(899)
    t.equal(await login(ATTACKER), 'failed')
    t.equal(await login(ATTACKER), wait)
  }
  clock.advance(900)
  for (let i = 0; i < 5; i++) t.equal(await login(ATTACKER), 'failed')
  t.equal(await login(ATTACKER), 'wait 1')
})

t.test('of 200 parallel guesses at one account at most 5 are verified [BF2]', async (t) => {
  const { login, verified } = openLogins()
  const guesses = Array.from({ length: 200 }, (_, index) => login(ATTACKER, 'alice', `guess ${index}`))
  const outcomes = await Promise.allSettled(guesses)
  t.equal(verified(), 5)
  t.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled' && outcome.value === 'failed').length, 5)
})

t.test('one network may fail 100 times in 15 minutes, at all accounts together [BF2]', async (t) => {
  const { login, clock, users, verified } = openLogins()
  for (let i = 0; i < 100; i++) {
    if (i === 50) clock.advance(300)
    t.equal(await login(`203.0.113.${i}`, `user${i}`), 'failed')
    if (i % 10 === 0)
      t.equal(
        await login(ATTACKER, 'alice', PASSWORD),
        'logged in',
        'a successful login forgives no failure of the network'
      )
  }
  users.set('bob', newUser('bob'))
  const before = verified()
  for (const username of ['bob', 'nobody', 'user1'])
    t.equal(await login(ATTACKER, username, PASSWORD), 'wait 600', username)
  t.equal(verified(), before)
  t.equal(await login('203.0.112.7', 'bob', PASSWORD), 'logged in', 'another network')
  clock.advance(599)
  t.equal(await login(ATTACKER, 'bob', PASSWORD), 'wait 1')
  clock.advance(1)
  t.equal(await login(ATTACKER, 'bob', PASSWORD), 'logged in')
})

t.test(
  'after 100 failures from one network, which come in batches of 50, all guesses from it are throttled [BF2]',
  async (t) => {
    const { login, verified } = openLogins()
    const outcomes: Record<string, number> = {}
    for (let round = 0; round < 4; round++) {
      const batch = Array.from({ length: 50 }, (_, index) => login(ATTACKER, `user${round}-${index}`))
      for (const outcome of await Promise.all(batch)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
    }
    t.strictSame(outcomes, { failed: 100, 'wait 900': 100 })
    t.equal(verified(), 100)
  }
)

t.test('failures from many networks delay an account more and more, and one fades each 15 minutes [BF3]', async (t) => {
  const { login, clock } = openLogins()
  for (const username of ['alice', 'nobody']) {
    const delay = async () => {
      const before = clock.slept
      t.equal(await login(elsewhere(), username), 'failed')
      return clock.slept - before
    }
    const delays: number[] = []
    for (let i = 0; i < 16; i++) delays.push(await delay())
    t.strictSame(delays, [...Array(10).fill(0), 250, 500, 1000, 2000, 2000, 2000], username)
    clock.advance(4 * 900)
    t.strictSame([await delay(), await delay()], [1000, 2000])
    clock.advance(5 * 900 - 1)
    t.equal(await delay(), 250)
    clock.advance(1)
    t.equal(await delay(), 250, 'the failures of the meantime do not restart the 15 minutes')
    clock.advance(3 * 900)
    t.equal(await delay(), 0)
  }
})

t.test('failures at a name do not count for a user who gets this name later [BF3]', async (t) => {
  const { login, users, clock, failFromEverywhere } = openLogins()
  await login(HOME, 'alice', PASSWORD)
  await failFromEverywhere(100, 'alicia')
  const before = clock.slept
  users.set('alicia', newUser('alice'))
  t.equal(await login(HOME, 'alicia', PASSWORD), 'logged in')
  t.equal(await login(elsewhere(), 'alicia', PASSWORD), 'logged in')
  t.equal(clock.slept, before)
})

t.test('all spellings of a name share their counters [BF4]', async (t) => {
  const { login, users } = openLogins()
  users.set('zoë', newUser('zoë'))
  const groups = [
    ['Zoë', 'zoë', 'ZOË', 'ZOË'.normalize('NFD'), 'ｚｏë'],
    ['nobodyë', 'NOBODYË', 'nobodyë'.normalize('NFD'), 'ｎobodyë', 'NoBoDyË'],
    ['no bodyë', 'NO BODYË', 'no bodyë'.normalize('NFD'), 'ｎo bodyë', 'No BoDyË'],
    // Names that are too long share one key: the first 64 characters.
    ['x'.repeat(600), 'X'.repeat(600), 'x'.repeat(65), 'x'.repeat(900), 'ｘ'.repeat(80)]
  ]
  for (const names of groups) {
    for (const username of names) t.equal(await login(ATTACKER, username), 'failed', username)
    for (const username of names) t.equal(await login(ATTACKER, username), 'wait 1', username)
  }
  t.equal(await login(ATTACKER, 'zoe'), 'failed')
})

t.test('all addresses of one network share their counters [BF4]', async (t) => {
  const { login } = openLogins()
  const groups = [
    ['203.0.113.0', '203.0.113.255', '::ffff:203.0.113.7', '203.0.113.1', '::FFFF:203.0.113.9'],
    ['203.0.114.0', '203.0.114.255', '203.0.114.1', '203.0.114.2', '203.0.114.3'],
    ['2001:db8:1::1', '2001:db8:1:ffff::', '2001:db8:1:2ab:1:2:3:4', '2001:0db8:1:200::2', '2001:db8:1:200::3'],
    ['2001:db8:2::1', '2001:db8:2:3ff::', '2001:db8:2:300::2', '2001:db8:2:300::3', '2001:db8:2:300::4'],
    [null, 'unknown', '_x', '1:2:3:4:5:6:7:8:9', 'y'.repeat(9000)]
  ]
  for (const addresses of groups) {
    for (const address of addresses) t.equal(await login(address), 'failed', address?.slice(0, 50) ?? 'null')
    for (const address of addresses) t.equal(await login(address), 'wait 1', address?.slice(0, 50) ?? 'null')
  }
})

t.test('a login that fails because the service is busy is not counted', async (t) => {
  const { login, hasher, counts, clock } = openLogins()
  const { verify } = hasher
  hasher.verify = unavailable
  for (let i = 0; i < 30; i++) await t.rejects(login(ATTACKER, 'alice', PASSWORD), { code: 'unavailable' })
  t.strictSame(counts(), [])

  hasher.verify = verify
  for (let i = 0; i < 5; i++) await login(ATTACKER)
  clock.advance(1)
  await login(ATTACKER)
  clock.advance(2)
  hasher.verify = unavailable
  await t.rejects(login(ATTACKER), { code: 'unavailable' })
  hasher.verify = verify
  t.equal(await login(ATTACKER), 'failed', 'the wait is still over')
  t.equal(await login(ATTACKER), 'wait 4')
})

t.test('an attempt whose result cannot be stored stays counted, and does not block the next attempt', async (t) => {
  const { login, store, clock, verified } = openLogins()
  const { count } = store.guesses
  for (let i = 0; i < 5; i++) {
    let calls = 0
    store.guesses.count = (...args) => (++calls === 2 ? unavailable() : count(...args))
    await t.rejects(login(ATTACKER, 'alice', PASSWORD), { code: 'unavailable' })
  }
  t.equal(await login(ATTACKER, 'alice', PASSWORD), 'wait 1')
  clock.advance(1)
  store.guesses.count = unavailable
  await t.rejects(login(ATTACKER, 'alice', PASSWORD), { code: 'unavailable' })
  t.equal(verified(), 5, 'a try that could not be counted is not verified')
  store.guesses.count = count
  t.equal(await login(ATTACKER, 'alice', PASSWORD), 'logged in')
})

t.test('a count that was written with a fast clock does not make a wait longer [F18]', async (t) => {
  const { login, clock } = openLogins()
  clock.advance(DAY)
  for (let tries = 0; tries < 6; tries++) await login(HOME)
  clock.advance(-DAY)
  t.equal(await login(HOME), 'wait 1', 'the failures still count')
  clock.advance(1)
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
})
