import t from 'tap'
import { build, type TestApp } from '../helper.ts'

const ORIGIN = 'https://app.example.com'
const env = { LATCHKEY_CORS_ORIGINS: `${ORIGIN}, https://other.example.com` }
/** An issuer of the world outside. */
const remote = { LATCHKEY_ISSUER: 'https://id.example.com' }
const CORS = /^access-control-/
const corsOf = (headers: object) => Object.fromEntries(Object.entries(headers).filter(([name]) => CORS.test(name)))

t.test('BR1 a listed origin may call the token endpoint, also when it is refused there', async (t) => {
  const { inject, token } = await build(t, { env })
  const preflight = await inject({
    method: 'OPTIONS',
    url: '/token',
    headers: { origin: ORIGIN, 'access-control-request-method': 'POST' }
  })
  t.equal(preflight.statusCode, 204)
  t.strictSame(corsOf(preflight.headers), {
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'Authorization, Content-Type, X-Requested-With',
    'access-control-max-age': '600'
  })
  const refused = await token({ grant_type: 'password', username: 'alice', password: 'wrong' }, { origin: ORIGIN })
  t.equal(refused.statusCode, 400)
  t.strictSame(corsOf(refused.headers), { 'access-control-allow-origin': ORIGIN })
  t.equal(refused.headers.vary, 'Origin')
})

t.test('BR1 a listed origin may log in, and out', async (t) => {
  const { inject } = await build(t, { env })
  for (const url of ['/token', '/revoke']) {
    const headers = { origin: ORIGIN, 'access-control-request-method': 'POST' }
    const { statusCode, headers: given } = await inject({ method: 'OPTIONS', url, headers })
    t.strictSame([statusCode, corsOf(given)['access-control-allow-origin']], [204, ORIGIN], url)
  }
})

t.test('BR1 the JWKS and the metadata may be read by a listed origin', async (t) => {
  const { inject } = await build(t, { env })
  for (const url of ['/.well-known/jwks.json', '/.well-known/oauth-authorization-server', '/.well-known/jwks.json/']) {
    const { statusCode, headers } = await inject({ url, headers: { origin: 'https://other.example.com' } })
    t.strictSame([statusCode, corsOf(headers)], [200, { 'access-control-allow-origin': 'https://other.example.com' }])
  }
})

t.test('BR1 another origin, another path and no origin get no CORS header', async (t) => {
  const { inject } = await build(t, { env })
  const asked = { 'access-control-request-method': 'POST' }
  for (const [method, url, headers, status] of [
    ['OPTIONS', '/token', { ...asked, origin: 'https://evil.example' }, 405],
    ['OPTIONS', '/token', { ...asked, origin: `${ORIGIN}.evil.example` }, 405],
    ['OPTIONS', '/token', { ...asked, origin: 'null' }, 405],
    ['OPTIONS', '/users', { ...asked, origin: ORIGIN }, 405],
    ['OPTIONS', '/introspect', { ...asked, origin: ORIGIN }, 405],
    ['GET', '/users/me', { origin: ORIGIN }, 401],
    ['GET', '/.well-known/jwks.json', {}, 200]
  ] as const) {
    const answer = await inject({ method, url, headers })
    t.strictSame([answer.statusCode, corsOf(answer.headers)], [status, {}], `${method} ${url}`)
  }
})

t.test('BR1 without the setting there is no CORS at all', async (t) => {
  const { inject } = await build(t, { env: remote })
  const answer = await inject({ url: '/.well-known/jwks.json', headers: { origin: ORIGIN } })
  t.strictSame([corsOf(answer.headers), answer.headers.vary], [{}, undefined])
})

/** The origin that may call the token endpoint, by its own account; undefined for none. */
async function allowedAt({ inject, token }: TestApp, origin: string): Promise<unknown[]> {
  const headers = { origin, 'access-control-request-method': 'POST' }
  const preflight = await inject({ method: 'OPTIONS', url: '/token', headers })
  const answer = await token({ grant_type: 'password', username: 'alice', password: 'wrong' }, { origin })
  return [preflight, answer].map((each) => corsOf(each.headers)['access-control-allow-origin'])
}

const HERE = [
  'http://localhost:4000',
  'http://localhost',
  'http://127.0.0.1:4000',
  'http://127.1.2.3',
  'http://[::1]:1'
]

t.test('BR1 on this machine, pages of every service on it may call without a setting', async (t) => {
  for (const issuer of [
    'http://localhost:3000',
    'http://127.0.0.1:3000',
    'http://[::1]:3000/auth',
    'https://localhost'
  ]) {
    const app = await build(t, { env: { LATCHKEY_ISSUER: issuer } })
    for (const origin of HERE) t.strictSame(await allowedAt(app, origin), [origin, origin], `${origin} at ${issuer}`)
    const { headers } = await app.inject({ url: '/.well-known/jwks.json', headers: { origin: HERE[0] as string } })
    t.strictSame(corsOf(headers), { 'access-control-allow-origin': HERE[0] }, 'and never with cookies')
    t.equal(headers.vary, 'Origin')
    for (const url of ['/users/me', '/introspect', '/revocations', '/docs/']) {
      const answer = await app.inject({ url, headers: { origin: HERE[0] as string } })
      t.strictSame(corsOf(answer.headers), {}, url)
    }
  }
})

t.test('BR1 on this machine, what only looks like an origin on it is none', async (t) => {
  const app = await build(t)
  for (const origin of [
    ORIGIN,
    'null',
    '',
    'https://localhost:4000',
    'http://localhost.example.com',
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
    t.strictSame(await allowedAt(app, origin), [undefined, undefined], origin)
})

t.test('BR1 where the issuer is not on this machine, origins on it are like all others', async (t) => {
  const app = await build(t, { env: { ...remote, ...env } })
  for (const origin of HERE) t.strictSame(await allowedAt(app, origin), [undefined, undefined], origin)
  t.strictSame(await allowedAt(app, ORIGIN), [ORIGIN, ORIGIN])
})
