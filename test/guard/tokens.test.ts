import { deepStrictEqual } from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { AUDIENCE } from '../fake-issuer.ts'
import { answer, answers, createForge, everywhere } from '../forge.ts'
import { forgeriesFor } from '../forged/app.ts'
import { bearers } from '../forged/bearers.ts'
import { ONLY_BY_STATE, oneOfEach } from '../forged/index.ts'
import { build, ISSUER } from '../helper.ts'
import '../published.ts'
import { forbidden, INVALID_TOKEN, NOT_A_USER, NOT_AUTHENTICATED, TWO_HEADERS } from './refusals.ts'
import { serve } from './service.ts'

/** The routes of `declareOrders`. */
const OPERATIONS = [
  { method: 'GET', url: '/orders' },
  { method: 'POST', url: '/orders' },
  { method: 'GET', url: '/admin-only' },
  { method: 'GET', url: '/user-only' }
] as { method: 'GET'; url: string }[]

const world = await build(t)
const { app: latchkey, clock, login } = world
const fetch = async (url: string | URL | Request): Promise<Response> => {
  const { pathname } = new URL(String(url))
  const { statusCode, body, headers } = await latchkey.inject({ method: 'GET', url: pathname })
  return new Response(body, { status: statusCode, headers: { 'content-type': String(headers['content-type']) } })
}
const options = { issuer: ISSUER, audience: AUDIENCE, revocation: 'none', fetch, clock } as const
const service = await serve(t, options)
/** `examples/orders` has the same routes and imports the guard by its published name. */
const { buildApp } = await import('../../examples/orders/app.ts')
const example = await buildApp(options)
t.teardown(() => example.close())

const issue = async (changes: { sub?: string; scopes?: string[]; roles?: string[]; session?: null } = {}) =>
  (
    await latchkey.auth.accessTokens.issue({
      sub: 'user-1',
      client: { id: 'docs', accessTokenTtl: 300 },
      aud: AUDIENCE,
      scopes: ['orders:read', 'orders:write'],
      roles: ['admin'],
      session: { sid: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e11', expiresAt: Number.POSITIVE_INFINITY },
      rev: 0,
      signing: [],
      ...changes
    })
  ).accessToken

const valid = await issue()
const { forge, attacker, forged, accepted, withKeyInHeader } = await forgeriesFor(world, valid, AUDIENCE)
const { claims, header, token } = forge
const now = clock.now() / 1000

const at = (url: string, bearer: string, method: 'GET' | 'POST' = 'GET') =>
  service.inject({ method, url, headers: { authorization: `Bearer ${bearer}` } })
const ORDER = { item: 'lamp', quantity: 1 }
const DONE = [200, 201]
/** Returns the status of each operation, 201 as 200. @throws Error when the example responds differently */
async function statuses(bearer: string): Promise<number[]> {
  const headers = { authorization: `Bearer ${bearer}` }
  const of = (app: Pick<typeof service, 'inject'>) =>
    Promise.all(
      OPERATIONS.map(async (operation) => {
        const payload = String(operation.method) === 'POST' ? { payload: ORDER } : {}
        const { statusCode } = await app.inject({ ...operation, headers, ...payload })
        return DONE.includes(statusCode) ? 200 : statusCode
      })
    )
  const each = await of(service)
  deepStrictEqual(await of(example), each, 'examples/orders responds the same')
  return each
}
async function refused(t: Parameters<typeof answers>[0], bearer: string, expected = INVALID_TOKEN): Promise<void> {
  for (const app of [service, example]) await answers(t, app, bearer, expected, OPERATIONS)
}

/** Names of the forged tokens that a service accepts: the issuer refuses them by the state of its database, or by its smaller skew. */
const ACCEPTED = [...ONLY_BY_STATE, `iat ${now + 6}`]

t.test('valid tokens that are made like the forged ones are accepted [JW1 to JW12]', async (t) => {
  for (const each of accepted) t.strictSame(await statuses(each), [200, 200, 200, 200])
})

t.test('the guard accepts a token that only the issuer can refuse [JW6, JW8]', async (t) => {
  const tokens = forged.filter(({ name }) => ACCEPTED.includes(name))
  t.strictSame(tokens.map(({ name }) => name).sort(), ACCEPTED.toSorted())
  for (const { name, token } of tokens) t.strictSame(await statuses(token), [200, 200, 200, 200], name)
})

t.ok(forged.length > 400)
const hostile = forged.filter(({ name }) => !ACCEPTED.includes(name))
for (const [id, tokens] of Map.groupBy(hostile, ({ id }) => id))
  t.test(`a service refuses every forged token [${id}]`, async (t) => {
    for (const { name, token } of tokens) t.strictSame(answer(await at('/orders', token)), INVALID_TOKEN, name)
  })
for (const { id, name, token } of oneOfEach(hostile))
  t.test(`every route of a service refuses a forged token: ${name} [${id}]`, (t) => refused(t, token))

t.test('a key or the URL of keys in the header is refused, and the URL is not requested [JW5]', async (t) => {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ keys: [{ ...attacker.export({ format: 'jwk' }), kid: header.kid }] }))
  })
  let connections = 0
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  for (const { name, token } of withKeyInHeader(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`))
    t.strictSame(answer(await at('/orders', token)), INVALID_TOKEN, name)
  t.equal(connections, 0)
})

const OTHER_AUDIENCES = [
  ISSUER,
  `${AUDIENCE}/`,
  `${AUDIENCE}/orders`,
  `${AUDIENCE}:443`,
  'https://orders.example.com.evil.example',
  'https://other.example.com',
  [AUDIENCE, ISSUER]
]
for (const aud of OTHER_AUDIENCES)
  t.test(`a token for another service is refused: ${aud} [JW7]`, (t) => refused(t, token({}, { aud })))

t.test('a client’s own token whose sub is a user is refused [JW6]', async (t) => {
  await refused(t, token({}, { sid: undefined }))
  await refused(t, token({}, { sid: undefined, sub: 'DOCS' }))
})

t.test('the clock of the issuer may be 60 s ahead, and a token is accepted until its exp [JW8]', async (t) => {
  t.strictSame(await statuses(token({}, { iat: now + 60, exp: now + 61 })), [200, 200, 200, 200])
  await refused(t, token({}, { iat: now + 61, exp: now + 300 }))
  t.strictSame(await statuses(token({}, { exp: now + 1 })), [200, 200, 200, 200])
  await refused(t, token({}, { exp: now }))
})

t.test('a token of 10240 characters is accepted, one of 10241 is refused [JW12]', async (t) => {
  const long = (length: number): string => token({}, { x: 'x'.repeat(length) })
  let size = 5000
  while (long(size + 1).length <= 10_240) size++
  t.ok(long(size).length > 10_237)
  t.strictSame(await statuses(long(size)), [200, 200, 200, 200])
  await refused(t, long(size + 1))
})

const { otherSchemes, noToken, elsewhere } = bearers(valid)
t.test('the challenge for a request without a token has no error (RFC 6750 §3.1) [JW13]', (t) =>
  everywhere(t, service, {}, NOT_AUTHENTICATED, OPERATIONS)
)
for (const authorization of otherSchemes)
  t.test(`a token with another scheme is ignored: ${JSON.stringify(authorization.slice(0, 24))} [JW13]`, (t) =>
    everywhere(t, service, { headers: { authorization } }, NOT_AUTHENTICATED, OPERATIONS)
  )
for (const authorization of noToken)
  t.test(`Bearer without a valid token is refused: ${JSON.stringify(authorization.slice(0, 24))} [JW13]`, (t) =>
    everywhere(t, service, { headers: { authorization } }, INVALID_TOKEN, OPERATIONS)
  )

t.test('the scheme may have any case and one or more spaces after it [JW13]', async (t) => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer  '])
    t.equal(
      (await service.inject({ method: 'GET', url: '/orders', headers: { authorization: `${scheme} ${valid}` } }))
        .statusCode,
      200,
      scheme
    )
})

t.test('a token in the query, in the body or in any other header is ignored [JW13]', async (t) => {
  for (const name of ['access_token', 'token', 'bearer_token', 'Authorization']) {
    await everywhere(t, service, { query: `?${name}=${valid}` }, NOT_AUTHENTICATED, OPERATIONS)
    t.equal((await at(`/orders?${name}=nonsense`, valid)).statusCode, 200, `${name} beside a header`)
    t.strictSame(answer(await at(`/orders?${name}=${valid}`, 'x')), INVALID_TOKEN, `${name} beside an invalid header`)
  }
  const bodies: [type: string, payload: string][] = [
    ['application/x-www-form-urlencoded', `access_token=${valid}`],
    ['application/json', JSON.stringify({ access_token: valid })],
    ['text/plain', `Bearer ${valid}`]
  ]
  for (const [type, payload] of bodies)
    await everywhere(t, service, { headers: { 'content-type': type }, payload }, NOT_AUTHENTICATED, OPERATIONS)
  for (const headers of elsewhere) await everywhere(t, service, { headers }, NOT_AUTHENTICATED, OPERATIONS)
})

t.test('two Authorization headers are refused, whatever their values are [JW13]', async (t) => {
  const pairs = [
    [`Bearer ${valid}`, `Bearer ${valid}`],
    [`Bearer ${valid}`, 'Bearer x'],
    ['Basic Og==', `Bearer ${valid}`],
    [`Bearer ${valid}`, ''],
    ['', '']
  ]
  for (const pair of pairs) await everywhere(t, service, { headers: { authorization: pair } }, TWO_HEADERS, OPERATIONS)
})

const SCOPES = [
  '',
  'orders',
  'orders:',
  'orders:rea',
  'orders:read2',
  'orders:readx orders:writex',
  'xorders:read',
  'ORDERS:READ',
  'orders:read:all',
  'orders:*',
  '*',
  'orders:reád',
  'orders:read\torders:write',
  'orders:read\norders:write',
  'orders:read,orders:write',
  '"orders:read"',
  'orders:read\u00a0x',
  'constructor __proto__ length 0'
]
for (const scope of SCOPES)
  t.test(
    `a scope is compared as a whole, and the challenge names the missing scope: ${JSON.stringify(scope)} [SC1]`,
    async (t) => {
      const bearer = token({}, { scope, roles: [] })
      t.strictSame(answer(await at('/orders', bearer)), forbidden({ scope: 'orders:read' }))
      t.strictSame(answer(await at('/orders', bearer, 'POST')), forbidden({ scope: 'orders:write' }))
      t.strictSame(await statuses(bearer), [403, 403, 403, 200])
    }
  )

t.test('each scope allows its own route only, at every position [SC1]', async (t) => {
  for (const scope of ['orders:read', 'orders:read x', 'x orders:read', ' orders:read ', 'x  orders:read  y'])
    t.strictSame(await statuses(token({}, { scope, roles: [] })), [200, 403, 403, 200], scope)
  t.strictSame(await statuses(token({}, { scope: 'orders:write', roles: [] })), [403, 200, 403, 200])
})

t.test('a token with an empty scope has no scopes [SC1]', async (t) => {
  t.strictSame((await at('/user-only', token({}, { scope: '' }))).json().scopes, [])
  t.strictSame((await at('/user-only', token({}, { scope: ' a  b ' }))).json().scopes, ['a', 'b'])
})

t.test('a client’s own token is not accepted for a user, whatever its scopes are [SC3]', async (t) => {
  const own = await issue({ sub: 'docs', session: null, roles: [] })
  t.strictSame(await statuses(own), [200, 200, 403, 403])
  t.strictSame(answer(await at('/user-only', own)), NOT_A_USER)
  t.strictSame((await at('/orders', own)).json(), {
    kind: 'client',
    sub: 'docs',
    clientId: 'docs',
    sid: null,
    scopes: ['orders:read', 'orders:write'],
    roles: [],
    token: JSON.parse(Buffer.from(own.split('.')[1] as string, 'base64url').toString())
  })
})

t.test('a client’s own token has no roles, whatever it claims [SC3]', async (t) => {
  const own = await issue({ sub: 'docs', session: null, roles: ['admin'] })
  t.strictSame(await statuses(own), [200, 200, 403, 403])
  t.strictSame((await at('/orders', own)).json().roles, [])
})

const ROLES = [[], ['Admin'], ['admin2'], ['adm'], ['admin user'], [' admin'], ['a', 'd', 'min'], ['*'], ['__proto__']]
for (const roles of ROLES)
  t.test(`a role is compared as a whole: ${JSON.stringify(roles)} [SC3]`, async (t) => {
    const bearer = token({}, { roles })
    t.strictSame(answer(await at('/admin-only', bearer)), forbidden({ role: 'admin' }))
    t.strictSame(await statuses(bearer), [200, 200, 403, 200])
  })

t.test('a handler gets the principal of the token', async (t) => {
  t.strictSame((await at('/user-only', valid)).json(), {
    kind: 'user',
    sub: 'user-1',
    clientId: 'docs',
    sid: claims.sid,
    scopes: ['orders:read', 'orders:write'],
    roles: ['admin'],
    token: claims
  })
})

t.test('a token for Latchkey’s own API is refused [JW7]', async (t) => {
  const own = await login('admin', 'profile users:read')
  await refused(t, own)
  const { token: forOwn } = await createForge(world, own)
  t.strictSame(await statuses(forOwn({}, { aud: AUDIENCE })), [403, 403, 200, 200])
})
