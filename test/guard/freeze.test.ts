import t from 'tap'
import { createFreezeDetector } from '../../src/guard/freeze.ts'
import { withSleep } from '../../src/guard/timer.ts'
import { neverRespond } from '../fake-issuer.ts'
import { createFakeTimer, settle } from '../fake-timer.ts'
import { setUp } from './service.ts'

const LONG = 3_600_000

t.test('after a freeze the first requests wait for the log, and are then decided by it', async (t) => {
  const { token, status, issuer: _, revoke, requests, timer, logged } = await setUp(t)
  const [good, revoked] = [token(), token({ sid: 'session-2' })]
  t.strictSame([await status(good), await status(revoked)], [200, 200])
  timer.freeze(LONG)
  revoke('session', 'session-2')
  t.strictSame(await Promise.all([status(good), status(revoked)]), [200, 401])
  const paths = requests.map(({ path }) => path).filter((path) => path.includes('wait=0'))
  t.equal(paths.length, 2, 'at the start and after the freeze the log is read without waiting')
  t.strictSame(logged, [])
})

t.test('after a freeze a connection that is broken does not delay the log', async (t) => {
  const { token, status, responders, readLog, timer } = await setUp(t)
  responders.revocations = neverRespond
  await timer.advance(20_000)
  timer.freeze(LONG)
  responders.revocations = readLog
  t.equal(await status(token()), 200)
})

t.test('after a freeze the wait for a log that does not respond is limited, as at the start', async (t) => {
  const { token, status, responders, timer } = await setUp(t)
  await settle()
  responders.revocations = neverRespond
  timer.freeze(LONG)
  const statuses: number[] = []
  void status(token()).then((first) => statuses.push(first))
  await timer.advance(2999)
  t.strictSame(statuses, [])
  await timer.advance(1)
  t.strictSame(statuses, [503])
  t.equal(await status(token()), 503, 'at once')
})

t.test(
  'a process that runs is not frozen, and a freeze is noticed once, whenever the next request comes',
  async (t) => {
    const timer = createFakeTimer()
    const { start, stop, wasFrozen } = createFreezeDetector(timer)
    t.teardown(stop)
    start()
    for (let times = 0; times < 5; times++) {
      await timer.advance(10_000)
      t.notOk(wasFrozen())
    }
    timer.freeze(3000)
    t.strictSame([wasFrozen(), wasFrozen()], [true, false])
    timer.freeze(3000)
    await timer.advance(60_000)
    t.strictSame([wasFrozen(), wasFrozen()], [true, false])
  }
)

t.test('the time of a guard goes on while the machine sleeps, and never goes back', async (t) => {
  let [process, clock] = [0, 1000]
  const elapsed = withSleep(
    () => process,
    () => clock
  )
  process += 5000
  clock += 5000
  t.equal(elapsed(), 5000)
  process += 10
  clock += LONG
  t.equal(elapsed(), 5000 + LONG, 'it slept for an hour')
  clock -= 2 * LONG
  t.equal(elapsed(), 5000 + LONG, 'the clock was set back')
  process += 7
  clock += 7
  t.equal(elapsed(), 5007 + LONG)
  clock += 900
  t.equal(elapsed(), 5007 + LONG, 'the clock was corrected a little')
})
