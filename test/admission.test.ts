import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { createAdmission } from '../src/admission.ts'
import { RequestOver, runInRequest } from '../src/deadline.ts'
import type { Leave } from '../src/queue.ts'
import { requestTime, stopClock } from './request-time.ts'

const settled = () => new Promise(setImmediate)

/** A queue for one caller at a time that admits waits of up to a second, and callers that note when they enter. */
function open(t: Test, { firstVisitMs = 100, concurrency = 1 } = {}) {
  const clock = stopClock(t)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const refuse = (waitMs: number) => new Error(`refused: ${Math.round(waitMs)} ms`)
  const admission = createAdmission({ concurrency, maxWaitMs: 1000, firstVisitMs, refuse })
  const order: string[] = []
  const leaves: Leave[] = []
  const enter = async (name: string, isKnown = false) => {
    const leave = await admission.enter(isKnown)
    order.push(name)
    leaves.push(leave)
  }
  /** Ends the oldest visit after some time, and waits until the next caller has entered. */
  const leave = async (visitMs: number) => {
    clock.advance(visitMs)
    leaves.shift()?.()
    await settled()
  }
  /** Adds waiting callers until one is refused. Returns how many were accepted before it, and the message of the refusal. */
  const fill = async (isKnown: boolean) => {
    for (let count = 0; ; count++) {
      const call = enter('one of many', isKnown)
      const outcome = await Promise.race([call.catch((error: Error) => error.message), settled()])
      if (typeof outcome === 'string') return { count, outcome }
    }
  }
  return { admission, clock, order, enter, leave, fill, timers: mock.timers }
}

t.test('a caller is admitted while the measured visits before it are short enough in total [UA2]', async (t) => {
  const { admission, enter, leave, fill } = open(t)
  await enter('first')
  t.strictSame(
    await fill(false),
    { count: 5, outcome: 'refused: 1100 ms' },
    'five before it, five turns of the other line, one inside'
  )
  for (let visit = 0; visit < 6; visit++) await leave(20)
  t.equal(admission.status().waiting, 0)
  t.ok(admission.status().visitMs < 70, 'shorter visits are measured')
  await enter('first')
  const { count } = await fill(false)
  t.ok(count > 5, `shorter visits make room: ${count}`)
})

t.test('each line has half of the places, whatever waits in the other [UA2]', async (t) => {
  const { enter, fill, admission } = open(t)
  await enter('first')
  t.equal((await fill(false)).count, 5)
  t.equal((await fill(true)).count, 5)
  t.equal(admission.status().waiting, 10)
})

t.test(
  'the two lines take turns, so a flood of one line delays a caller of the other by one visit for each caller up to its position in its own line [UA2]',
  async (t) => {
    const { enter, leave, order } = open(t)
    await enter('first')
    for (const name of ['u1', 'u2', 'u3', 'u4']) void enter(name)
    for (const name of ['k1', 'k2']) void enter(name, true)
    for (let visit = 0; visit < 7; visit++) await leave(100)
    t.strictSame(order, ['first', 'k1', 'u1', 'k2', 'u2', 'u3', 'u4'])
  }
)

t.test('the first caller of a line is admitted, however long a visit takes [UA2]', async (t) => {
  const { enter, fill } = open(t, { firstVisitMs: 60_000 })
  await enter('first')
  t.equal((await fill(false)).count, 1)
  t.equal((await fill(true)).count, 1)
})

t.test(
  'a caller that has waited for maxWaitMs is refused, and takes no place from those behind it [UA2]',
  async (t) => {
    const { enter, leave, order, timers } = open(t)
    await enter('first')
    const late = enter('late')
    const refused = t.rejects(late, { message: 'refused: 100 ms' })
    timers.tick(1000)
    await refused
    void enter('next')
    await leave(100)
    t.strictSame(order, ['first', 'next'])
  }
)

t.test('a waiting caller that closes its connection is dropped, and its place is free [UA2]', async (t) => {
  const { admission, enter, leave, fill, order } = open(t)
  await enter('first')
  const caller = requestTime()
  const dropped = t.rejects(
    runInRequest(caller.time, () => enter('gone')),
    new RequestOver({ callerLeft: true })
  )
  t.equal((await fill(false)).count, 4)
  caller.leave()
  await dropped
  t.equal((await fill(false)).count, 1)
  await leave(100)
  t.notOk(order.includes('gone'))
  await t.rejects(
    runInRequest(caller.time, () => admission.enter(true)),
    new RequestOver({ callerLeft: true }),
    'before it waits'
  )
})

t.test('a waiting caller is refused at the deadline of its request [UA2]', async (t) => {
  const { admission, enter, timers } = open(t)
  await enter('first')
  const refused = t.rejects(
    runInRequest(requestTime(400).time, () => enter('late')),
    new RequestOver({ callerLeft: false })
  )
  timers.tick(399)
  t.equal(admission.status().waiting, 1)
  timers.tick(1)
  await refused
  t.equal(admission.status().waiting, 0)
})

t.test('a second call of leave has no effect', async (t) => {
  const { admission } = open(t)
  const leave = await admission.enter(true)
  leave()
  leave()
  const order: number[] = []
  const first = await admission.enter(true)
  void admission.enter(true).then(() => order.push(2))
  await settled()
  t.strictSame(order, [])
  first()
  await settled()
  t.strictSame(order, [2])
})
