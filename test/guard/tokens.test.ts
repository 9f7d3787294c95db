import { deepStrictEqual } from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { answer, answers, createForge, everywhere } from '../forge.ts'
import { bearers, forgeries } from '../forged.ts'
import { build, ISSUER } from '../helper.ts'
import { mutation } from '../mutations.ts'
import '../published.ts'
import { AUDIENCE, forbidden, INVALID_TOKEN, NOT_AUTHENTICATED, OPERATIONS, serve, TWICE } from './planted.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)

const world = await build(t)
const { app: latchkey, clock, login } = world
let calls = 0
const fetch = async (url: string | URL | Request): Promise<Response> => {
  calls++
  const { pathname } = new URL(String(url))
  const { statusCode, body, headers } = await latchkey.inject({ method: 'GET', url: pathname })
  return new Response(body, { status: statusCode, headers: { 'content-type': String(headers['content-type']) } })
}
const options = { issuer: ISSUER, audience: AUDIENCE, revocation: 'none', fetch, clock } as const
const service = await serve(t, options)
/** The service of `examples/orders`, which imports the guard by its published name, has the same routes. */
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
      ...changes
    })
  ).accessToken

const good = await issue()
const { forge, attacker, forged, accepted, byReference } = await forgeries(world, good, AUDIENCE)
const { claims, header, token } = forge
const now = clock.now() / 1000

const at = (url: string, bearer: string, method: 'GET' | 'POST' = 'GET') =>
  service.inject({ method, url, headers: { authorization: `Bearer ${bearer}` } })
const ORDER = { item: 'lamp', quantity: 1 }
const DONE = [200, 201]
/** At each operation; 201 counts as 200. @throws Error when the example does not answer the same */
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
  const found = await of(service)
  deepStrictEqual(await of(example), found, 'examples/orders answers the same')
  return found
}
async function refused(t: Parameters<typeof answers>[0], bearer: string, expected = INVALID_TOKEN): Promise<void> {
  for (const app of [service, example]) await answers(t, app, bearer, expected, OPERATIONS)
}

/** What only the issuer’s database can tell; the revocation log tells a service what became of them. */
const ONLY_THERE = [
  // No such user, and a name in place of an id.
  'sub "docs"',
  'sub "nobody"',
  // No such client.
  'client_id "DOCS"',
  'client_id "nobody"',
  // No such session.
  'sid "nobody’s"',
  // A second machine’s clock: 60 s of skew are allowed and not 5.
  `iat ${now + 6}`
]

t.test('what these tests forge is let in when nothing about it is wrong [JW1 to JW12]', async (t) => {
  for (const each of accepted) t.strictSame(await statuses(each), [200, 200, 200, 200])
})

t.test('what only the issuer’s database can tell is let in, and nothing else of the list [JW6 JW8]', async (t) => {
  const found = forged.filter(({ name }) => ONLY_THERE.includes(name))
  t.strictSame(found.map(({ name }) => name).sort(), ONLY_THERE.toSorted())
  for (const { name, token } of found) t.strictSame(await statuses(token), [200, 200, 200, 200], name)
})

t.ok(forged.length > 400)
for (const { id, name, token } of forged)
  if (!ONLY_THERE.includes(name)) t.test(`${id} refused by a guarded service: ${name}`, (t) => refused(t, token))

t.test('a key or the address of one in the header is refused, and nobody is called [JW5]', async (t) => {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ keys: [{ ...attacker.export({ format: 'jwk' }), kid: header.kid }] }))
  })
  let connections = 0
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  for (const { name, token } of byReference(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`))
    await t.test(`refused by a guarded service: ${name}`, (t) => refused(t, token))
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

t.test(
  'the clock of the issuer may be 60 s ahead, and a token is good until its exp, not a second longer [JW8]',
  async (t) => {
    t.strictSame(await statuses(token({}, { iat: now + 60, exp: now + 61 })), [200, 200, 200, 200])
    await refused(t, token({}, { iat: now + 61, exp: now + 300 }))
    t.strictSame(await statuses(token({}, { exp: now + 1 })), [200, 200, 200, 200])
    await refused(t, token({}, { exp: now }))
  }
)

t.test('a token of 8192 characters is good, one of 8193 is not [JW12]', async (t) => {
  const long = (length: number): string => token({}, { x: 'x'.repeat(length) })
  let size = 5000
  while (long(size + 1).length <= 8192) size++
  t.ok(long(size).length > 8189)
  t.strictSame(await statuses(long(size)), [200, 200, 200, 200])
  await refused(t, long(size + 1))
})

const { otherSchemes, noToken, elsewhere } = bearers(good)
t.test('a request without a token is told which scheme to use, and no error (RFC 6750 §3.1) [JW13]', (t) =>
  everywhere(t, service, {}, NOT_AUTHENTICATED, OPERATIONS)
)
for (const authorization of otherSchemes)
  t.test(`another scheme is no token: ${JSON.stringify(authorization.slice(0, 24))} [JW13]`, (t) =>
    everywhere(t, service, { headers: { authorization } }, NOT_AUTHENTICATED, OPERATIONS)
  )
for (const authorization of noToken)
  t.test(`a Bearer that holds no good token is invalid: ${JSON.stringify(authorization.slice(0, 24))} [JW13]`, (t) =>
    everywhere(t, service, { headers: { authorization } }, INVALID_TOKEN, OPERATIONS)
  )

t.test('the scheme is written in any case, with one or more spaces after it [JW13]', async (t) => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer  '])
    t.equal(
      (await service.inject({ method: 'GET', url: '/orders', headers: { authorization: `${scheme} ${good}` } }))
        .statusCode,
      200,
      scheme
    )
})

t.test('a token in the query, in the body or in any other header is ignored [JW13]', async (t) => {
  for (const name of ['access_token', 'token', 'bearer_token', 'Authorization']) {
    await everywhere(t, service, { query: `?${name}=${good}` }, NOT_AUTHENTICATED, OPERATIONS)
    t.equal((await at(`/orders?${name}=nonsense`, good)).statusCode, 200, `${name} beside a header`)
    t.strictSame(answer(await at(`/orders?${name}=${good}`, 'x')), INVALID_TOKEN, `${name} beside a bad header`)
  }
  const bodies: [type: string, payload: string][] = [
    ['application/x-www-form-urlencoded', `access_token=${good}`],
    ['application/json', JSON.stringify({ access_token: good })],
    ['text/plain', `Bearer ${good}`]
  ]
  for (const [type, payload] of bodies)
    await everywhere(t, service, { headers: { 'content-type': type }, payload }, NOT_AUTHENTICATED, OPERATIONS)
  for (const headers of elsewhere) await everywhere(t, service, { headers }, NOT_AUTHENTICATED, OPERATIONS)
})

t.test('two Authorization headers are refused with a challenge, whatever they hold [JW13]', async (t) => {
  const pairs = [
    [`Bearer ${good}`, `Bearer ${good}`],
    [`Bearer ${good}`, 'Bearer x'],
    ['Basic Og==', `Bearer ${good}`],
    [`Bearer ${good}`, ''],
    ['', '']
  ]
  for (const pair of pairs) await everywhere(t, service, { headers: { authorization: pair } }, TWICE, OPERATIONS)
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
  t.test(`a scope is a whole name, and what is missing is said: ${JSON.stringify(scope)} [SC1]`, async (t) => {
    const bearer = token({}, { scope, roles: [] })
    t.strictSame(answer(await at('/orders', bearer)), forbidden('orders:read'))
    t.strictSame(answer(await at('/orders', bearer, 'POST')), forbidden('orders:write'))
    t.strictSame(await statuses(bearer), [403, 403, 403, 200])
  })

t.test('each scope opens its own route and no other, wherever it stands [SC1]', async (t) => {
  for (const scope of ['orders:read', 'orders:read x', 'x orders:read', ' orders:read ', 'x  orders:read  y'])
    t.strictSame(await statuses(token({}, { scope, roles: [] })), [200, 403, 403, 200], scope)
  t.strictSame(await statuses(token({}, { scope: 'orders:write', roles: [] })), [403, 200, 403, 200])
})

t.test('a token without scopes has none, not an empty one [SC1]', async (t) => {
  t.strictSame((await at('/user-only', token({}, { scope: '' }))).json().scopes, [])
  t.strictSame((await at('/user-only', token({}, { scope: ' a  b ' }))).json().scopes, ['a', 'b'])
})

t.test('a client’s own token is no user’s, whatever scopes it has [SC3]', async (t) => {
  const own = await issue({ sub: 'docs', session: null, roles: [] })
  t.strictSame(await statuses(own), [200, 200, 403, 403])
  t.strictSame(answer(await at('/user-only', own)), forbidden())
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
  t.test(`a role is a whole name: ${JSON.stringify(roles)} [SC3]`, async (t) => {
    const bearer = token({}, { roles })
    t.strictSame(answer(await at('/admin-only', bearer)), forbidden())
    t.strictSame(await statuses(bearer), [200, 200, 403, 200])
  })

t.test('a handler sees whom the token speaks for', async (t) => {
  t.strictSame((await at('/user-only', good)).json(), {
    kind: 'user',
    sub: 'user-1',
    clientId: 'docs',
    sid: claims.sid,
    scopes: ['orders:read', 'orders:write'],
    roles: ['admin'],
    token: claims
  })
})

t.test('no token that differs from a good one in anything is let in [JW1 to JW12]', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...OPERATIONS),
      async (mutations, operation) => {
        const bearer = mutations.reduce((text, mutate) => mutate(text), good)
        fc.pre(bearer !== good && !bearer.startsWith(' '))
        const response = await service.inject({ ...operation, headers: { authorization: `Bearer ${bearer}` } })
        deepStrictEqual(answer(response), INVALID_TOKEN, JSON.stringify(bearer))
      }
    ),
    { numRuns: ROUNDS, seed }
  )
  t.strictSame(await statuses(good), [200, 200, 200, 200])
})

const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\0', '\ud800', '', ' ', 'x'.repeat(3000), -1, 0.5, 2 ** 53, 1e300, null, true, [], {}, [[]])
)
t.test('whatever a rightly signed token claims, it is judged and never a failure [JW6 to JW10]', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...Object.keys(claims), 'nbf', '__proto__'), odd), {
        minLength: 1,
        maxLength: 3
      }),
      async (changes) => {
        const text = JSON.stringify({ ...claims, ...Object.fromEntries(changes) })
        const { statusCode } = await at('/orders', forge.signed(header, text))
        deepStrictEqual([200, 401, 403].includes(statusCode), true, `${statusCode} for ${text}`)
      }
    ),
    { numRuns: ROUNDS, seed }
  )
})

t.test('however many kids were asked for, the issuer was hardly asked [JW4]', async (t) => {
  // Metadata and keys once, by each of both; then at most five looks for new keys in a second.
  t.ok(calls < 4 + 10 * process.uptime(), `${calls} calls`)
})

t.test('a token of Latchkey’s own resource is no token of the service [JW7]', async (t) => {
  const own = await login('admin', 'profile users:read')
  await refused(t, own)
  const { token: forOwn } = await createForge(world, own)
  t.strictSame(await statuses(forOwn({}, { aud: AUDIENCE })), [403, 403, 200, 200])
})
