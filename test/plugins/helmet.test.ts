import t from 'tap'
import { build } from '../helper.ts'

const DATA = {
  'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY'
}

const plain = await build(t)
const secure = await build(t, {
  env: { LATCHKEY_ISSUER: 'https://id.example.com', LATCHKEY_CORS_ORIGINS: 'https://app.example.com' }
})

t.test('a browser shows no answer as a page or in a frame, and guesses no other type [BR2]', async (t) => {
  for (const [method, url] of [
    ['GET', '/'],
    ['GET', '/users/me/sessions'],
    ['POST', '/users'],
    ['GET', '/none'],
    ['PUT', '/token'],
    ['GET', '/health/live'],
    ['GET', '/openapi.json']
  ] as const) {
    const { headers } = await plain.inject({ method, url })
    t.match(headers, DATA, `${method} ${url}`)
    t.notOk(headers['strict-transport-security'], 'no header of TLS on plain HTTP')
    t.notOk(headers['x-powered-by'])
  }
})

t.test('an error before routing or in the HTTP parser is shown neither as a page nor in a frame [BR2]', async (t) => {
  const origin = await plain.app.listen({ host: '127.0.0.1', port: 0 })
  for (const [path, status] of [
    ['/%zz', 400],
    [`/${'x'.repeat(20_000)}`, 431]
  ] as const) {
    const response = await fetch(origin + path)
    t.equal(response.status, status)
    t.match(Object.fromEntries(response.headers), {
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      connection: 'close'
    })
  }
})

t.test('the answer to a preflight is protected like other answers [BR2]', async (t) => {
  const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' }
  const response = await secure.inject({ method: 'OPTIONS', url: '/token', headers })
  t.equal(response.statusCode, 204)
  t.match(response.headers, { ...DATA, 'cross-origin-resource-policy': String })
})

t.test('pages of other origins may load the JWKS and the metadata [BR2]', async (t) => {
  for (const url of ['/.well-known/jwks.json', '/.well-known/oauth-authorization-server'])
    t.equal((await plain.inject({ method: 'GET', url })).headers['cross-origin-resource-policy'], 'cross-origin', url)
})

t.test(
  'only pages of the sign-in, and the page to which /docs returns, may be opened by pages of other origins [BR2]',
  async (t) => {
    const policies = Object.entries({
      '/authorize': 'unsafe-none',
      '/sign-in': 'unsafe-none',
      '/consent?id=x': 'unsafe-none',
      '/docs/static/oauth2-redirect.html?code=x': 'unsafe-none',
      '/docs': 'same-origin-allow-popups',
      '/docs/static/index.html?oauth2-redirect.html': 'same-origin-allow-popups',
      '/account': 'same-origin',
      '/logout': 'same-origin',
      '/users/me': 'same-origin'
    })
    for (const [url, policy] of policies)
      t.equal((await plain.inject({ url })).headers['cross-origin-opener-policy'], policy, url)
  }
)

t.test('with an https issuer, browsers must use TLS from then on [BR2]', async (t) => {
  const { headers } = await secure.inject({ method: 'GET', url: '/' })
  t.equal(headers['strict-transport-security'], 'max-age=31536000; includeSubDomains')
})
