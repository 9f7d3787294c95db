import t from 'tap'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { AUDIENCE, neverRespond, type Responder } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { entry, follow, MAX_PAUSE_MS, STALE_AFTER_MS, setUp } from './log.ts'

/** The last parameter of every request. */
const AUDIENCES = new URLSearchParams({ audience: AUDIENCE }).toString()

t.test('a new entry is known at once, and every request waits for the next one', async (t) => {
  const { isRevoked, revoke, requests, errors } = await follow(t)
  t.notOk(isRevoked())
  revoke('session', 'session-1')
  await settle()
  t.ok(isRevoked())
  t.strictSame(
    requests.slice(1).map(({ path }) => path),
    [
      `/revocations?after=0&wait=0&${AUDIENCES}`,
      `/revocations?after=0&wait=10&${AUDIENCES}`,
      `/revocations?after=1&wait=10&${AUDIENCES}`
    ]
  )
  t.strictSame(errors, [])
})

for (const [staleAfterMs, wait] of [
  [4000, 1],
  [15_000, 5],
  [60_000, 20],
  [300_000, 20]
] as const)
  t.test(`a request waits at most a third of the time until the log is stale: ${wait} s`, async (t) => {
    const { requests } = await follow(t, { staleAfterMs })
    t.equal(requests.at(-1)?.path, `/revocations?after=0&wait=${wait}&${AUDIENCES}`)
  })

t.test('a log without new entries stays fresh', async (t) => {
  const { log, timer, states, requests } = await follow(t)
  await timer.advance(60_000)
  t.ok(log.isFresh())
  t.strictSame(states, ['fresh'])
  t.strictSame(
    requests.slice(2).map(({ at }) => at),
    [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
  )
})

const seqOf = (path: string) => Number(new URLSearchParams(path.split('?')[1]).get('after'))

/** Counts down from 1,000 to 500, again and again. */
function backAndForth(): Responder {
  let seq = 1000
  return () => {
    seq = seq > 500 ? seq - 1 : 1000
    return Response.json({ entries: [entry(seq)], next: seq, seq, oldest: seq - 1 })
  }
}
const WITHOUT_WAIT: [name: string, respond: () => Responder][] = [
  ['no entry', () => () => Response.json({ entries: [], next: 1, seq: 1, oldest: 0 })],
  ['an error', () => () => Response.json({}, { status: 500 })],
  ['the same entry again', () => () => Response.json({ entries: [entry(1)], next: 1, seq: 1, oldest: 0 })],
  ['numbers that go back and forth', backAndForth]
]
for (const [name, respond] of WITHOUT_WAIT)
  t.test(`between responses that do not wait there are pauses, which double up to a second: ${name}`, async (t) => {
    const { respondWith, timer, requests } = await follow(t)
    const before = requests.length
    respondWith(respond())
    await timer.advance(20_000)
    const sent = requests.slice(before)
    const times = [...new Set(sent.map(({ at }) => at))]
    t.ok(times.length > 20)
    t.ok(sent.length <= 2 * (times.length + 1), 'between two pauses there are at most two requests')
    for (const [index, at] of times.slice(1).entries()) {
      const pause = at - (times[index] as number)
      const longest = Math.min(MAX_PAUSE_MS, 100 * 2 ** index)
      t.ok(pause >= longest / 2 && pause <= longest, `pause ${index} is ${pause} ms`)
    }
  })

t.test('a log that responds at once, without a wait, is fresh', async (t) => {
  const { respondWith, timer, log, errors } = await follow(t)
  respondWith(() => Response.json({ entries: [], next: 1, seq: 1, oldest: 0 }))
  await timer.advance(2 * STALE_AFTER_MS)
  t.ok(log.isFresh())
  t.strictSame(errors, [])
})

t.test('a log whose end is never reached becomes stale', async (t) => {
  const { respondWith, timer, log } = await follow(t)
  respondWith(async ({ path }) => {
    await timer.sleep(100)
    const next = seqOf(path) + 1
    return Response.json({ entries: [entry(next)], next, seq: next + 1, oldest: 0 })
  })
  await timer.advance(STALE_AFTER_MS)
  t.ok(log.isFresh())
  await timer.advance(101)
  t.notOk(log.isFresh())
})

t.test('the state is as old as the request, however late the response comes', async (t) => {
  const { respondWith, timer, log } = await follow(t, { staleAfterMs: 4000 })
  respondWith(async ({ path }) => {
    await timer.sleep(4001)
    return Response.json({ entries: [], next: seqOf(path), seq: seqOf(path), oldest: 0 })
  })
  await timer.advance(4000)
  t.ok(log.isFresh())
  for (let times = 0; times < 40; times++) {
    await timer.advance(500)
    t.notOk(log.isFresh())
  }
})

t.test('a request fails five seconds after its time to wait, and the next request succeeds', async (t) => {
  const { respondWith, timer, errors, readLog, responders, revoke, log, isRevoked } = await follow(t, {
    staleAfterMs: 4000
  })
  respondWith(neverRespond)
  await timer.advance(5999)
  t.strictSame(errors, [])
  await timer.advance(1)
  t.strictSame(errors, ['GET /revocations: no response within 6000 ms'])
  t.notOk(log.isFresh())
  responders.revocations = readLog
  revoke('session', 'session-1')
  await timer.advance(MAX_PAUSE_MS)
  t.ok(log.isFresh())
  t.ok(isRevoked())
})

t.test('a log of several responses is fresh when it was read to its end', async (t) => {
  const { log, revoke, readLog, responders, timer, requests, isRevoked } = setUp(t, { maxEntries: 2500 })
  for (let n = 1; n <= 2500; n++) revoke('session', `session-${n}`)
  const fresh: boolean[] = []
  responders.revocations = (request) => {
    fresh.push(log.isFresh() || log.status().lag !== null)
    return readLog(request)
  }
  await log.start(0)
  await timer.advance(0)
  t.strictSame(fresh, [false, false, false, true])
  t.strictSame(
    requests.slice(1).map(({ path }) => path),
    [
      `/revocations?after=0&wait=0&${AUDIENCES}`,
      `/revocations?after=1000&wait=10&${AUDIENCES}`,
      `/revocations?after=2000&wait=10&${AUDIENCES}`,
      `/revocations?after=2500&wait=10&${AUDIENCES}`
    ]
  )
  for (const sid of ['session-1', 'session-1001', 'session-2500']) t.ok(isRevoked({ sid }))
  t.strictSame(log.status(), { seq: 2500, lag: 0, entries: 2500 })
})

t.test('a log whose first entries are deleted is read from the oldest entry', async (t) => {
  const { log, published, revoke, isRevoked } = setUp(t)
  published.seq = 5000
  await log.start(0)
  await settle()
  t.ok(log.isFresh())
  t.equal(log.status().seq, 5000)
  revoke('session', 'session-1')
  await settle()
  t.ok(isRevoked())
  t.equal(log.status().seq, 5001)
})

t.test('with too many entries the log stays fresh, and only older tokens are unknown [UA4]', async (t) => {
  const { log, revoke, timer, errors, isRevoked, claims, key } = await follow(t, { maxEntries: 2 })
  for (const id of ['jti-1', 'jti-2', 'jti-3']) {
    revoke('token', id)
    await settle()
  }
  await timer.advance(STALE_AFTER_MS + 1)
  t.strictSame(errors, [])
  t.ok(log.isFresh())
  t.strictSame([isRevoked({ jti: 'jti-2' }), isRevoked({ jti: 'jti-3' })], [true, true])
  const judge = (rev: number) => log.judge(claims({ rev }) as unknown as AccessTokenClaims, key.kid)
  t.strictSame([judge(0), judge(1), judge(3)], ['unknown', 'valid', 'valid'])
})

t.test('`start` waits for the first response, for 500 ms at most', async (t) => {
  const { log, responders, timer } = setUp(t)
  responders.revocations = neverRespond
  let isStarted = false
  void log.start(500).then(() => {
    isStarted = true
  })
  await timer.advance(499)
  t.notOk(isStarted)
  await timer.advance(1)
  t.ok(isStarted)
  t.notOk(log.isFresh())
  t.strictSame(log.status(), { seq: null, lag: null, entries: 0 })
})

t.test('`stop` aborts the request, and none follows', async (t) => {
  const { log, requests, timer } = await follow(t)
  await log.stop()
  t.ok(requests.at(-1)?.signal?.aborted)
  const { length } = requests
  await timer.advance(60_000)
  t.equal(requests.length, length)
})
