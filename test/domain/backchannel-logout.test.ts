import { decodeJwt, decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { ISSUER, NOW } from './open.ts'
import { openSignIn } from './sign-in-world.ts'

/** Milliseconds. */
const SECOND = 1000
/** Seconds. */
const HOUR = 3600
const DELIVERED = null

/** Opens the domain. `add` registers a client that gets logout tokens; it accepts them unless `answers` has a failure for its id. */
async function open(t: Test) {
  const world = await openSignIn(t)
  const { auth, register, signIn, codeOf, redeem, clock } = world
  const answers = new Map<string, string | null>()
  const sent: { uri: string; token: string; at: number }[] = []
  const stop = new AbortController()
  const send = async (uri: string, token: string) => {
    sent.push({ uri, token, at: (clock.now() - NOW) / SECOND })
    return answers.get(decodeJwt(token).aud as string) ?? DELIVERED
  }
  const uriOf = (id: string) => `https://${id}.example/logout`
  const add = (id: string) =>
    register(id, { scopes: ['openid', 'profile'], requireConsent: false, backchannelLogoutUri: uriOf(id) })

  /** Signs alice in at clients, in one browser, and signs her out again. Returns the sessions. */
  async function signOut(...clients: string[]): Promise<string[]> {
    const login = await signIn()
    const sids: string[] = []
    for (const id of clients) {
      const code = await codeOf(login, { client_id: id, scope: 'openid' })
      sids.push(decodeJwt((await redeem(code, {}, id)).accessToken).sid as string)
    }
    await auth.logins.end(OPERATOR, login)
    return sids
  }
  const deliver = () => auth.deliverLogouts(send, stop.signal)
  return { ...world, answers, sent, stop, send, add, signOut, deliver, uriOf }
}

t.test('each client with a session of the login gets one signed logout token', async (t) => {
  const { add, register, signOut, deliver, sent, alice, uriOf, auth } = await open(t)
  for (const id of ['one', 'two']) await add(id)
  await register('silent', { scopes: ['openid'], requireConsent: false })
  await add('other')
  const [one, two] = await signOut('one', 'two', 'silent')
  await deliver()
  await deliver()
  t.strictSame(sent.map(({ uri }) => uri).toSorted(), [uriOf('one'), uriOf('two')])
  const tokenOf = (id: string) => sent.find(({ uri }) => uri === uriOf(id))?.token as string
  for (const [aud, sid] of [
    ['one', one],
    ['two', two]
  ] as const) {
    const { jti, ...claims } = decodeJwt(tokenOf(aud))
    t.match(jti, /^[\w-]{36}$/)
    t.strictSame(claims, {
      iss: ISSUER,
      sub: alice,
      aud,
      iat: NOW / SECOND,
      exp: NOW / SECOND + 120,
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      sid
    })
    t.match(decodeProtectedHeader(tokenOf(aud)), { alg: 'ES256', typ: 'logout+jwt' })
  }
  t.match(await auth.accessTokens.verify(tokenOf('one')), { kind: 'refused' })
  t.equal(await auth.idTokens.readHint(tokenOf('one')), null, 'a logout token is no ID token')
})

t.test('a client without refresh tokens gets its logout token after its access token has expired too', async (t) => {
  const { register, signIn, codeOf, redeem, auth, clock, deliver, sent, uriOf } = await open(t)
  const grantTypes = ['authorization_code']
  await register('brief', {
    scopes: ['openid'],
    grantTypes,
    requireConsent: false,
    backchannelLogoutUri: uriOf('brief')
  })
  const login = await signIn()
  await redeem(await codeOf(login, { client_id: 'brief', scope: 'openid' }), {}, 'brief')
  clock.advance(HOUR)
  await auth.logins.end(OPERATOR, login)
  await deliver()
  t.strictSame(
    sent.map(({ uri }) => uri),
    [uriOf('brief')]
  )
})

t.test('a token that a client does not accept is sent again, ever later, until a day has passed', async (t) => {
  const { add, signOut, deliver, sent, answers, clock, events } = await open(t)
  await add('one')
  answers.set('one', 'status 500')
  await signOut('one')
  for (let second = 0, step = 30; second < 25 * HOUR; second += step) {
    step = second < 4 * HOUR ? 30 : 900
    await deliver()
    clock.advance(step)
  }
  const waits = sent.map(({ at }, index) => at - (sent[index - 1]?.at ?? 0))
  t.strictSame(waits.slice(0, 9), [0, 30, 60, 120, 240, 480, 960, 1920, 3600])
  t.ok((sent.at(-1)?.at ?? 0) < 24 * HOUR)
  t.ok((sent.at(-1)?.at ?? 0) > 22 * HOUR)
  t.equal(new Set(sent.map(({ token }) => decodeJwt(token).jti)).size, sent.length, 'each attempt has its own token')
  const failed = events.filter(({ type }) => type === 'logout.undelivered')
  t.equal(failed.length, sent.length)
  t.match(failed[0], { outcome: 'failure', reason: 'status 500', subject: { client: 'one' } })
})

t.test('after a token was accepted it is not sent again', async (t) => {
  const { add, signOut, deliver, sent, answers, clock } = await open(t)
  await add('one')
  answers.set('one', 'status 400')
  await signOut('one')
  await deliver()
  answers.set('one', DELIVERED)
  clock.advance(29.999)
  await deliver()
  t.equal(sent.length, 1)
  clock.advance(0.001)
  await deliver()
  clock.advance(HOUR)
  await deliver()
  t.equal(sent.length, 2)
})

t.test('a client that fails costs one attempt a round, and the others get their tokens', async (t) => {
  const { add, signOut, deliver, sent, answers, uriOf } = await open(t)
  for (const id of ['slow', 'fast']) await add(id)
  answers.set('slow', 'no response within 5 s')
  for (let times = 0; times < 5; times++) await signOut('slow', 'fast')
  await deliver()
  t.equal(sent.filter(({ uri }) => uri === uriOf('slow')).length, 1)
  t.equal(sent.filter(({ uri }) => uri === uriOf('fast')).length, 5)
})

t.test('of several instances one makes each attempt', async (t) => {
  const { add, signOut, deliver, sent } = await open(t)
  await add('one')
  for (let times = 0; times < 5; times++) await signOut('one')
  await Promise.all([deliver(), deliver(), deliver()])
  t.equal(sent.length, 5)
})

t.test('a client that was disabled, or no longer asks, gets none', async (t) => {
  const { add, signOut, deliver, sent, auth, clock } = await open(t)
  for (const id of ['off', 'quiet']) await add(id)
  await signOut('off', 'quiet')
  await auth.clients.change(OPERATOR, 'off', { disabled: true })
  await auth.clients.change(OPERATOR, 'quiet', { backchannelLogoutUri: null })
  await deliver()
  await auth.clients.change(OPERATOR, 'off', { disabled: false })
  clock.advance(HOUR)
  await deliver()
  t.strictSame(sent, [])
})

t.test('a stop ends the round after the current attempts', async (t) => {
  const { add, signOut, auth, stop, send, sent } = await open(t)
  await add('one')
  for (let times = 0; times < 3; times++) await signOut('one')
  await auth.deliverLogouts(async (...args) => {
    stop.abort()
    return send(...args)
  }, stop.signal)
  t.equal(sent.length, 1)
})
