import t, { type Test } from 'tap'
import { RequestOver } from '../../src/deadline.ts'
import { DomainError, overloaded } from '../../src/domain/errors.ts'
import { build } from '../helper.ts'
import { LOGIN } from '../http.ts'
import { stopClock } from '../request-time.ts'

const all: Record<string, unknown>[] = []
const world = await build(t, {
  logger: { level: 'info', stream: { write: (line: string) => void all.push(JSON.parse(line)) } }
})
const { app, token, get } = world
const bearer = await world.login('alice')

/** Returns the warnings and errors since the last call. */
function take(): Record<string, unknown>[] {
  const lines = all.filter(({ level }) => Number(level) >= 40)
  all.length = 0
  return lines
}

/** Replaces methods until the end of the test. */
function replace<T extends object>(t: Test, holder: T, methods: Partial<T>): void {
  const before = { ...holder }
  t.teardown(() => Object.assign(holder, before))
  Object.assign(holder, methods)
}

t.test('a refusal has one line in the log and no stack: 503 of the database with its reason [UA2 F11]', async (t) => {
  const cause = new Error('connection refused by 10.0.0.7')
  const away = () =>
    Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1, cause }))
  replace(t, app.store.users, { credentials: away })
  replace(t, app.store, { state: away })
  take()
  const { advance } = stopClock(t)
  const line = (requests: number) => ({
    level: 50,
    msg: 'The database is not available',
    cause: cause.message,
    requests
  })
  for (const requests of [1, 3]) {
    await get('/users/me', bearer)
    const lines = take()
    t.match(lines, [line(requests)])
    t.notMatch(JSON.stringify(lines), /stack|failure-log\.test/)
    await get('/users/me', bearer)
    await token(LOGIN)
    t.strictSame(take(), [], 'equal refusals share one line a second')
    advance(1000)
  }
})

t.test('refusals for overload share one line a second, without a stack [UA2 F20]', async (t) => {
  const { advance } = stopClock(t)
  replace(t, app.hasher, { verify: () => Promise.reject(overloaded(1500)) })
  advance(10_000)
  take()
  for (let i = 0; i < 20; i++) {
    const { statusCode, headers } = await token(LOGIN)
    t.strictSame([statusCode, headers['retry-after']], [503, '2'])
  }
  const line = (requests: number) => ({
    level: 40,
    msg: 'logins were refused, because too many wait for a password hash',
    requests
  })
  t.strictSame(
    all.filter((each) => each.msg === 'request'),
    [],
    'a refused request has no line of its own'
  )
  const [first, ...more] = take()
  t.match(first, line(1))
  t.notMatch(JSON.stringify(first), /stack/)
  t.strictSame(more, [])
  advance(1000)
  await token(LOGIN)
  t.match(take(), [line(20)])
})

t.test('the end of a request at its deadline has one line, and a caller that left has none [UA2]', async (t) => {
  take()
  replace(t, app.store, { state: () => Promise.reject(new RequestOver({ callerLeft: false })) })
  t.equal((await get('/users/me', bearer)).statusCode, 503)
  t.match(take(), [{ level: 40, msg: 'The request took too long' }])
  replace(t, app.store, { state: () => Promise.reject(new RequestOver({ callerLeft: true })) })
  await get('/users/me', bearer)
  t.strictSame(take(), [])
})
