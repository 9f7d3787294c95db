import t from 'tap'
import { INVALID_RESPONSES, jsonText, type Responder } from '../fake-issuer.ts'
import { entry, follow, MAX_PAUSE_MS, STALE_AFTER_MS } from './log.ts'

const INVALID_BODIES: [name: string, body: { seq?: unknown; next?: unknown; [member: string]: unknown }][] = [
  ['no entries', { seq: 1, oldest: 0 }],
  ['no next', { entries: [], next: undefined, seq: 1, oldest: 0 }],
  ['a next above seq', { entries: [], next: 2, seq: 1, oldest: 0 }],
  ['a next below the last entry', { entries: [entry(2), entry(3)], next: 2, seq: 3, oldest: 0 }],
  ['a next below the number that was read', { entries: [], next: 0, seq: 1, oldest: 0 }],
  ['an entry without expires_in', { entries: [{ ...entry(2), expires_in: undefined }], seq: 2, oldest: 0 }],
  ['entries that are an object', { entries: {}, seq: 1, oldest: 0 }],
  ['null as an entry', { entries: [null], seq: 9, oldest: 0 }],
  ['an array as an entry', { entries: [[9, 'token', 'x']], seq: 9, oldest: 0 }],
  ['no seq', { entries: [], oldest: 0 }],
  ['the seq null', { entries: [], seq: null, oldest: 0 }],
  ['a seq that is a string', { entries: [], seq: '1', oldest: 0 }],
  ['a negative seq', { entries: [], seq: -1, oldest: -1 }],
  ['a seq that is not an integer', { entries: [], seq: 1.5, oldest: 0 }],
  ['a seq that is not a safe integer', { entries: [], seq: 1e300, oldest: 0 }],
  ['no oldest', { entries: [], seq: 1 }],
  ['an oldest above seq', { entries: [], seq: 1, oldest: 2 }],
  ['an unknown kind', { entries: [entry(2, 'planet')], seq: 2, oldest: 0 }],
  ['the kind constructor', { entries: [entry(2, 'constructor')], seq: 2, oldest: 0 }],
  ['no kind', { entries: [{ seq: 2, id: 'x' }], seq: 2, oldest: 0 }],
  ['no id', { entries: [{ seq: 2, kind: 'token' }], seq: 2, oldest: 0 }],
  ['an empty id', { entries: [entry(2, 'token', '')], seq: 2, oldest: 0 }],
  ['an id that is a number', { entries: [entry(2, 'token', 1)], seq: 2, oldest: 0 }],
  ['an id of 1,025 characters', { entries: [entry(2, 'token', 'x'.repeat(1025))], seq: 2, oldest: 0 }],
  ['a valid entry and an invalid one', { entries: [entry(2), entry(3, 'planet')], seq: 3, oldest: 0 }],
  ['an entry with a seq that is a string', { entries: [{ ...entry(2), seq: '2' }], seq: 2, oldest: 0 }],
  ['entries in descending order', { entries: [entry(3), entry(2)], seq: 3, oldest: 0 }],
  ['one seq twice', { entries: [entry(2), entry(2)], seq: 2, oldest: 0 }],
  ['an entry above seq', { entries: [entry(3)], seq: 2, oldest: 0 }],
  ['an entry that was read before', { entries: [entry(1)], seq: 1, oldest: 0 }],
  ['an entry that was read before, with a new seq', { entries: [entry(1)], seq: 7, oldest: 0 }]
]
const INVALID: [name: string, responder: Responder][] = [
  ...INVALID_RESPONSES,
  ...INVALID_BODIES.map(([name, body]): [string, Responder] => [
    name,
    () => jsonText(JSON.stringify({ next: body.seq, ...body }))
  ]),
  ['429 with Retry-After', () => Response.json({}, { status: 429, headers: { 'retry-after': '3600' } })]
]
for (const [name, responder] of INVALID)
  t.test(`an invalid response makes the log stale, and no entry is missed afterwards: ${name}`, async (t) => {
    const { log, respondWith, timer, count, errors, responders, readLog, revoke, isRevoked, states } = await follow(t)
    respondWith(responder)
    await timer.advance(0)
    const requests = count('revocations')
    await timer.advance(STALE_AFTER_MS)
    t.ok(log.isFresh())
    t.ok(count('revocations') > requests, 'the request is repeated')
    t.equal(errors.length, 1, 'the same error is reported once')
    t.equal(log.status().seq, 1)
    await timer.advance(1)
    t.notOk(log.isFresh())
    t.notOk(log.isFresh())
    responders.revocations = readLog
    revoke('session', 'session-1')
    await timer.advance(MAX_PAUSE_MS)
    t.ok(log.isFresh())
    t.strictSame([isRevoked(), isRevoked({ sid: 'session-2' })], [true, false])
    t.strictSame(states, ['fresh', 'stale', 'fresh'])
    t.equal(log.status().seq, 2)
  })

t.test('an error that differs from the last one is reported too', async (t) => {
  const { respondWith, responders, timer, errors } = await follow(t)
  respondWith(() => Response.json({}, { status: 500 }))
  await timer.advance(5000)
  responders.revocations = () => jsonText('<html>')
  await timer.advance(5000)
  t.strictSame(errors, ['GET /revocations: the status is 500', 'GET /revocations: the response is not JSON'])
})

t.test('the error of a refused request has the reason of the issuer, in one line', async (t) => {
  const { respondWith, timer, errors } = await follow(t)
  const headers = { 'content-type': 'application/problem+json' }
  const detail = 'The client does not serve this resource\n\u202e'
  respondWith(() => Response.json({ detail }, { status: 403, headers }))
  await timer.advance(0)
  t.strictSame(errors, ['GET /revocations: the status is 403: The client does not serve this resource\\n\\u202e'])
})
