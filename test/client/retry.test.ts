import t from 'tap'
import { breakConnection, neverRespond } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { granted, REFUSED, refused, setUp, UNAVAILABLE, unavailable } from './setup.ts'

t.test('a refusal is thrown by all concurrent calls, and for one second without a new request', async (t) => {
  const { token, timer, requests } = setUp(t, (n) => (n === 1 ? refused() : granted('token')))
  t.strictSame(await Promise.all(Array.from({ length: 100 }, token)), Array(100).fill(REFUSED))
  await timer.advance(999)
  t.strictSame(await token(), REFUSED)
  t.equal(requests().length, 1)
  await timer.advance(1)
  t.equal(await token(), 'token')
})

t.test('temporary failures are retried after pauses that double, and no call fails', async (t) => {
  const responses = [
    breakConnection,
    () => Response.json({}, { status: 429 }),
    () => Response.json({}, { status: 500 }),
    () => new Response('<html>', { status: 502 }),
    unavailable
  ]
  const { client, timer, requests } = setUp(t, (n) => responses[n - 1]?.() ?? granted('token'))
  const tokens = Promise.all(Array.from({ length: 100 }, () => client.token()))
  await timer.advance(10_000)
  t.strictSame(new Set(await tokens), new Set(['token']))
  const times = requests().map(({ at }) => at)
  const pauses = times.slice(1).map((at, index) => at - (times[index] as number))
  const shortest = [100, 200, 400, 800, 1000]
  t.equal(pauses.length, shortest.length)
  for (const [index, pause] of pauses.entries()) {
    const least = shortest[index] as number
    t.ok(pause >= least && pause <= 1.5 * least, `pause ${index} is ${pause} ms`)
  }
})

t.test('the next request is not sent before Retry-After', async (t) => {
  const { token, timer, requests } = setUp(t, (n) => (n === 1 ? unavailable({ 'retry-after': '3' }) : granted('token')))
  const result = token()
  await timer.advance(3000)
  t.equal(await result, 'token')
  t.strictSame(
    requests().map(({ at }) => at),
    [0, 3000]
  )
})

t.test('a Retry-After beyond the timeout throws at once, and is part of the error', async (t) => {
  const { token, client, requests } = setUp(t, () => unavailable({ 'retry-after': '999999999' }))
  for (let times = 0; times < 2; times++) t.strictSame(await token(), UNAVAILABLE)
  t.match(await client.token().catch((error: unknown) => error), { retryAfter: 999_999_999 })
  t.equal(requests().length, 1)
})

t.test('a Retry-After is respected for one minute at most', async (t) => {
  const { token, timer, requests } = setUp(t, () => unavailable({ 'retry-after': '999999999' }))
  await token()
  await timer.advance(60_000)
  await token()
  t.equal(requests().length, 2)
})

t.test('a call that would wait longer than the timeout throws the last failure', async (t) => {
  const { token, timer } = setUp(t, () => unavailable(), { timeout: 1000 })
  const result = token()
  await timer.advance(1000)
  t.strictSame(await result, UNAVAILABLE)
})

t.test('a call throws after the timeout when the issuer does not respond', async (t) => {
  const { token, timer } = setUp(t, neverRespond, { timeout: 300 })
  let result: unknown
  void token().then((each) => {
    result = each
  })
  await timer.advance(299)
  t.equal(result, undefined)
  await timer.advance(1)
  t.strictSame(result, { error: null, status: null, message: 'there was no token within 300 ms' })
})

t.test('a request that gets no response within five seconds is repeated', async (t) => {
  const { token, timer, requests } = setUp(t, (n) => (n === 1 ? neverRespond() : granted('token')))
  const result = token()
  await timer.advance(5150)
  t.equal(await result, 'token')
  t.equal(requests().length, 2)
})

t.test('each call has its own timeout', async (t) => {
  const { token, timer, requests } = setUp(
    t,
    (n) => (n === 1 ? unavailable({ 'retry-after': '2' }) : granted('token')),
    { timeout: 1500 }
  )
  t.strictSame(await token(), UNAVAILABLE)
  await timer.advance(1000)
  const result = token()
  await timer.advance(1000)
  t.equal(await result, 'token')
  t.equal(requests().length, 2)
})

const CLOSED = { error: null, status: null, message: 'the token client is closed' }
const WAITING: [name: string, respond: () => Response | Promise<Response>][] = [
  ['during a request', neverRespond],
  ['during a pause', () => unavailable({ 'retry-after': '5' })]
]
for (const [name, respond] of WAITING)
  t.test(`a call that waits throws when the client is closed: ${name}`, async (t) => {
    const { client, token, requests, timer } = setUp(t, respond)
    const result = token()
    await settle()
    t.equal(requests().length, 1)
    client.close()
    t.strictSame(await result, CLOSED)
    t.equal(timer.sleeping(), 0)
  })

t.test('a closed client throws, also with a valid token', async (t) => {
  const { client, token } = setUp(t)
  await token()
  client.close()
  client.close()
  t.strictSame(await token(), CLOSED)
})

t.test('a failure after `close` is not retried', async (t) => {
  const response = Promise.withResolvers<Response>()
  const { client, token, timer, requests } = setUp(t, () => response.promise)
  const result = token()
  await settle()
  client.close()
  response.resolve(unavailable())
  await timer.advance(10_000)
  t.strictSame(await result, CLOSED)
  t.equal(requests().length, 1)
})
