import { verify } from 'node:crypto'
import t from 'tap'
import { basic } from '../basic.ts'
import { createKey, INVALID_RESPONSES, jsonText, neverRespond, type Responder, SECRET } from '../fake-issuer.ts'
import { answer, decode } from '../forge.ts'
import { generateKeyPair } from '../jws.ts'
import { forbidden, INVALID_TOKEN, unavailable } from './refusals.ts'
import { setUp as setUpService } from './service.ts'

const UNKNOWN = unavailable('The issuer does not say whether the token is active')

/** A service that introspects every token. `respond` sets the response of the issuer. */
async function setUp(t: Parameters<typeof setUpService>[0], options: object = {}) {
  const service = await setUpService(t, { revocation: 'introspection', ...options })
  const { responders, requests } = service
  return {
    ...service,
    respond: (body: unknown) => void (responders.introspect = () => Response.json(body)),
    introspections: () => requests.filter(({ path }) => path === '/introspect')
  }
}

const active = (changes: object = {}) => ({
  active: true,
  sub: 'user-1',
  scope: 'orders:read orders:write',
  roles: ['admin'],
  ...changes
})

t.test('the token of every request is introspected with the secret of the client', async (t) => {
  const { respond, token, status, introspections, count, options } = await setUp(t)
  respond(active())
  const bearer = token()
  for (let times = 0; times < 3; times++) t.equal(await status(bearer), 200)
  const authorization = basic(options.clientId, SECRET)
  t.strictSame(
    introspections().map(({ method, headers, body }) => [
      method,
      headers.get('authorization'),
      Object.fromEntries(new URLSearchParams(body))
    ]),
    Array(3).fill(['POST', authorization, { token: bearer, token_type_hint: 'access_token' }])
  )
  t.strictSame([count('revocations'), count('token')], [0, 0])
})

t.test('a client with a private key signs a new assertion for every introspection', async (t) => {
  const { privateKey, publicKey } = generateKeyPair('ES256')
  const { respond, token, status, issuer, introspections } = await setUp(t, {
    clientSecret: undefined,
    privateKey,
    kid: 'k1'
  })
  respond(active())
  for (let times = 0; times < 2; times++) t.equal(await status(token()), 200)
  const ids = introspections().map(({ body }) => {
    const assertion = new URLSearchParams(body).get('client_assertion') as string
    const [header = '', claims = '', signature = ''] = assertion.split('.')
    const key = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
    t.ok(verify('sha256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url')))
    t.strictSame(decode(header), { alg: 'ES256', typ: 'JWT', kid: 'k1' })
    t.match(decode(claims), { iss: 'orders-api', sub: 'orders-api', aud: issuer })
    return decode(claims).jti
  })
  t.equal(new Set(ids).size, 2)
})

t.test('an invalid token is refused without introspection', async (t) => {
  const { token, get, introspections, respond } = await setUp(t)
  respond(active())
  for (const bearer of [token({}, createKey()), token({ aud: 'https://other.example.com' }), 'x'])
    t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  t.strictSame(introspections(), [])
})

t.test('a token that is not active is refused at the next request', async (t) => {
  const { token, get, status, respond } = await setUp(t)
  const bearer = token()
  respond(active())
  t.equal(await status(bearer), 200)
  for (const body of [{ active: false }, { active: false, sub: 'user-1', scope: 'orders:read' }]) {
    respond(body)
    t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  }
  respond(active())
  t.equal(await status(bearer), 200)
})

t.test('scopes and roles come from the introspection, and no scope is added to those of the token', async (t) => {
  const { token, get, status, respond } = await setUp(t)
  const bearer = token({ scope: 'orders:read', roles: ['admin'] })
  respond(active({ scope: 'orders:read orders:write other', roles: ['auditor'] }))
  const { token: _claims, ...principal } = (await get(bearer)).json()
  t.strictSame(principal, {
    kind: 'user',
    sub: 'user-1',
    clientId: 'docs',
    sid: 'session-1',
    scopes: ['orders:read'],
    roles: ['auditor']
  })
  t.strictSame(answer(await get(bearer, '/admin-only')), forbidden({ role: 'admin' }))
  for (const scope of ['orders:write', '']) {
    respond(active({ scope }))
    t.strictSame(answer(await get(bearer)), forbidden({ scope: 'orders:read' }))
  }
  respond(active({ roles: undefined }))
  t.strictSame((await get(bearer)).json().roles, [])
  t.equal(await status(bearer, '/admin-only'), 403)
})

const INVALID_BODIES: [name: string, body: unknown][] = [
  ['another sub', active({ sub: 'user-2' })],
  ['no sub', active({ sub: undefined })],
  ['active as a string', active({ active: 'true' })],
  ['active as a number', active({ active: 1 })],
  ['active null', active({ active: null })],
  ['no active', active({ active: undefined })],
  ['not active as a string', active({ active: 'false' })],
  ['no scope', active({ scope: undefined })],
  ['scope as an array', active({ scope: ['orders:read'] })],
  ['roles as a string', active({ roles: 'admin' })],
  ['roles null', active({ roles: null })],
  ['a role that is a number', active({ roles: ['admin', 1] })]
]
const INVALID: [name: string, responder: Responder][] = [
  ...INVALID_RESPONSES,
  ...INVALID_BODIES.map(([name, body]): [string, Responder] => [name, () => Response.json(body)]),
  ['members of a prototype', () => jsonText('{"__proto__":{"active":true,"sub":"user-1","scope":"orders:read"}}')]
]
t.test('after an invalid response a token gets 503, and the next introspection decides again', async (t) => {
  const { responders, token, get, status, respond } = await setUp(t)
  const bearer = token()
  for (const [name, responder] of INVALID) {
    responders.introspect = responder
    const response = await get(bearer)
    t.strictSame(answer(response), UNKNOWN, name)
    t.equal(response.headers['retry-after'], '1', name)
    respond(active())
    t.equal(await status(bearer), 200, name)
  }
})

t.test('a request gets 503 when the introspection has no response within three seconds', async (t) => {
  const { responders, token, status, timer } = await setUp(t)
  responders.introspect = neverRespond
  const statuses: number[] = []
  void status(token()).then((code) => statuses.push(code))
  await timer.advance(2999)
  t.strictSame(statuses, [])
  await timer.advance(1)
  t.strictSame(statuses, [503])
})

t.test('a request gets 503 when the issuer has no introspection endpoint', async (t) => {
  const { responders, token, get, issuer, respond, introspections } = await setUp(t)
  respond(active())
  responders['oauth-authorization-server'] = () =>
    Response.json({ issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` })
  t.strictSame(answer(await get(token())), UNKNOWN)
  t.strictSame(introspections(), [])
})

t.test('`status` returns null for the state of the revocation log', async (t) => {
  const { token, status, respond, app } = await setUp(t)
  respond(active())
  const bearer = token()
  for (let times = 0; times < 2; times++) await status(bearer)
  t.strictSame(app.guard.status(), { revocation: 'introspection', seq: null, lag: null, entries: 0, tokens: 1 })
})
