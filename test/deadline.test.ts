import { mock } from 'node:test'
import t from 'tap'
import {
  assertCallerWaits,
  assertTimeLeft,
  prolong,
  RequestOver,
  runInRequest,
  runOutsideRequest,
  timeLeft,
  untilDeadline
} from '../src/deadline.ts'
import { createQueue } from '../src/queue.ts'
import { requestTime, stopClock } from './request-time.ts'

const TOO_LATE = new RequestOver({ callerLeft: false })
const GONE = new RequestOver({ callerLeft: true })
const settled = () => new Promise(setImmediate)

t.test('all steps of a request have one deadline, and other work has none [UA2]', async (t) => {
  const { advance } = stopClock(t)
  const one = requestTime(100).time
  await runInRequest(one, async () => {
    t.equal(timeLeft(), 100)
    advance(40)
    await settled()
    t.equal(timeLeft(), 60, 'after a step that waits')
    await runInRequest(requestTime(500).time, async () => t.equal(timeLeft(), 500, 'another request'))
    runOutsideRequest(() => t.equal(timeLeft(), Number.POSITIVE_INFINITY))
    prolong(10)
    t.equal(timeLeft(), 70)
    assertTimeLeft()
    advance(70)
    t.equal(timeLeft(), 0)
    t.throws(assertTimeLeft, TOO_LATE)
    t.throws(assertCallerWaits, TOO_LATE)
  })
  t.equal(timeLeft(), Number.POSITIVE_INFINITY)
  assertTimeLeft()
  assertCallerWaits()
  prolong(10)
})

t.test('a step for a caller that left does not begin [UA2]', async (t) => {
  const { time, leave } = requestTime()
  runInRequest(time, () => {
    assertCallerWaits()
    leave()
    t.throws(assertCallerWaits, GONE)
    assertTimeLeft()
  })
})

t.test('a queue refuses a caller at the deadline of its request [UA2]', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  stopClock(t)
  const queue = createQueue({ concurrency: 1, maxWaitMs: 1000, refuse: () => new Error('refused') })
  const leave = await queue.enter()
  const early = t.rejects(
    runInRequest(requestTime(300).time, () => queue.enter()),
    TOO_LATE
  )
  const patient = t.rejects(
    runInRequest(requestTime(3000).time, () => queue.enter()),
    { message: 'refused' }
  )
  mock.timers.tick(300)
  await early
  mock.timers.tick(700)
  await patient
  leave()
  t.equal(queue.isIdle(), true)
})

t.test('a result that arrives after the deadline is given back [UA2]', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  stopClock(t)
  const given: string[] = []
  const { promise, resolve } = Promise.withResolvers<string>()
  const waited = runInRequest(requestTime(300).time, () => untilDeadline(promise, (late) => given.push(late)))
  const refused = t.rejects(waited, TOO_LATE)
  mock.timers.tick(300)
  await refused
  resolve('connection')
  await settled()
  t.strictSame(given, ['connection'])
  const inTime = runInRequest(requestTime(300).time, () => untilDeadline(Promise.resolve('a'), () => t.fail('late')))
  t.equal(await inTime, 'a')
  t.equal(await untilDeadline(Promise.resolve('b'), () => t.fail('late')), 'b')
  const failed = runInRequest(requestTime(300).time, () => untilDeadline(Promise.reject(new Error('x')), () => {}))
  await t.rejects(failed, { message: 'x' })
})
