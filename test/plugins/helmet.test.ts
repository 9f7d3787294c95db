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

t.test('BR2 every answer says that it is data: never a page, in no frame, of no other type', async (t) => {
  const { inject } = await build(t)
  for (const [method, url] of [
    ['GET', '/'],
    ['GET', '/users/me'],
    ['POST', '/users'],
    ['GET', '/none'],
    ['PUT', '/token'],
    ['GET', '/health/live'],
    ['GET', '/openapi.json']
  ] as const) {
    const { headers } = await inject({ method, url })
    t.match(headers, DATA, `${method} ${url}`)
    t.notOk(headers['strict-transport-security'], 'nothing of TLS where there is none')
    t.notOk(headers['x-powered-by'])
  }
})

t.test('BR2 so does the answer to what is refused before it is routed, and by the HTTP parser', async (t) => {
  const { app } = await build(t)
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
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

t.test('BR2 so does the answer to a preflight', async (t) => {
  const { inject } = await build(t, { env: { LATCHKEY_CORS_ORIGINS: 'https://app.example.com' } })
  const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'POST' }
  const response = await inject({ method: 'OPTIONS', url: '/token', headers })
  t.equal(response.statusCode, 204)
  t.match(response.headers, { ...DATA, 'cross-origin-resource-policy': String })
})

t.test('BR2 what other origins read by CORS says so', async (t) => {
  const { inject } = await build(t)
  for (const url of ['/.well-known/jwks.json', '/.well-known/oauth-authorization-server'])
    t.equal((await inject({ method: 'GET', url })).headers['cross-origin-resource-policy'], 'cross-origin', url)
})

t.test('BR2 with an https issuer browsers are told to stay with it', async (t) => {
  const { inject } = await build(t, { env: { LATCHKEY_ISSUER: 'https://id.example.com' } })
  t.equal(
    (await inject({ method: 'GET', url: '/' })).headers['strict-transport-security'],
    'max-age=31536000; includeSubDomains'
  )
})
