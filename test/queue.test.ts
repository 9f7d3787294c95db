import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { createKeyedQueue, createQueue, type Leave } from '../src/queue.ts'

const refuse = () => new Error('refused')

/** Moves the clock of the timers instead of waiting. */
function mockTimers(t: Test) {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  return mock.timers
}

/** Enters the queue and appends the name to `order` once inside. */
async function enter(queue: { enter(): Promise<Leave> }, name: string, order: string[]): Promise<Leave> {
  const leave = await queue.enter()
  order.push(name)
  return leave
}

const settled = () => new Promise(setImmediate)

t.test('at most `concurrency` callers are inside, and the others enter in the order of arrival', async (t) => {
  const queue = createQueue({ concurrency: 2, refuse })
  const order: string[] = []
  const [first, second, third, fourth] = ['first', 'second', 'third', 'fourth'].map((name) => enter(queue, name, order))
  await settled()
  t.strictSame(order, ['first', 'second'])
  const leaveSecond = (await second) as Leave
  leaveSecond()
  await settled()
  t.strictSame(order, ['first', 'second', 'third'])
  for (const each of [first, third]) ((await each) as Leave)()
  await settled()
  t.strictSame(order, ['first', 'second', 'third', 'fourth'])
  t.equal(queue.isIdle(), false)
  ;((await fourth) as Leave)()
  t.equal(queue.isIdle(), true)
})

t.test('a second call of leave has no effect', async (t) => {
  const queue = createQueue({ concurrency: 1, refuse })
  const order: string[] = []
  const leave = await queue.enter()
  const second = enter(queue, 'second', order)
  const third = enter(queue, 'third', order)
  leave()
  leave()
  await settled()
  t.strictSame(order, ['second'])
  ;(await second)()
  ;(await third)()
  t.equal(queue.isIdle(), true)
})

t.test('a caller is refused at once while the maximum number of callers waits, and may enter later', async (t) => {
  const queue = createQueue({ concurrency: 1, maxWaiting: 1, refuse })
  const leave = await queue.enter()
  const waiting = queue.enter()
  await t.rejects(queue.enter(), { message: 'refused' })
  leave()
  ;(await waiting)()
  ;(await queue.enter())()
  t.equal(queue.isIdle(), true)
})

t.test('a caller that waits too long is refused, and takes no place from those behind it', async (t) => {
  const timers = mockTimers(t)
  const queue = createQueue({ concurrency: 1, maxWaitMs: 1000, refuse })
  const order: string[] = []
  const leave = await queue.enter()
  const early = t.rejects(enter(queue, 'early', order), { message: 'refused' })
  timers.tick(500)
  const late = enter(queue, 'late', order)
  timers.tick(499)
  t.equal(queue.status().waiting, 2)
  timers.tick(1)
  await early
  t.equal(queue.status().waiting, 1)
  leave()
  const leaveLate = await late
  timers.tick(10_000)
  await settled()
  t.strictSame(order, ['late'], 'a caller that is inside is never refused')
  leaveLate()
  t.equal(queue.isIdle(), true)
})

t.test('work that fails leaves its place to the next caller', async (t) => {
  const queue = createQueue({ concurrency: 1, refuse })
  const failing = t.rejects(
    queue.run(async () => {
      await settled()
      throw new Error('broken')
    }),
    { message: 'broken' }
  )
  t.equal(await queue.run(async () => 'done'), 'done')
  await failing
  t.equal(queue.isIdle(), true)
})

t.test('work that is refused does not start', async (t) => {
  const queue = createQueue({ concurrency: 1, maxWaiting: 0, refuse })
  const leave = await queue.enter()
  let started = false
  const work = async () => {
    started = true
  }
  await t.rejects(queue.run(work), { message: 'refused' })
  t.equal(started, false)
  leave()
})

t.test('the status says how many callers wait and for how long the first of them has waited', async (t) => {
  const queue = createQueue({ concurrency: 1, refuse })
  t.strictSame(queue.status(), { waiting: 0, longestWaitMs: 0 })
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const leave = await queue.enter()
  const second = queue.enter()
  now += 200
  const third = queue.enter()
  now += 300
  t.strictSame(queue.status(), { waiting: 2, longestWaitMs: 500 })
  leave()
  t.strictSame(queue.status(), { waiting: 1, longestWaitMs: 300 })
  ;(await second)()
  ;(await third)()
})

t.test('a keyed queue lets callers of different keys in at the same time', async (t) => {
  const queue = createKeyedQueue({ concurrency: 1, maxWaiting: 0, refuse })
  const leaveA = await queue.enter('a')
  const leaveB = await queue.enter('b')
  await t.rejects(queue.enter('a'), { message: 'refused' })
  t.equal(queue.size(), 2)
  leaveA()
  leaveB()
})

t.test('a key takes no memory once nobody uses it', async (t) => {
  const queue = createKeyedQueue({ concurrency: 1, refuse })
  const leave = await queue.enter('a')
  const second = queue.enter('a')
  leave()
  t.equal(queue.size(), 1, 'the second caller is inside')
  ;(await second)()
  t.equal(queue.size(), 0)
})

t.test('a second call of leave does not open a key to two callers', async (t) => {
  const queue = createKeyedQueue({ concurrency: 1, maxWaiting: 0, refuse })
  const leave = await queue.enter('a')
  leave()
  const leaveNext = await queue.enter('a')
  leave()
  await t.rejects(queue.enter('a'), { message: 'refused' })
  leaveNext()
  t.equal(queue.size(), 0)
})
