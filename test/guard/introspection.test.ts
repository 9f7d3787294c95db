import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { answer, decode } from '../forge.ts'
import {
  createKey,
  forbidden,
  INVALID_TOKEN,
  json,
  plantIssuer,
  type Responder,
  refusal,
  serve,
  signed,
  USELESS
} from './planted.ts'

const UNKNOWN = {
  ...refusal(503, 'Service Unavailable', 'The issuer does not say whether the token is active', ''),
  challenge: undefined
}

/** A service that asks a planted issuer about every token. */
async function world(t: Test, options: Partial<LatchkeyGuardOptions> = {}) {
  const planted = await plantIssuer(t)
  const service = await serve(t, {
    ...planted.options,
    revocation: 'introspection',
    ...options
  } as LatchkeyGuardOptions)
  const get = (token: string, url = '/orders') =>
    service.inject({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } })
  /** From now on the issuer says this of every token. */
  const says = (body: unknown) => void (planted.responders.introspect = json(body))
  return { ...planted, ...service, get, says }
}

const active = (changes: object = {}) => ({
  active: true,
  sub: 'user-1',
  scope: 'orders:read orders:write',
  roles: ['admin'],
  ...changes
})

t.test('introspection: every request is asked about, by the client’s credentials', async (t) => {
  const { responders, token, get, options, count } = await world(t)
  const seen: unknown[] = []
  responders.introspect = async (request, response) => {
    let form = ''
    for await (const chunk of request) form += chunk
    seen.push([request.method, request.headers.authorization, Object.fromEntries(new URLSearchParams(form))])
    json(active())(request, response)
  }
  const bearer = token()
  for (let n = 0; n < 3; n++) t.equal((await get(bearer)).statusCode, 200)
  const { clientId, clientSecret } = options
  const basic = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
  t.strictSame(seen, Array(3).fill(['POST', basic, { token: bearer, token_type_hint: 'access_token' }]))
  t.strictSame([count('revocations'), count('token')], [0, 0])
})

t.test('introspection: a client with a key signs an assertion for each request', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { responders, token, get, issuer } = await world(t, { clientSecret: undefined, privateKey, kid: 'k1' } as never)
  const assertions: string[] = []
  responders.introspect = async (request, response) => {
    let form = ''
    for await (const chunk of request) form += chunk
    assertions.push(new URLSearchParams(form).get('client_assertion') as string)
    json(active())(request, response)
  }
  for (let n = 0; n < 2; n++) t.equal((await get(token())).statusCode, 200)
  const ids = assertions.map((assertion) => {
    const [header = '', claims = '', signature = ''] = assertion.split('.')
    const key = {
      key: createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })),
      dsaEncoding: 'ieee-p1363' as const
    }
    t.ok(verify('sha256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url')))
    t.strictSame(decode(header), { alg: 'ES256', typ: 'JWT', kid: 'k1' })
    t.match(decode(claims), { iss: 'orders-api', sub: 'orders-api', aud: issuer })
    return createHash('sha256')
      .update(String(decode(claims).jti))
      .digest('hex')
  })
  t.equal(new Set(ids).size, 2)
})

t.test('introspection: a token that is not good by itself is asked of nobody', async (t) => {
  const { token, get, count, claims, says } = await world(t)
  says(active())
  for (const bearer of ['x', token({ aud: 'https://other.example.com' }), signed(createKey(), claims())])
    t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  t.equal(count('introspect'), 0)
})

t.test('introspection: what is no longer active is refused, at the next request', async (t) => {
  const { token, get, says } = await world(t)
  const bearer = token()
  says(active())
  t.equal((await get(bearer)).statusCode, 200)
  says({ active: false })
  t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  says({ active: false, sub: 'user-1', scope: 'orders:read' })
  t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  says(active())
  t.equal((await get(bearer)).statusCode, 200)
})

t.test('introspection: scopes and roles are the live ones, scopes never more than the token’s', async (t) => {
  const { token, get, says } = await world(t)
  const bearer = token({ scope: 'orders:read', roles: ['admin'] })
  says(active({ scope: 'orders:read orders:write other', roles: ['auditor'] }))
  const { scopes, roles, ...others } = (await get(bearer)).json()
  t.strictSame([scopes, roles], [['orders:read'], ['auditor']])
  t.match(others, { kind: 'user', sub: 'user-1', clientId: 'docs', sid: 'session-1' })
  t.strictSame(answer(await get(bearer, '/admin-only')), forbidden())
  says(active({ scope: 'orders:write' }))
  t.strictSame(answer(await get(bearer)), forbidden('orders:read'))
  says(active({ scope: '' }))
  t.strictSame(answer(await get(bearer)), forbidden('orders:read'))
  says(active({ roles: undefined }))
  t.strictSame((await get(bearer)).json().roles, [])
  t.equal((await get(bearer, '/admin-only')).statusCode, 403)
})

const UNUSABLE: [what: string, body: unknown][] = [
  ['another sub', active({ sub: 'user-2' })],
  ['no sub', active({ sub: undefined })],
  ['active in words', active({ active: 'true' })],
  ['active 1', active({ active: 1 })],
  ['active null', active({ active: null })],
  ['no active', active({ active: undefined })],
  ['inactive in words', active({ active: 'false' })],
  ['no scope', active({ scope: undefined })],
  ['scope in a list', active({ scope: ['orders:read'] })],
  ['roles in words', active({ roles: 'admin' })],
  ['roles null', active({ roles: null })],
  ['roles of numbers', active({ roles: ['admin', 1] })],
  ['members of a prototype', '{"__proto__":{"active":true,"sub":"user-1","scope":"orders:read"}}']
]
const BAD: [what: string, responder: Responder][] = [
  ...USELESS,
  ...UNUSABLE.map(([what, body]): [string, Responder] => [what, json(body)]),
  ['a redirect', (_request, response) => response.writeHead(307, { location: '/other' }).end()]
]
for (const [what, responder] of BAD)
  t.test(`introspection: an issuer that does not say whether a token is good lets nobody in: ${what}`, async (t) => {
    const { responders, token, get, says } = await world(t)
    responders.other = json(active())
    responders.introspect = responder
    const bearer = token()
    const response = await get(bearer)
    t.strictSame(answer(response), UNKNOWN)
    t.equal(response.headers['retry-after'], '1')
    says(active())
    t.equal((await get(bearer)).statusCode, 200)
  })

t.test('introspection: an issuer that drips lets nobody in, after three seconds', async (t) => {
  const { responders, token, get } = await world(t)
  responders.introspect = async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    while (!response.destroyed) {
      response.write(' ')
      await sleep(100)
    }
  }
  const before = performance.now()
  t.strictSame(answer(await get(token())), UNKNOWN)
  t.ok(performance.now() - before < 4000)
})

t.test('introspection: an issuer that has no such endpoint lets nobody in', async (t) => {
  const { responders, token, get, issuer } = await world(t)
  responders.metadata = json({ issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` })
  t.strictSame(answer(await get(token())), UNKNOWN)
})

t.test('introspection: status has nothing of a log', async (t) => {
  const { token, get, says, app } = await world(t)
  says(active())
  const bearer = token()
  for (let n = 0; n < 2; n++) await get(bearer)
  t.strictSame(app.guard.status(), { revocation: 'introspection', seq: null, lag: null, entries: 0, tokens: 1 })
})
