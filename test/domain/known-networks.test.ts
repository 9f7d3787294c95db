import t from 'tap'
import { ATTACKER, elsewhere, HOME, newUser, openLogins, PASSWORD, WRONG } from './login-world.ts'

// What the failures of others do to a user, and what a network that the user logged in from changes.

const DAY = 86_400

t.test(
  'after 100 failures in a row unknown networks share one real attempt each 15 minutes [PW1 PW2 BF3]',
  async (t) => {
    const { login, clock, verified, failFromEverywhere, events } = openLogins()
    await failFromEverywhere(100)
    for (const password of [PASSWORD, WRONG]) {
      const before = verified()
      t.equal(await login(elsewhere(), 'alice', password), 'failed')
      t.equal(verified() - before, 1)
    }
    t.strictSame(
      events.slice(-2).map(({ reason }) => reason),
      ['account locked', 'wrong password']
    )
    for (let round = 0; round < 3; round++) {
      clock.advance(899)
      t.equal(await login(elsewhere(), 'alice', PASSWORD), 'failed', 'still locked')
      clock.advance(1)
      const before = events.length
      for (let tries = 0; tries < 3; tries++) t.equal(await login(elsewhere()), 'failed')
      t.equal(await login(elsewhere(), 'alice', PASSWORD), 'failed', 'another network has used the attempt')
      t.equal(events.slice(before).at(-1)?.reason, 'account locked')
    }
    clock.advance(900)
    t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in')
    t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in', 'a login ends the row of failures')
  }
)

t.test('of parallel attempts on a locked account one is real [BF3]', async (t) => {
  const { login, clock, events, failFromEverywhere } = openLogins()
  await failFromEverywhere(100)
  clock.advance(900)
  const before = events.length
  await Promise.all(Array.from({ length: 20 }, () => login(elsewhere(), 'alice', WRONG)))
  t.equal(await login(elsewhere(), 'alice', PASSWORD), 'failed')
  t.equal(events.at(-1)?.reason, 'account locked')
  t.equal(events.length, before + 21)
  clock.advance(900)
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => login(elsewhere(), 'alice', PASSWORD)))
  t.equal(outcomes.filter((outcome) => outcome === 'logged in').length, 1)
})

t.test('the failures of a locked account fade within 25 hours, however many there were [BF3]', async (t) => {
  const { login, clock, counts, failFromEverywhere } = openLogins()
  await failFromEverywhere(400)
  clock.advance(91 * 900)
  const before = clock.slept
  t.equal(await login(elsewhere()), 'failed')
  t.equal(clock.slept, before, 'fewer than 10 are left')
  t.equal(counts()[0], 'account 10')
  clock.advance(10 * 900)
  t.equal(await login(elsewhere()), 'failed')
  t.equal(counts()[0], 'account 1')
})

t.test('a user in a known network logs in without wait or delay while others guess [BF3]', async (t) => {
  const { login, clock, failFromEverywhere } = openLogins()
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  for (const failures of [99, 300]) {
    await failFromEverywhere(failures)
    const before = clock.slept
    t.equal(await login(HOME.replace(/\d+$/, '200'), 'alice', PASSWORD), 'logged in', 'another address of the network')
    t.equal(clock.slept, before)
  }
  await failFromEverywhere(99)
  const before = clock.slept
  t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in')
  t.equal(clock.slept - before, 2000, 'an unknown network waits')
})

t.test('failures from a known network do not use the attempts of unknown networks [BF3]', async (t) => {
  const { login, clock, failFromEverywhere } = openLogins()
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  await failFromEverywhere(100)
  clock.advance(899)
  t.equal(await login(HOME), 'failed')
  clock.advance(1)
  t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in')
})

t.test('a correct password unlocks the account for other networks only when its login is finished [BF3]', async (t) => {
  const { login, guess, events, failFromEverywhere } = openLogins()
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  await failFromEverywhere(100)
  t.not(await guess(HOME, 'alice', PASSWORD), null)
  t.equal(await login(elsewhere(), 'alice', PASSWORD), 'failed')
  t.equal(events.at(-1)?.reason, 'account locked')
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in')
})

t.test('a network is known for 90 days after its last login [BF3]', async (t) => {
  const { login, clock, failFromEverywhere } = openLogins()
  await login(HOME, 'alice', PASSWORD)
  clock.advance(60 * DAY)
  await login(HOME, 'alice', PASSWORD)
  clock.advance(89 * DAY)
  await failFromEverywhere(100)
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  clock.advance(90 * DAY)
  await failFromEverywhere(100)
  t.equal(await login(HOME, 'alice', PASSWORD), 'failed')
})

t.test('a known network is unknown after 100 failures in a row, until a login [BF3]', async (t) => {
  const { login, clock, failFromEverywhere } = openLogins()
  await login(HOME, 'alice', PASSWORD)
  for (let i = 0; i < 100; i++) {
    t.equal(await login(HOME), 'failed')
    clock.advance(900)
  }
  await failFromEverywhere(100)
  t.equal(await login(HOME, 'alice', PASSWORD), 'failed')
  clock.advance(900)
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  await failFromEverywhere(100)
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
})

/** Fails 100 times from one network, at names that nobody has. */
async function exhaust({ login }: ReturnType<typeof openLogins>): Promise<void> {
  for (let i = 0; i < 100; i++) await login(ATTACKER, `user${i}`)
}

t.test('a user who logged in from a network before is not stopped by the limit of the network [BF3 UA3]', async (t) => {
  const world = openLogins()
  const { login, users } = world
  users.set('bob', newUser('bob'))
  t.equal(await login(ATTACKER, 'alice', PASSWORD), 'logged in')
  await exhaust(world)
  for (let i = 0; i < 10; i++) t.equal(await login(ATTACKER, 'alice', PASSWORD), 'logged in')
  t.equal(await login(ATTACKER, 'bob', PASSWORD), 'wait 900', 'a user who never logged in from there')
})

t.test(
  'over the limit of the network a wrong password is answered alike whether the user logged in from there or not [BF1 UA5]',
  async (t) => {
    const world = openLogins()
    const { login, clock, hasher, verified } = world
    const { verify } = hasher
    hasher.verify = async (...args) => {
      const isRight = await verify(...args)
      clock.advance(0.04)
      return isRight
    }
    t.equal(await login(ATTACKER, 'alice', PASSWORD), 'logged in')
    await exhaust(world)
    const times: Record<string, number[]> = {}
    for (const username of ['alice', 'nobody']) {
      for (let i = 0; i < 8; i++) {
        const before = clock.now() + clock.slept
        const outcome = await login(ATTACKER, username)
        t.match(outcome, /^wait 89\d$/, `${username} ${i}`)
        times[username] = [...(times[username] ?? []), Math.round(clock.now() + clock.slept - before)]
      }
    }
    t.strictSame(times, { alice: Array(8).fill(40), nobody: Array(8).fill(40) })
    t.equal(verified(), 1 + 100 + 5, 'five guesses at a user who logged in from there are real')
    // Afterwards the guesses have left no trace in the counters that others can see.
    clock.advance(900)
    for (const username of ['alice', 'nobody'])
      t.strictSame(
        [await login(ATTACKER, username), await login(ATTACKER, username), await login(ATTACKER, username)],
        ['failed', 'failed', 'failed'],
        username
      )
    t.equal(world.counts().filter((counter) => counter === 'account 3').length, 2)
  }
)
