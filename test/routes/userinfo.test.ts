import { decodeJwt } from 'jose'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { FORM } from '../http.ts'
import { pkce } from '../jar.ts'
import { openSignIn } from './sign-in-world.ts'

const ORIGIN = 'https://spa.example'
const ORDERS = 'https://orders.example'
const world = await openSignIn(t, { env: { LATCHKEY_CORS_ORIGINS: ORIGIN } })
const { app, inject, register, codeOf, redeem } = world
const scopes = [{ name: 'orders:read', description: '' }]
await app.auth.resources.create(OPERATOR, { id: 'orders', identifier: ORDERS, name: 'Orders', scopes })
await register('oidc', { firstParty: true, scopes: ['openid', 'profile', 'email', 'account'] })
await register('orders-app', { firstParty: true, scopes: ['openid'], resources: ['orders'] })
const { items } = await app.auth.users.list({ after: null, limit: 10 }, {})
const alice = items.find(({ username }) => username === 'alice')?.id as string

/** Signs alice in, and returns her tokens. */
async function tokens(scope: string, client = 'oidc'): Promise<{ access_token: string; id_token: string }> {
  const { verifier, challenge } = pkce()
  const code = await codeOf({ client_id: client, scope, code_challenge: challenge })
  return (await redeem(code, verifier, { client_id: client })).json()
}
const get = (token: string | null, headers: object = {}) =>
  inject({
    url: '/userinfo',
    headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers }
  })
const post = (payload: string | undefined, headers: Record<string, string> = {}) =>
  inject({
    method: 'POST',
    url: '/userinfo',
    headers: { ...(payload === undefined ? {} : { 'content-type': FORM }), ...headers },
    ...(payload === undefined ? {} : { payload })
  })

t.test('the claims are those of the scopes of the token (OIDC Core §5.4)', async (t) => {
  const claims = async (scope: string) => (await get((await tokens(scope)).access_token)).json()
  t.strictSame(await claims('openid'), { sub: alice })
  const bare = await claims('openid profile email')
  t.match(bare, { sub: alice, preferred_username: 'alice', updated_at: Number })
  t.strictSame(Object.keys(bare), ['sub', 'preferred_username', 'updated_at'], 'a claim without a value is missing')
  await app.auth.users.change(OPERATOR, alice, { fullName: 'Alice Liddell', email: 'alice@example.com' })
  const { updatedAt } = await app.auth.users.get(alice)
  const [profile, email] = [
    { name: 'Alice Liddell', preferred_username: 'alice', updated_at: Math.floor(updatedAt / 1000) },
    { email: 'alice@example.com', email_verified: false }
  ]
  t.strictSame(await claims('openid profile'), { sub: alice, ...profile })
  t.strictSame(await claims('openid email'), { sub: alice, ...email })
  t.strictSame(await claims('openid profile email'), { sub: alice, ...profile, ...email })
})

t.test('a token for any audience is accepted if it has the scope openid (OIDC Core §5.3)', async (t) => {
  const { access_token: token } = await tokens('openid', 'orders-app')
  t.equal(decodeJwt(token).aud, ORDERS)
  t.strictSame((await get(token)).json(), { sub: alice })
  const me = await inject({ url: '/users/me', headers: { authorization: `Bearer ${token}` } })
  t.equal(me.statusCode, 401, 'every other route needs a token for Latchkey')
})

t.test('a token without openid gets 403, and every other text 401, with a challenge (RFC 6750 §3)', async (t) => {
  const { access_token: token, id_token: idToken } = await tokens('openid profile')
  for (const send of [(text: string | null) => get(text), sendInForm]) {
    const lacking = await send((await tokens('profile')).access_token)
    t.equal(lacking.statusCode, 403)
    t.match(lacking.headers['www-authenticate'], 'error="insufficient_scope"')
    t.match(lacking.headers['www-authenticate'], 'scope="openid"')
    t.equal((await send(null)).headers['www-authenticate'], 'Bearer realm="latchkey"')
    for (const wrong of [idToken, `${token}x`, 'x']) {
      const refused = await send(wrong)
      t.equal(refused.statusCode, 401)
      t.match(refused.headers['www-authenticate'], 'error="invalid_token"')
    }
  }
  const own = await tokens('openid')
  await app.auth.revoke(OPERATOR, { client: await app.auth.clients.get('oidc'), token: own.access_token })
  t.equal((await get(own.access_token)).statusCode, 401, 'a revoked token')
})

/** Sends a token in the form. */
function sendInForm(token: string | null) {
  return post(token === null ? 'a=b' : new URLSearchParams({ access_token: token }).toString())
}

t.test('POST takes the token in the header or in the form, and not in two places or in the query', async (t) => {
  const { access_token: token } = await tokens('openid')
  const authorization = `Bearer ${token}`
  for (const response of [
    await sendInForm(token),
    await post(undefined, { authorization }),
    await post('', { authorization }),
    await post('a=b', { authorization })
  ]) {
    t.strictSame([response.statusCode, response.json()], [200, { sub: alice }])
    t.equal(response.headers['cache-control'], 'no-store')
  }
  const twice = await post(`access_token=${token}`, { authorization })
  t.match([twice.statusCode, twice.headers['www-authenticate']], [400, /error="invalid_request"/])
  t.equal((await post(`access_token=${token}&access_token=${token}`)).statusCode, 400)
  t.equal((await inject({ url: `/userinfo?access_token=${token}` })).statusCode, 401)
  t.equal((await inject({ method: 'POST', url: `/userinfo?access_token=${token}` })).statusCode, 400)
  const json = { payload: { access_token: token } }
  t.equal((await inject({ method: 'POST', url: '/userinfo', ...json })).statusCode, 415)
})

t.test('the document names the same flows for both methods', async (t) => {
  const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, { security: object[] }>> }
  const security = [{ code: ['openid'] }, { password: ['openid'] }]
  t.match(paths['/userinfo'], { get: { security }, post: { security } })
})

t.test('browser apps of allowed origins may call it, like /token', async (t) => {
  const { access_token: token } = await tokens('openid')
  t.equal((await get(token, { origin: ORIGIN })).headers['access-control-allow-origin'], ORIGIN)
  t.equal((await get(token, { origin: 'https://evil.example' })).headers['access-control-allow-origin'], undefined)
  const preflight = await inject({
    method: 'OPTIONS',
    url: '/userinfo',
    headers: {
      origin: ORIGIN,
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'authorization'
    }
  })
  t.equal(preflight.statusCode, 204)
  t.match(preflight.headers, {
    'access-control-allow-methods': /GET.*POST/,
    'access-control-allow-headers': 'authorization'
  })
})
