import { deepStrictEqual } from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { createVerifier } from '../../src/guard/verify.ts'
import { answer } from '../forge.ts'
import {
  AUDIENCE,
  createKey,
  declareOrders,
  forbidden,
  INVALID_TOKEN,
  json,
  type PlantedIssuer,
  plantIssuer,
  type Responder,
  refusal,
  serve,
  signed,
  until
} from './planted.ts'

const ROUNDS = Math.ceil(2 * Number(process.env.LATCHKEY_ROUNDS ?? 10))
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed}`)

const UNKNOWN = {
  ...refusal(503, 'Service Unavailable', 'It is not known which tokens are revoked', ''),
  challenge: undefined
}

/** A service that follows the log of a planted issuer, and what it logs from warnings on. */
async function world(
  t: Test,
  options: Partial<LatchkeyGuardOptions> = {},
  declare: (app: FastifyInstance) => unknown = declareOrders
) {
  const planted = await plantIssuer(t)
  const logged: string[] = []
  const stream = { write: (line: string) => void logged.push(JSON.parse(line).msg) }
  const service = await serve(t, { ...planted.options, ...options } as LatchkeyGuardOptions, {
    declare,
    logger: { level: 'warn', stream }
  })
  if ((options.revocation ?? 'log') === 'log') await until(() => service.app.guard.status().seq !== null)
  const get = (token: string, url = '/orders') =>
    service.inject({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } })
  return {
    ...planted,
    ...service,
    get,
    logged,
    guard: service.app.guard,
    /** Ends something, and waits until the service knows it. */
    async ends(kind: string, id: string) {
      planted.revoke(kind, id)
      await until(() => service.app.guard.status().seq === planted.log.seq)
    }
  }
}

const ENTRIES: [kind: string, id: (planted: PlantedIssuer) => string][] = [
  ['session', () => 'session-1'],
  ['token', () => 'jti-1'],
  ['key', ({ key }) => key.kid],
  ['user', () => 'user-1'],
  ['client', () => 'docs'],
  ['role', () => 'admin']
]
for (const [kind, id] of ENTRIES)
  t.test(`a token that was good is refused at its next request, others are not: ${kind}`, async (t) => {
    const planted = await world(t)
    const other = createKey()
    planted.responders.jwks = json({ keys: [planted.key.jwk, other.jwk] })
    const mine = planted.token({ jti: 'jti-1' })
    const changes = { sid: 'session-2', jti: 'jti-2', sub: 'user-2', client_id: 'app', roles: [] }
    const others = [planted.token(changes, other), planted.token({ ...changes, sid: undefined, sub: 'app' }, other)]
    for (const each of [mine, ...others, mine]) t.equal(await planted.status(each), 200)
    const before = performance.now()
    planted.revoke(kind, id(planted))
    await until(async () => (await planted.status(mine)) === 401)
    t.ok(performance.now() - before < 1000)
    t.strictSame(answer(await planted.get(mine)), INVALID_TOKEN)
    for (const each of others) t.equal(await planted.status(each), 200)
    const later = planted.token()
    t.equal(await planted.status(later), ['user', 'client', 'role', 'token'].includes(kind) ? 200 : 401)
  })

t.test('a token that was good is refused from its exp on', async (t) => {
  const { token, clock, get, guard } = await world(t)
  const bearer = token()
  clock.advance(299)
  t.equal((await get(bearer)).statusCode, 200)
  t.equal(guard.status().tokens, 1)
  clock.advance(1)
  t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  t.equal(guard.status().tokens, 0)
  clock.advance(-1)
  t.equal((await get(bearer)).statusCode, 200)
})

for (const [ahead, exp, status] of [
  [30, 31, 200],
  [30, 30, 401],
  [-30, 1, 200],
  [-30, -29, 200],
  [-30, -30, 401]
] as const)
  t.test(`a clock that is ${ahead} s off: a token that ends in ${exp} s by the issuer’s is ${status}`, async (t) => {
    const planted = await plantIssuer(t)
    const clock = { now: () => planted.clock.now() + ahead * 1000 }
    const { status: ask } = await serve(t, { ...planted.options, clock })
    const now = planted.clock.now() / 1000
    const bearer = planted.token({ iat: exp < 0 ? now - 300 : now, exp: now + exp })
    t.equal(await ask(bearer), status)
    t.equal(await ask(bearer), status)
    t.equal(await ask(planted.token()), 200)
  })

t.test('the log grows neither old nor young when the clock of the machine is set', async (t) => {
  const { token, clock, status, guard, ends } = await world(t)
  for (const seconds of [86_400, -2 * 86_400, 31_536_000, -31_536_000]) {
    clock.advance(seconds)
    t.equal(await status(token()), 200)
    t.ok((guard.status().lag as number) < 5000)
  }
  await ends('session', 'session-1')
  clock.advance(-86_400)
  t.equal(await status(token()), 401)
})

t.test('status says how far the log was read, and how much is kept', async (t) => {
  const { guard, token, status, ends } = await world(t)
  const at = () => {
    const { lag, ...others } = guard.status()
    t.type(lag, 'number')
    t.ok((lag as number) >= 0 && (lag as number) < 1000)
    return others
  }
  t.strictSame(at(), { revocation: 'log', seq: 0, entries: 0, tokens: 0 })
  await status(token())
  await status(token())
  await status('x')
  await ends('session', 'another')
  await ends('user', 'another')
  await ends('user', 'another')
  t.strictSame(at(), { revocation: 'log', seq: 3, entries: 2, tokens: 2 })
})

t.test('status without a log', async (t) => {
  const { guard } = await world(t, { revocation: 'none' })
  t.strictSame(guard.status(), { revocation: 'none', seq: null, lag: null, entries: 0, tokens: 0 })
})

t.test('the log is asked with a token of the client, which a refusal renews', async (t) => {
  const planted = await plantIssuer(t)
  const good = planted.responders.revocations as Responder
  let tokens = 0
  const forms: string[] = []
  planted.responders.token = async (request, response) => {
    let form = ''
    for await (const chunk of request) form += chunk
    forms.push(form)
    json({ access_token: `token-${++tokens}`, token_type: 'Bearer', expires_in: 300 })(request, response)
  }
  planted.responders.revocations = (request, response) =>
    request.headers.authorization === 'Bearer token-2'
      ? good(request, response)
      : json({}, { 'www-authenticate': 'Bearer error="invalid_token"' }, 401)(request, response)
  const { app } = await serve(t, planted.options)
  await until(() => app.guard.status().seq === 0)
  t.strictSame(forms, Array(2).fill('grant_type=client_credentials&scope=revocations%3Aread'))
})

t.test('while nothing is heard of the log nobody is let in, and nothing was missed when it is back', async (t) => {
  const { issuer, responders, token, clientToken, get, status, logged, revoke, guard, claims, clock } = await world(t, {
    staleAfter: 4
  })
  const reason = `GET ${issuer}/revocations: the status is 503`
  const good = responders.revocations as Responder
  const [warm, victim] = [token(), token({ sid: 'session-2' })]
  for (const each of [warm, victim]) t.equal(await status(each), 200)
  responders.revocations = json({}, {}, 503)
  await until(async () => (await status(warm)) === 503)
  for (const each of [warm, token(), clientToken()]) {
    const response = await get(each)
    t.strictSame(answer(response), UNKNOWN)
    t.equal(response.headers['retry-after'], '1')
  }
  t.ok((guard.status().lag as number) > 4000)
  // What is not good by itself is the caller’s fault as ever.
  const now = clock.now() / 1000
  const bad = [
    token({ aud: 'https://other.example.com' }),
    token({ exp: now, iat: now - 1 }),
    signed(createKey(), claims()),
    'x'
  ]
  for (const each of bad) t.strictSame(answer(await get(each)), INVALID_TOKEN)
  revoke('session', 'session-2')
  responders.revocations = good
  await until(async () => (await status(warm)) === 200)
  t.strictSame(answer(await get(victim)), INVALID_TOKEN)
  t.strictSame(
    logged.filter((line) => line.includes('4 s')),
    [`the revocation log has not responded for 4 s: ${reason}`]
  )
  t.strictSame(
    logged.filter((line) => line.includes('cannot be read')),
    [`the revocation log cannot be read: ${reason}`]
  )
})

t.test(
  'whenStale accept: good tokens are let in, those that are known to be revoked are not, and the log says so once',
  async (t) => {
    const { issuer, responders, token, status, logged, ends, guard } = await world(t, {
      staleAfter: 4,
      whenStale: 'accept'
    })
    await ends('session', 'session-2')
    responders.revocations = json({}, {}, 503)
    await until(() => (guard.status().lag as number) > 4000)
    for (let n = 0; n < 5; n++) t.equal(await status(token()), 200)
    t.equal(await status(token({ sid: 'session-2' })), 401)
    t.strictSame(
      logged.filter((line) => line.includes('4 s')),
      [`the revocation log has not responded for 4 s: GET ${issuer}/revocations: the status is 503`]
    )
  }
)

t.test(
  'a service starts without the log, lets nobody in until it is there, and tells them so after three seconds',
  async (t) => {
    const planted = await plantIssuer(t)
    planted.revoke('session', 'session-1')
    const good = planted.responders.revocations as Responder
    planted.responders.revocations = () => {}
    const before = performance.now()
    const logged: string[] = []
    const stream = { write: (line: string) => void logged.push(JSON.parse(line).msg) }
    const { status, app } = await serve(t, planted.options, { logger: { level: 'error', stream } })
    t.ok(performance.now() - before < 1000)
    t.equal(await status(planted.token({ sid: 'session-2' })), 503)
    t.ok(performance.now() - before > 2900 && performance.now() - before < 4500)
    t.strictSame(app.guard.status(), { revocation: 'log', seq: null, lag: null, entries: 0, tokens: 1 })
    t.match(logged, ['the revocation log has not been read yet'])
    planted.responders.revocations = good
    await until(async () => (await status(planted.token({ sid: 'session-2' }))) === 200, 9000)
    t.equal(await status(planted.token()), 401)
  }
)

t.test('a request cannot change who is calling for the next', async (t) => {
  const tries: ((principal: never) => unknown)[] = [
    (principal: { sub: string }) => (principal.sub = 'user-2'),
    (principal: { scopes: string[] }) => principal.scopes.push('orders:delete'),
    (principal: { scopes: string[] }) => (principal.scopes[0] = 'orders:delete'),
    (principal: { roles: string[] }) => principal.roles.push('root'),
    (principal: { token: { sub: string } }) => (principal.token.sub = 'user-2'),
    (principal: { token: { roles: string[] } }) => principal.token.roles.push('root'),
    (principal: { token: { more: { list: string[] } } }) => principal.token.more.list.push('x'),
    (principal: { token: { more: { list: string[] } } }) => (principal.token.more.list = []),
    (principal: object) => Object.assign(principal, { more: true })
  ]
  let attempts = 0
  const { token, get } = await world(t, {}, (app) => {
    app.get('/orders', { preHandler: app.requireUser() }, async ({ principal }) => {
      const whole = structuredClone(principal)
      for (const attempt of tries) {
        try {
          attempt(principal as never)
        } catch {
          attempts++
        }
      }
      return whole
    })
  })
  const bearer = token({ more: { list: ['a'] } })
  const first = (await get(bearer)).json()
  t.equal(attempts, tries.length)
  t.strictSame((await get(bearer)).json(), first)
  t.strictSame(first.token.more, { list: ['a'] })
})

t.test('one token is judged for each route by what that asks for', async (t) => {
  const { token, get } = await world(t)
  const bearer = token({ scope: 'orders:write', roles: [] })
  for (let n = 0; n < 3; n++) {
    t.strictSame(answer(await get(bearer)), forbidden('orders:read'))
    t.strictSame(answer(await get(bearer, '/admin-only')), forbidden())
    t.equal((await get(bearer, '/user-only')).statusCode, 200)
  }
})

t.test('ten thousand tokens are remembered and no more, bad ones never', async (t) => {
  const key = createKey('EdDSA')
  const planted = await plantIssuer(t)
  const { issuer, clock, claims } = planted
  const held = { kid: key.kid, alg: key.alg, key: createPublicKey(key.privateKey) }
  const verifier = createVerifier({
    issuer,
    audience: AUDIENCE,
    clock,
    keys: { find: (kid) => (kid === key.kid ? held : null) },
    revoked: { version: () => 0, assertKnown: () => {}, refuses: () => false }
  })
  const tokens = Array.from({ length: 10_050 }, () => signed(key, claims()))
  for (const each of tokens) {
    if (verifier.verify(each) === null) t.fail('a good token was refused')
    void verifier.verify(`${each}A`)
    void verifier.verify(each.replace(/^[^.]*/, ''))
  }
  t.equal(verifier.size(), 10_000)
  t.ok(verifier.verify(tokens[0] as string))
  t.equal(verifier.size(), 10_000)
})

t.test('the log decides about every token as its rules say, in whatever order things happen', async (t) => {
  const NAMES = ['a', 'b', 'c']
  const name = fc.constantFrom(...NAMES)
  const step = fc.oneof(
    fc.record({ make: fc.record({ sub: name, sid: name, client_id: name, jti: name, roles: fc.subarray(NAMES) }) }),
    fc.record({ end: fc.tuple(fc.constantFrom('session', 'token', 'user', 'client', 'role'), name) }),
    fc.constant({ ask: true as const })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const planted = await world(t)
      const { log, token, status, ends, app } = planted
      const made: { bearer: string; rev: number; ids: [kind: string, id: string][] }[] = []
      const isDead = ({ rev, ids }: (typeof made)[number]) =>
        log.entries.some(
          (entry) =>
            ids.some(([kind, id]) => kind === entry.kind && id === entry.id) &&
            (['session', 'token'].includes(entry.kind) || rev < entry.seq)
        )
      for (const each of [...steps, { ask: true as const }]) {
        if ('make' in each) {
          const { sub, sid, client_id, jti, roles } = each.make
          made.push({
            bearer: token({ ...each.make, more: made.length }),
            rev: log.seq,
            ids: [
              ['user', sub],
              ['session', sid],
              ['client', client_id],
              ['token', jti],
              ...roles.map((role): [string, string] => ['role', role])
            ]
          })
        } else if ('end' in each) await ends(...each.end)
        else
          deepStrictEqual(
            await Promise.all(made.map(({ bearer }) => status(bearer))),
            made.map((one) => (isDead(one) ? 401 : 200))
          )
      }
      await app.close()
    }),
    { numRuns: ROUNDS, seed }
  )
})

t.test('the first requests wait until the log is known', async (t) => {
  const planted = await plantIssuer(t)
  planted.revoke('session', 'session-1')
  const good = planted.responders.revocations as Responder
  planted.responders.revocations = async (request, response) => {
    await sleep(300)
    return good(request, response)
  }
  const { status } = await serve(t, planted.options)
  const tokens = [planted.token(), planted.token({ sid: 'session-2' })]
  t.strictSame(await Promise.all(tokens.map((each) => status(each))), [401, 200])
})

t.test('a stop while nothing was heard of the log tells those who wait', async (t) => {
  const planted = await plantIssuer(t)
  planted.responders.revocations = () => {}
  const { app, status } = await serve(t, planted.options)
  const waiting = status(planted.token())
  await sleep(50)
  const before = performance.now()
  await app.close()
  t.equal(await waiting, 503)
  t.ok(performance.now() - before < 1000)
})

t.test('a stop ends the wait for the log', async (t) => {
  const { app, requests, log } = await world(t)
  await until(() => log.waiting.size > 0)
  const before = performance.now()
  await app.close()
  t.ok(performance.now() - before < 500)
  const { length } = requests
  await sleep(300)
  t.equal(requests.length, length)
})
