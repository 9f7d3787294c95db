import t from 'tap'
import { createKey, type FakeIssuer, neverRespond, type Responder } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { answer } from '../forge.ts'
import { INVALID_TOKEN, unavailable } from './refusals.ts'
import { setUp } from './service.ts'

const UNKNOWN = unavailable('It is not known which tokens are revoked')
const fail: Responder = () => Response.json({}, { status: 503 })
const isAboutLog = (line: string) => line.startsWith('the revocation log')
const STALE_AFTER = 4
/** The time until the log is stale, after the last request that waits. */
const UNTIL_STALE_MS = 1000 * STALE_AFTER + 1001

t.test('while the log is stale a valid token gets 503, and no entry is missed afterwards', async (t) => {
  const service = await setUp(t, { staleAfter: STALE_AFTER })
  const { issuer, responders, readLog, token, clientToken, get, status, logged, revoke, clock, timer } = service
  const [accepted, revoked] = [token(), token({ sid: 'session-2' })]
  for (const each of [accepted, revoked]) t.equal(await status(each), 200)
  responders.revocations = fail
  await timer.advance(UNTIL_STALE_MS)
  for (const each of [accepted, token(), clientToken()]) {
    const response = await get(each)
    t.strictSame(answer(response), UNKNOWN)
    t.equal(response.headers['retry-after'], '1')
  }
  const now = clock.now() / 1000
  for (const invalid of [
    token({ aud: 'https://other.example.com' }),
    token({ exp: now, iat: now - 1 }),
    token({}, createKey()),
    'x'
  ]) {
    const response = get(invalid)
    await timer.advance(200)
    t.strictSame(answer(await response), INVALID_TOKEN)
  }
  revoke('session', 'session-2')
  responders.revocations = readLog
  await timer.advance(1000)
  t.equal(await status(accepted), 200)
  t.strictSame(answer(await get(revoked)), INVALID_TOKEN)
  const reason = `GET ${issuer}/revocations: the status is 503`
  t.strictSame(logged.filter(isAboutLog), [
    `the revocation log cannot be read: ${reason}`,
    `the revocation log has not responded for 4 s: ${reason}`
  ])
})

t.test(
  'with whenStale accept, valid tokens are accepted, tokens known to be revoked are refused, and one error is logged',
  async (t) => {
    const service = await setUp(t, { staleAfter: STALE_AFTER, whenStale: 'accept' })
    const { issuer, responders, token, status, logged, revoke, timer } = service
    revoke('session', 'session-2')
    await settle()
    responders.revocations = fail
    await timer.advance(UNTIL_STALE_MS)
    for (let times = 0; times < 5; times++) t.equal(await status(token()), 200)
    t.equal(await status(token({ sid: 'session-2' })), 401)
    t.strictSame(
      logged.filter((line) => line.includes('4 s')),
      [`the revocation log has not responded for 4 s: GET ${issuer}/revocations: the status is 503`]
    )
  }
)

t.test('the first requests wait for the log', async (t) => {
  const response = Promise.withResolvers<void>()
  const { token, status } = await setUp(
    t,
    {},
    {
      prepare({ responders, readLog, revoke }) {
        responders.revocations = (request) => response.promise.then(() => readLog(request))
        revoke('session', 'session-1')
      }
    }
  )
  const statuses = Promise.all([status(token()), status(token({ sid: 'session-2' }))])
  await settle()
  response.resolve()
  t.strictSame(await statuses, [401, 200])
})

/** The log does not respond. */
const prepare = ({ responders }: FakeIssuer) => void (responders.revocations = neverRespond)

t.test('without the log the first requests wait for three seconds, and later ones get 503 at once', async (t) => {
  const { app, token, status, responders, readLog, revoke, logged, timer } = await setUp(t, {}, { prepare })
  const statuses: number[] = []
  void status(token()).then((first) => statuses.push(first))
  await timer.advance(2999)
  t.strictSame(statuses, [])
  await timer.advance(1)
  statuses.push(await status(token({ sid: 'session-2' })))
  t.strictSame(statuses, [503, 503])
  t.strictSame(app.guard.status(), { revocation: 'log', seq: null, lag: null, entries: 0, tokens: 2 })
  t.strictSame(logged.filter(isAboutLog), ['the revocation log has not been read yet'])

  revoke('session', 'session-1')
  responders.revocations = readLog
  await timer.advance(9000)
  t.strictSame([await status(token()), await status(token({ sid: 'session-2' }))], [401, 200])
})

t.test('a service that is closed ends every wait', async (t) => {
  const { app, requests, timer } = await setUp(t)
  await settle()
  await app.close()
  t.ok(requests.at(-1)?.signal?.aborted)
  const { length } = requests
  await timer.advance(60_000)
  t.equal(requests.length, length)
})

t.test('a service that is closed responds to the requests that wait for the log', async (t) => {
  const { app, token, status } = await setUp(t, {}, { prepare })
  const waiting = status(token())
  await settle()
  await app.close()
  t.equal(await waiting, 503)
})

t.test('when the client gets no token, the warning names the refusal of the issuer', async (t) => {
  const refuse: Responder = () => Response.json({ error: 'invalid_client' }, { status: 401 })
  const { logged } = await setUp(t, {}, { prepare: ({ responders }) => void (responders.token = refuse) })
  await settle()
  const reason = 'no token for orders-api from https://id.example.com: invalid_client'
  t.strictSame(logged, [`the revocation log cannot be read: ${reason}`])
})
