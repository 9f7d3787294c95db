import t from 'tap'
import { build } from '../helper.ts'

const ORIGIN = 'https://app.example.com'
const env = { LATCHKEY_CORS_ORIGINS: `${ORIGIN}, https://other.example.com` }
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
    'access-control-allow-headers': 'Authorization, Content-Type',
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
  const { inject } = await build(t)
  const answer = await inject({ url: '/.well-known/jwks.json', headers: { origin: ORIGIN } })
  t.strictSame([corsOf(answer.headers), answer.headers.vary], [{}, undefined])
})
