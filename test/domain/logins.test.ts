import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { from, HOME, newUser, openLogins, PASSWORD, WRONG } from './login-world.ts'
import { openDomain } from './open.ts'

t.test('many users who log in at once from one network do not count as guessing [F22]', async (t) => {
  const { users, guess, counts } = openLogins()
  const names = Array.from({ length: 150 }, (_, index) => `user${index}`)
  for (const name of names) users.set(name, newUser(name))
  const proved = await Promise.all(names.map((name) => guess(HOME, name, PASSWORD)))
  t.strictSame(
    proved.map((each) => (each.kind === 'proved' ? each.credentials.user.username : each.reason)),
    names
  )
  t.strictSame(counts(), [])
})

t.test('many logins of one user at once do not count as guessing, also after a few failures [BF2]', async (t) => {
  const { login, counts } = openLogins()
  const logins = () => Promise.all(Array.from({ length: 40 }, () => login(HOME, 'alice', PASSWORD)))
  const all = Array(40).fill('logged in')
  t.strictSame(await logins(), all)
  t.strictSame(counts(), ['known 1'])
  for (let tries = 0; tries < 4; tries++) await login(HOME)
  t.strictSame(await logins(), all)
  t.strictSame(counts(), ['known 1', 'network 4'])
})

t.test('only a finished login forgives earlier failures and makes its network known', async (t) => {
  const { users, guess, login, counts, opened } = openLogins()
  for (let tries = 0; tries < 3; tries++)
    t.match(await guess(HOME, 'alice', WRONG), { kind: 'refused', reason: 'wrong' })
  t.strictSame(counts(), ['account 3', 'network 3', 'pair 3'])
  t.strictSame(await guess(HOME, 'alice', PASSWORD), { kind: 'proved', credentials: users.get('alice') })
  t.strictSame(counts(), ['account 3', 'network 3', 'pair 3'], 'the right password alone forgives nothing')
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
  t.strictSame(opened, [{ id: 'session' }])
  t.strictSame(counts(), ['known 1', 'network 3'])
})

t.test('a disabled account is named only after its correct password', async (t) => {
  const { users, guess } = openLogins()
  users.set('bob', newUser('bob', 1))
  t.strictSame(await guess(HOME, 'bob', WRONG), { kind: 'refused', reason: 'wrong' })
  t.strictSame(await guess(HOME, 'nobody', PASSWORD), { kind: 'refused', reason: 'wrong' })
  t.strictSame(await guess(HOME, 'bob', PASSWORD), { kind: 'refused', reason: 'disabled' })
})

t.test('a known network is written again only after a day', async (t) => {
  const { guesses, rows, clock } = openLogins()
  const known = () => [...rows.values()][0]
  await guesses.forgive('id', HOME)
  const first = known()
  clock.advance(60)
  await guesses.forgive('id', HOME)
  t.equal(known(), first)
  clock.advance(86_400)
  await guesses.forgive('id', HOME)
  t.ok((known()?.lastAt ?? 0) > (first?.lastAt ?? 0))
})

t.test('the events of failed and throttled logins name the account and the reason', async (t) => {
  const { users, guess, login, events } = openLogins()
  users.set('bob', newUser('bob', 1))
  for (let tries = 0; tries < 5; tries++) await login(HOME)
  await t.rejects(guess(HOME, 'alice', PASSWORD), { code: 'throttled', retryAfter: 1 })
  await login(HOME, 'bob', PASSWORD)
  await login(HOME, 'hunter2 typed into the wrong field', PASSWORD)
  const event = (username: string, type: string, reason: string) => ({
    type,
    caller: from(HOME),
    subject: { user: `id of ${username}`, username },
    outcome: 'failure',
    reason
  })
  t.strictSame(events, [
    ...Array(5).fill(event('alice', 'login.failed', 'wrong password')),
    event('alice', 'login.throttled', 'too many failures'),
    event('bob', 'login.failed', 'user disabled'),
    // A text that names no account may be a password: the event leaves it out.
    { ...event('', 'login.failed', 'unknown user'), subject: {} }
  ])
})

t.test('a login that overlaps another login of the user does not make their network unknown [BF3]', async (t) => {
  for (const isKnownBefore of [false, true]) {
    const { guesses, counts } = openLogins()
    if (isKnownBefore) await guesses.forgive('id', HOME)
    const begin = async () => {
      const turn = await guesses.enter('id', HOME)
      const attempt = await turn.count()
      turn.leave()
      return attempt
    }
    await (await begin()).cancel()
    const second = await begin()
    await guesses.forgive('id', HOME)
    await second.cancel()
    t.strictSame(counts(), ['known 1'])
  }
})

for (const when of ['verification', 'opening of the session'])
  t.test(`a login of a user who was disabled during the ${when} is an event`, async (t) => {
    const { auth, hasher, store, events, createUser, login } = await openDomain(t)
    const id = await createUser('victor')
    const disable = () => auth.users.change(OPERATOR, id, { disabled: true })
    const { verify } = hasher
    hasher.verify = async (...args) => {
      const isRight = await verify(...args)
      if (when === 'verification') await disable()
      return isRight
    }
    const { open } = store.sessions
    store.sessions.open = async (...args) => {
      await disable()
      return open(...args)
    }
    events.length = 0
    await t.rejects(login('victor', { caller: from(HOME) }), { code: 'invalid_grant' })
    t.strictSame(
      events
        .filter(({ type }) => type !== 'user.changed')
        .map(({ type, subject, outcome, reason, caller }) => [type, subject, outcome, reason, caller.address]),
      [['login.failed', { user: id }, 'failure', 'user or client changed during the login', HOME]]
    )
    t.strictSame((await store.sessions.list(id, { after: null, limit: 1 }, 0)).length, 0)
  })

t.test('a wrong current password and a throttled one are events', async (t) => {
  const { events, proof } = openLogins()
  const current = { userId: 'id of alice', username: 'alice', password: 'wrong' }
  for (let tries = 0; tries < 5; tries++) t.equal(await proof.verifyCurrent(from(HOME), current), null)
  await t.rejects(proof.verifyCurrent(from(HOME), current), { code: 'throttled' })
  const failed = (reason: string) => ({
    type: 'password.change_failed',
    caller: from(HOME),
    subject: { user: 'id of alice', username: 'alice' },
    outcome: 'failure',
    reason
  })
  t.strictSame(events, [...Array(5).fill(failed('wrong password')), failed('too many failures')])
})
