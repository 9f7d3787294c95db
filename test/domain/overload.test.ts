import t from 'tap'
import { assertTimeLeft, RequestOver, runInRequest } from '../../src/deadline.ts'
import { overloaded } from '../../src/domain/errors.ts'
import type { HashVisit } from '../../src/domain/ports/hasher.ts'
import { requestTime } from '../request-time.ts'
import { ATTACKER, elsewhere, HOME, openLogins, PASSWORD, WRONG } from './login-world.ts'

t.test('a refusal for overload is no failed guess: it writes, counts and records nothing [UA2 F20]', async (t) => {
  const { login, hasher, writes, rows, events } = openLogins()
  const { verify } = hasher
  hasher.verify = async () => {
    throw overloaded(1600)
  }
  for (let i = 0; i < 200; i++)
    for (const username of ['alice', 'nobody'])
      await t.rejects(login(elsewhere(), username, PASSWORD), { code: 'unavailable', retryAfter: 2 })
  t.strictSame([writes(), rows.size, events], [0, 0, []])
  hasher.verify = verify
  t.equal(await login(ATTACKER, 'alice', WRONG), 'failed', 'the next attempt is the first that counts')
})

t.test('an attempt is counted after it was admitted, and before its hash [UA2]', async (t) => {
  const { login, hasher, writes } = openLogins()
  const seen: number[] = []
  const { verify } = hasher
  hasher.verify = async (hash, password, visit) => {
    seen.push(writes())
    await visit?.onEntered()
    seen.push(writes())
    return verify(hash, password)
  }
  t.equal(await login(ATTACKER, 'alice', WRONG), 'failed')
  t.strictSame(seen, [0, 1])
})

t.test('an attempt that is throttled or cannot be counted after its admission is not verified', async (t) => {
  const { login, store, verified } = openLogins()
  const { count } = store.guesses
  store.guesses.count = async () => {
    throw new Error('no database')
  }
  await t.rejects(login(HOME, 'alice', PASSWORD), { message: 'no database' })
  store.guesses.count = async () => ({ wait: 7000, isCounted: false, locked: false }) as never
  t.equal(await login(HOME, 'alice', PASSWORD), 'wait 7')
  t.equal(verified(), 0)
  store.guesses.count = count
  t.equal(await login(HOME, 'alice', PASSWORD), 'logged in', 'and leaves its turn to the next')
})

t.test(
  'only a pair of account and network that signed in before waits in the line of known callers [UA2]',
  async (t) => {
    const { login, hasher } = openLogins()
    const lines: (boolean | undefined)[] = []
    const { verify } = hasher
    hasher.verify = (hash, password, visit?: HashVisit) => {
      lines.push(visit?.isKnown)
      return verify(hash, password, visit)
    }
    t.equal(await login(HOME, 'alice', PASSWORD), 'logged in')
    t.equal(await login(HOME, 'alice', WRONG), 'failed')
    t.equal(await login(HOME, 'nobody', WRONG), 'failed')
    t.equal(await login(elsewhere(), 'alice', PASSWORD), 'logged in')
    t.strictSame(lines, [false, true, false, false])
  }
)

t.test('a caller that left during the verification gets no session [UA2]', async (t) => {
  const { login, hasher, opened, events } = openLogins()
  const { verify } = hasher
  const caller = requestTime()
  hasher.verify = async (...args) => {
    const isRight = await verify(...args)
    caller.leave()
    return isRight
  }
  await t.rejects(
    runInRequest(caller.time, () => login(HOME, 'alice', PASSWORD)),
    new RequestOver({ callerLeft: true })
  )
  t.strictSame([opened, events], [[], []])
})

t.test(
  'a correct password is no failed guess when its request reaches the deadline during the hash [UA2]',
  async (t) => {
    const { login, store, hasher, counts } = openLogins()
    const { count } = store.guesses
    // As the store does at the beginning of each method.
    store.guesses.count = async (...args) => {
      assertTimeLeft()
      return count(...args)
    }
    const { time } = requestTime()
    const { verify } = hasher
    hasher.verify = async (...args) => {
      const isRight = await verify(...args)
      time.endsAt = performance.now()
      return isRight
    }
    await t.rejects(
      runInRequest(time, () => login(HOME, 'alice', PASSWORD)),
      new RequestOver({ callerLeft: false })
    )
    t.strictSame(counts(), [])
  }
)
