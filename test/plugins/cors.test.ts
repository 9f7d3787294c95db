import t from 'tap'
import { build, type TestApp } from '../helper.ts'
import { compareAll } from '../rows.ts'

const ORIGIN = 'https://app.example.com'
const OTHER = 'https://other.example.com'
const REMOTE = { LATCHKEY_ISSUER: 'https://id.example.com' }
const PREFLIGHT = { 'access-control-request-method': 'POST' }

const corsOf = (headers: object) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')))

/** An app whose issuer is on this machine, with a list of origins. */
const listed = await build(t, { env: { LATCHKEY_CORS_ORIGINS: `${ORIGIN}, ${OTHER}` } })
/** An app whose issuer is on another host, with the same list. */
const remote = await build(t, { env: { ...REMOTE, LATCHKEY_CORS_ORIGINS: `${ORIGIN}, ${OTHER}` } })

t.test('a listed origin may call the token endpoint, also when the answer is a refusal [BR1]', async (t) => {
  const { inject, token } = listed
  const preflight = await inject({ method: 'OPTIONS', url: '/token', headers: { origin: ORIGIN, ...PREFLIGHT } })
  t.equal(preflight.statusCode, 204)
  t.strictSame(corsOf(preflight.headers), {
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': 'POST',
    'access-control-max-age': '600'
  })
  t.equal(preflight.headers.vary, 'Origin, Access-Control-Request-Headers')
  const refused = await token({ grant_type: 'password', username: 'alice', password: 'wrong' }, { origin: ORIGIN })
  t.equal(refused.statusCode, 400)
  t.strictSame(corsOf(refused.headers), { 'access-control-allow-origin': ORIGIN })
  t.equal(refused.headers.vary, 'Origin')
})

t.test('a listed origin may send every header that its preflight names, never with credentials [BR1]', async (t) => {
  const ask = async (names: string, origin = ORIGIN) => {
    const headers = { origin, ...PREFLIGHT, 'access-control-request-headers': names }
    return corsOf((await listed.inject({ method: 'OPTIONS', url: '/token', headers })).headers)
  }
  const allowed = (names?: string) => ({
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': 'POST',
    ...(names === undefined ? {} : { 'access-control-allow-headers': names }),
    'access-control-max-age': '600'
  })
  const tracing = 'authorization,baggage,content-type,sentry-trace,traceparent,x-requested-with'
  t.strictSame(await ask(tracing), allowed(tracing))
  t.strictSame(await ask(' baggage , sentry-trace'), allowed('baggage,sentry-trace'))
  for (const names of ['', '*/x', 'a,,b', 'a:b', 'a"b', 'a\u00fc', 'x'.repeat(1025)])
    t.strictSame(await ask(names), allowed(), names)
  t.strictSame(await ask('baggage', 'https://evil.example'), {})
})

t.test('a listed origin may call the revocation endpoint [BR1]', async (t) => {
  const headers = { origin: ORIGIN, ...PREFLIGHT }
  const { statusCode, headers: given } = await listed.inject({ method: 'OPTIONS', url: '/revoke', headers })
  t.strictSame([statusCode, given['access-control-allow-origin']], [204, ORIGIN])
})

t.test('a listed origin may read the JWKS and the metadata [BR1]', async (t) => {
  for (const url of ['/.well-known/jwks.json', '/.well-known/oauth-authorization-server', '/.well-known/jwks.json/']) {
    const { statusCode, headers } = await listed.inject({ url, headers: { origin: OTHER } })
    t.strictSame([statusCode, corsOf(headers)], [200, { 'access-control-allow-origin': OTHER }])
  }
})

t.test('a listed origin may read the user of its token, and change nothing [BR1]', async (t) => {
  const { inject, login } = listed
  const preflight = await inject({
    method: 'OPTIONS',
    url: '/users/me',
    headers: {
      origin: ORIGIN,
      'access-control-request-method': 'PATCH',
      'access-control-request-headers': 'authorization'
    }
  })
  t.strictSame(corsOf(preflight.headers), {
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': 'GET, HEAD',
    'access-control-allow-headers': 'authorization',
    'access-control-max-age': '600'
  })
  const headers = { origin: ORIGIN, authorization: `Bearer ${await login('alice')}` }
  const answer = await inject({ url: '/users/me', headers })
  t.strictSame([answer.statusCode, answer.json().username], [200, 'alice'])
  t.strictSame(corsOf(answer.headers), { 'access-control-allow-origin': ORIGIN })
  t.strictSame(
    corsOf((await inject({ url: '/users/me', headers: { ...headers, origin: 'https://evil.example' } })).headers),
    {}
  )
})

t.test('another origin, another path and no origin get no CORS header [BR1]', async (t) => {
  for (const [method, url, headers, status] of [
    ['OPTIONS', '/token', { ...PREFLIGHT, origin: 'https://evil.example' }, 405],
    ['OPTIONS', '/token', { ...PREFLIGHT, origin: `${ORIGIN}.evil.example` }, 405],
    ['OPTIONS', '/token', { ...PREFLIGHT, origin: 'null' }, 405],
    ['OPTIONS', '/users', { ...PREFLIGHT, origin: ORIGIN }, 405],
    ['OPTIONS', '/introspect', { ...PREFLIGHT, origin: ORIGIN }, 405],
    ['GET', '/users/me/sessions', { origin: ORIGIN }, 401],
    ['OPTIONS', '/authorize', { ...PREFLIGHT, origin: ORIGIN }, 405],
    ['GET', '/account', { origin: ORIGIN }, 303],
    ['GET', '/.well-known/jwks.json', {}, 200]
  ] as const) {
    const answer = await listed.inject({ method, url, headers })
    t.strictSame([answer.statusCode, corsOf(answer.headers)], [status, {}], `${method} ${url}`)
  }
})

t.test('without the setting, a Latchkey that is not on this machine sends no CORS headers [BR1]', async (t) => {
  const { inject } = await build(t, { env: REMOTE })
  const answer = await inject({ url: '/.well-known/jwks.json', headers: { origin: ORIGIN } })
  t.strictSame([corsOf(answer.headers), answer.headers.vary], [{}, undefined])
})

/** Returns the origin that may call the token endpoint, as the preflight and as a refused request say. */
async function allowedAt({ inject, token }: TestApp, origin: string): Promise<unknown[]> {
  const preflight = await inject({ method: 'OPTIONS', url: '/token', headers: { origin, ...PREFLIGHT } })
  const answer = await token({ grant_type: 'unknown' }, { origin })
  return [preflight, answer].map(({ headers }) => headers['access-control-allow-origin'])
}

const HERE = 'http://localhost:4000'
const LOCAL = [
  HERE,
  'http://localhost',
  'http://127.0.0.1:4000',
  'http://127.1.2.3',
  'http://[::1]:1',
  'http://app.localhost:5173'
]

t.test('pages of services on the same machine may call without the setting, but not with cookies [BR1]', async (t) => {
  for (const issuer of [
    'http://127.0.0.1:3000',
    'http://[::1]:3000/auth',
    'https://localhost',
    'http://auth.localhost:3000',
    undefined
  ]) {
    const app = issuer === undefined ? listed : await build(t, { env: { LATCHKEY_ISSUER: issuer } })
    await compareAll(t, async (row) => {
      for (const origin of LOCAL) row(`${origin} at ${issuer}`, await allowedAt(app, origin), [origin, origin])
      const { headers } = await app.inject({ url: '/.well-known/jwks.json', headers: { origin: HERE } })
      row('the JWKS', [corsOf(headers), headers.vary], [{ 'access-control-allow-origin': HERE }, 'Origin'])
      for (const url of ['/users/me/sessions', '/introspect', '/revocations', '/docs/'])
        row(url, corsOf((await app.inject({ url, headers: { origin: HERE } })).headers), {})
    })
  }
})

t.test('an origin that only looks like one on this machine gets no CORS header [BR1]', async (t) => {
  await compareAll(t, async (row) => {
    for (const origin of [
      'https://evil.example',
      'null',
      '',
      'https://localhost:4000',
      'http://localhost.example.com',
      'http://notlocalhost',
      'http://example.com#localhost',
      'http://localhost:4000/',
      'http://localhost:4000@example.com',
      'http://user@localhost',
      'http://localhost:',
      'http://localhost:123456',
      'http://LOCALHOST:4000',
      'http://127.0.0.1.example.com',
      'http://128.0.0.1:4000',
      'http://127.0.1',
      'http://[::2]:4000',
      'http://0.0.0.0:4000',
      'http://localhost:4000, http://evil.example',
      'xhttp://localhost:4000'
    ])
      row(origin, await allowedAt(listed, origin), [undefined, undefined])
  })
})

t.test('where the issuer is on another host, local origins that are not listed get no CORS header [BR1]', async (t) => {
  for (const origin of LOCAL) t.strictSame(await allowedAt(remote, origin), [undefined, undefined], origin)
  t.strictSame(await allowedAt(remote, ORIGIN), [ORIGIN, ORIGIN])
})
