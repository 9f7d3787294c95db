import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { placeholderPath } from '../forge.ts'
import { build } from '../helper.ts'
import { asOAuthError, asProblem, LOGIN, refusal, sendForm, sharedApp } from '../http.ts'
import { compareAll } from '../rows.ts'

const NOT_ALLOWED = 'The path does not have this method'

t.test('an unknown path is a problem document: 404', async (t) => {
  const { inject } = await sharedApp()
  await compareAll(t, async (row) => {
    for (const url of ['/none', '/users/me/none', '/tokens', '/USERS/ME', '/users//me', '/users/me;x=1'])
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS'] as const)
        row(`${method} ${url}`, refusal(await inject({ method, url })), asProblem(404, 'The path does not exist'))
  })
  const head = await inject({ method: 'HEAD', url: '/none' })
  t.strictSame([head.statusCode, head.headers['content-type'], head.body], [404, asProblem(404, '').type, ''])
})

t.test('a path outside of the folder of the pages is 404', async (t) => {
  const { inject } = await sharedApp()
  for (const path of ['nope.js', '..%2f..%2fpackage.json', '%2e%2e/package.json', '/etc/passwd', '.git', '']) {
    const { statusCode, body } = await inject({ url: `/docs/static/${path}` })
    t.strictSame([statusCode, JSON.parse(body)], [404, asProblem(404, 'The path does not exist').body], path)
  }
})

t.test('a wrong method is 405 on every route, with the allowed methods', async (t) => {
  const { app, inject } = await sharedApp()
  const paths = app.swagger().paths as Record<string, Record<string, unknown>>
  const routes: Record<string, string[]> = { '/openapi.json': ['GET'], '/docs': ['GET'] }
  // These answer with pages.
  const { '/authorize': _authorize, '/logout': _logout, ...others } = paths
  for (const [path, operations] of Object.entries(others))
    routes[placeholderPath(path)] = Object.keys(operations).map((name) => name.toUpperCase())
  t.match(routes, {
    '/token': ['POST'],
    '/users/me': ['GET', 'PATCH'],
    '/users': ['GET', 'POST'],
    '/health/ready': ['GET']
  })

  await compareAll(t, async (row) => {
    for (const [path, methods] of Object.entries(routes)) {
      const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : [])].sort()
      const isOAuth = ['/token', '/revoke', '/introspect'].includes(path)
      const { body, ...rest } = isOAuth
        ? asOAuthError(405, 'invalid_request', NOT_ALLOWED)
        : asProblem(405, NOT_ALLOWED)
      const refused = async (method: string, url: string) => {
        const response = await inject({ method: method as 'GET', url })
        row(
          `${method} ${url}`,
          { ...refusal(response), allow: response.headers.allow },
          { ...rest, body: method === 'HEAD' ? '' : body, allow: allow.join(', ') }
        )
      }
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])
        if (!allow.includes(method)) await refused(method, path)
      await refused('PUT', `${path}?x=1`)
      if (path !== '/') await refused('PUT', `${path}/`)
    }
  })
})

t.test('a path is decoded once, for the routes and for the refusal of a wrong method', async (t) => {
  const { app, inject, login } = await sharedApp()
  const token = await login('admin', 'clients:read')
  await app.auth.clients.create(OPERATOR, { id: 'a%b#c/d', name: 'x' })
  const headers = { authorization: `Bearer ${token}` }
  t.equal((await inject({ url: '/clients/a%25b%23c%2Fd', headers })).json().client_id, 'a%b#c/d')
  const allow = 'DELETE, GET, HEAD, PATCH'
  await compareAll(t, async (row) => {
    for (const [method, url, status, expected] of [
      ['DELETE', '/users/%23', 404],
      ['DELETE', '/users/%3F', 404],
      ['PUT', '/users/%2F', 404],
      ['PUT', '/users%2Fme', 404],
      ['PUT', '/%2574oken', 404],
      ['POST', '/clients/a%25b', 405, allow],
      ['POST', '/clients/%2523', 405, allow],
      ['POST', '/clients/a%2Fb', 405, allow],
      ['PUT', '/roles/a%23b', 404],
      ['PUT', 'http://x/users/me', 405, 'GET, HEAD, PATCH']
    ] as const) {
      const { statusCode, headers } = await inject({ method, url })
      row(`${method} ${url}`, [statusCode, headers.allow], [status, expected])
    }
  })
})

t.test('a path of a client, role, resource, user or key that cannot exist is 404', async (t) => {
  const { inject } = await sharedApp()
  for (const url of [
    '/clients/%C3%A4',
    '/clients/a%20b',
    `/clients/${'a'.repeat(256)}`,
    '/roles/Admin',
    '/resources/a%2Fb',
    '/users/1',
    '/keys/x/retire',
    '/clients/a/secrets/1'
  ])
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const)
      t.strictSame(
        refusal(await inject({ method, url })),
        asProblem(404, 'The path does not exist'),
        `${method} ${url}`
      )
})

t.test('a wrong method is refused before the body is read and the caller is checked', async (t) => {
  const { inject } = await sharedApp()
  for (const [method, url] of [
    ['PUT', '/users/me'],
    ['PUT', '/users'],
    ['PATCH', '/token']
  ] as const) {
    for (const payload of ['{', 'x'.repeat(100_000)]) {
      const response = await inject({ method, url, payload, headers: { 'content-type': 'application/json' } })
      t.equal(response.statusCode, 405, `${method} ${url}`)
    }
  }
})

t.test('another spelling of a path is the same path, for a wrong method too', async (t) => {
  const app = await sharedApp()
  const body = new URLSearchParams(LOGIN).toString()
  for (const url of ['/token/', '/%74oken', '/tok%65n/']) {
    t.equal((await sendForm(app, body, { url })).statusCode, 200, url)
    const refused = await sendForm(app, 'grant_type=x', { url })
    t.strictSame(refusal(refused), asOAuthError(400, 'unsupported_grant_type', 'The grant type is not supported'), url)
    const response = await app.inject({ method: 'GET', url })
    t.strictSame([response.statusCode, response.headers.allow], [405, 'POST'], url)
    t.strictSame(refusal(response), asOAuthError(405, 'invalid_request', NOT_ALLOWED), url)
  }
  const token = await app.login('alice')
  for (const url of ['/users/me/', '/users/m%65', '/%75sers/me/'])
    t.strictSame((await app.get(url, token)).json(), (await app.get('/users/me', token)).json(), url)
})

t.test('HEAD answers like GET, without a body', async (t) => {
  const { inject, login } = await sharedApp()
  const authorization = `Bearer ${await login('alice')}`
  const seen = ({ statusCode, headers }: LightMyRequestResponse) => ({
    statusCode,
    type: headers['content-type'],
    cache: headers['cache-control'],
    challenge: headers['www-authenticate']
  })
  const urls = ['/', '/health/ready', '/.well-known/jwks.json', '/openapi.json', '/users/me', '/users']
  await compareAll(t, async (row) => {
    for (const url of urls) {
      for (const [name, headers] of Object.entries({ anonymous: {}, alice: { authorization } })) {
        const head = await inject({ method: 'HEAD', url, headers })
        const get = await inject({ method: 'GET', url, headers })
        row(`${url} as ${name}`, { ...seen(head), body: head.body }, { ...seen(get), body: '' })
      }
    }
  })
})

const SPOOFED = {
  host: 'evil.example',
  forwarded: 'for=198.51.100.1;host=evil.example;proto=https',
  'x-forwarded-for': '198.51.100.1',
  'x-forwarded-host': 'evil.example',
  'x-forwarded-proto': 'https',
  'x-forwarded-port': '444',
  'x-forwarded-prefix': '/evil',
  'x-original-url': '/users',
  'x-rewrite-url': '/users',
  'x-http-method-override': 'DELETE'
}

/** Where the issuer is on a loopback host, another `Host` is refused. */
const REMOTE = { LATCHKEY_ISSUER: 'http://id.example.com', LATCHKEY_INSECURE_HTTP: 'true' }
const issuer = REMOTE.LATCHKEY_ISSUER

for (const proxies of ['', '127.0.0.1']) {
  const from = proxies === '' ? 'without a trusted proxy' : 'from a trusted proxy, except for the address'
  t.test(`headers that name another host, path or method have no effect, ${from} [HT10]`, async (t) => {
    const app = await build(t, { env: { ...REMOTE, LATCHKEY_TRUSTED_PROXIES: proxies } })
    const token = await app.login('alice')
    const headers = { authorization: `Bearer ${token}` }
    for (const url of [
      '/',
      '/.well-known/oauth-authorization-server',
      '/openapi.json',
      '/users/me',
      '/none',
      '/users'
    ]) {
      const plain = await app.inject({ method: 'GET', url, headers })
      const spoofed = await app.inject({ method: 'GET', url, headers: { ...headers, ...SPOOFED } })
      t.strictSame([spoofed.statusCode, spoofed.body], [plain.statusCode, plain.body], url)
      t.notMatch(JSON.stringify(spoofed.headers), /evil/, url)
    }
    t.equal((await app.inject({ method: 'GET', url: '/' })).json().links.token, `${issuer}/token`)

    const addresses: (string | null)[] = []
    const { open } = app.app.store.sessions
    app.app.store.sessions.open = (caller, opening) => {
      addresses.push(opening.session.address)
      return open(caller, opening)
    }
    const response = await app.token(LOGIN, SPOOFED)
    const claims = JSON.parse(Buffer.from(response.json().access_token.split('.')[1], 'base64url').toString())
    t.strictSame([claims.iss, claims.aud], [issuer, issuer])
    t.strictSame(addresses, [proxies === '' ? '127.0.0.1' : '198.51.100.1'])
  })
}
