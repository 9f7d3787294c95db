import * as oauth from 'oauth4webapi'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { freePort } from '../cli/process.ts'
import { createForge } from '../forge.ts'
import { build, createDatabase, ISSUER, PASSWORD, type TestApp } from '../helper.ts'

const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 10)
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const FAILED = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
const LOGIN = { grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'profile' }

/** Builds an app with a client `api` that may introspect, and a client `web` that may not. */
async function open(t: Test, at?: { url: string; dataDir: string }) {
  const app = await build(t, at === undefined ? {} : { at })
  const { clients } = app.app.auth
  const known = await clients.list({ after: null, limit: 10 })
  const add = async (id: string, scopes: string[]) => {
    // Another instance has already created the clients in this database.
    if (known.items.some((client) => client.id === id)) return ''
    const grantTypes = ['password', 'refresh_token']
    const input = { id, name: id, firstParty: true, grantTypes, scopes, defaultScopes: scopes }
    return (await clients.create(OPERATOR, input)).secret as string
  }
  const [api, web] = [await add('api', ['tokens:introspect']), await add('web', ['profile'])]
  await app.app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['api'] })
  const post = async (url: string, form: Record<string, string>, headers: Record<string, string> = {}) => {
    const payload = new URLSearchParams(form).toString()
    const response = await app.inject({ method: 'POST', url, headers: { ...FORM, ...headers }, payload })
    return { ...response, outcome: [response.statusCode, response.body && JSON.parse(response.body)] }
  }
  return {
    ...app,
    secrets: { api, web },
    enter: async (form = {}) => (await app.token({ ...LOGIN, ...form })).json(),
    me: async (token: string) => (await app.get('/users/me', token)).statusCode,
    refresh: (refresh_token: string) => app.token({ grant_type: 'refresh_token', refresh_token }),
    post,
    revoke: async (token: string, more = {}) => (await post('/revoke', { token, ...more })).outcome,
    introspect: async (token: string, more: Record<string, string> = { client_id: 'api', client_secret: api }) =>
      (await post('/introspect', { token, ...more })).outcome
  }
}

t.test('revoking a refresh token ends its session with the access tokens, and no other session [IR4]', async (t) => {
  const { enter, revoke, refresh, me, clock } = await open(t)
  const [mine, other] = [await enter(), await enter()]
  const next = (await refresh(mine.refresh_token)).json()
  t.strictSame(await revoke(next.refresh_token), [200, ''])
  t.strictSame([await me(mine.access_token), await me(next.access_token)], [401, 401])
  t.equal((await refresh(next.refresh_token)).statusCode, 400)
  t.equal(await me(other.access_token), 200)
  t.strictSame(await revoke(next.refresh_token), [200, ''], 'a revoked token')

  const renewed = (await refresh(other.refresh_token)).json()
  clock.advance(3000)
  t.strictSame(await revoke(other.refresh_token), [200, ''], 'a used token')
  t.equal((await refresh(renewed.refresh_token)).statusCode, 400)
})

t.test('revoking an access token ends no other token [IR4]', async (t) => {
  const { enter, revoke, refresh, me } = await open(t)
  const first = await enter()
  const second = (await refresh(first.refresh_token)).json()
  t.strictSame(await revoke(first.access_token, { token_type_hint: 'access_token' }), [200, ''])
  t.strictSame([await me(first.access_token), await me(second.access_token)], [401, 200])
  t.strictSame(await revoke(first.access_token, { token_type_hint: 'refresh_token' }), [200, ''], 'a revoked token')
  t.equal((await refresh(second.refresh_token)).statusCode, 200)
})

t.test('revoking an unknown or expired token is 200 [IR4]', async (t) => {
  const { enter, revoke, clock, app } = await open(t)
  const { access_token, refresh_token } = await enter()
  clock.advance(4000)
  for (const token of ['x', 'lkr_x', `${access_token}x`, `lkr_${'A'.repeat(80)}`, access_token, refresh_token])
    t.strictSame(await revoke(token), [200, ''], token)
  t.equal(await app.store.revocations.seq(), 0)
})

t.test('revoking the token of another client is refused, and the token stays valid [IR4]', async (t) => {
  const { enter, revoke, me, secrets } = await open(t)
  const { access_token, refresh_token } = await enter()
  const web = { client_id: 'web', client_secret: secrets.web }
  const refused = [400, { error: 'invalid_grant', error_description: 'The token belongs to another client' }]
  t.strictSame(await revoke(access_token, web), refused)
  t.strictSame(await revoke(refresh_token, web), refused)
  t.equal(await me(access_token), 200)
  const own = await enter(web)
  t.strictSame(await revoke(own.refresh_token), refused, 'by the client of /docs')
  t.strictSame(await revoke(own.refresh_token, { client_id: 'web' }), FAILED, 'without its secret')
  t.equal(await me(own.access_token), 200)
  t.strictSame(await revoke(own.refresh_token, web), [200, ''])
  t.equal(await me(own.access_token), 401)
})

t.test('a revocation that could not be stored is 503 [IR4]', async (t) => {
  const { app, enter, revoke, me } = await open(t)
  const { access_token, refresh_token } = await enter()
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const { end } = app.store.sessions
  const { revokeToken } = app.store.revocations
  Object.assign(app.store.sessions, { end: away })
  Object.assign(app.store.revocations, { revokeToken: away })
  for (const token of [access_token, refresh_token]) t.equal((await revoke(token))[0], 503)
  Object.assign(app.store.sessions, { end })
  Object.assign(app.store.revocations, { revokeToken })
  t.equal(await me(access_token), 200)
})

t.test('a token that is revoked on one instance is refused on the other at the next request [IR5]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const [one, two] = [await open(t, at), await open(t, at)]
  for (let round = 0; round < ROUNDS; round++) {
    const { access_token, refresh_token } = await one.enter()
    t.equal(await two.me(access_token), 200)
    await one.revoke(round % 2 === 0 ? access_token : refresh_token)
    t.equal(await two.me(access_token), 401)
    t.strictSame(await one.introspect(access_token), [200, { active: false }])
  }
})

t.test('a revoked token is refused until it expires, and after its entry was removed from the log [IR5]', async (t) => {
  const { app, enter, revoke, me, clock } = await open(t)
  const { access_token } = await enter()
  await revoke(access_token)
  for (const seconds of [299, 1, 1, 3358, 1, 62]) {
    clock.advance(seconds)
    await app.auth.removeExpired()
    t.equal(await me(access_token), 401)
  }
  t.strictSame((await app.store.revocations.since(0, 10)).entries, [])
})

t.test('introspection describes a valid token with its current rights (RFC 7662)', async (t) => {
  const { app, enter, introspect, createUser, clock } = await open(t)
  await createUser('root', ['admin'])
  const { access_token, refresh_token } = await enter({ username: 'root', scope: 'account users:read' })
  const { sub, jti, sid, iat, exp } = JSON.parse(Buffer.from(access_token.split('.')[1], 'base64url').toString())
  const common = { active: true, client_id: 'docs', sub, iss: ISSUER, username: 'root', sid }
  const access = { ...common, token_type: 'Bearer', aud: ISSUER, jti, iat, exp, roles: ['admin'] }
  t.strictSame(await introspect(access_token), [200, { ...access, scope: 'account users:read' }])
  const refresh = { ...common, iat, exp: iat + 3600, scope: 'account users:read' }
  t.strictSame(await introspect(refresh_token), [200, refresh])
  await app.auth.users.change(OPERATOR, sub, { roles: ['user'] })
  t.strictSame(await introspect(access_token), [200, { ...access, scope: 'account', roles: ['user'] }])
  clock.advance(300)
  t.strictSame(await introspect(access_token), [200, { active: false }])
  t.strictSame(await introspect(refresh_token), [200, { ...refresh, scope: 'account' }])
  await app.auth.users.change(OPERATOR, sub, { roles: [] })
  t.strictSame(await introspect(refresh_token), [200, { active: false }], 'a session without any scope')
})

t.test('every invalid token is {"active":false} and nothing else [IR2]', async (t) => {
  const world = await open(t)
  const { app, enter, introspect, refresh, revoke } = world
  const first = await enter()
  const next = (await refresh(first.refresh_token)).json()
  const forge = await createForge(world as unknown as TestApp, next.access_token)
  const revoked = await enter()
  await revoke(revoked.access_token)
  const ended = await enter()
  await revoke(ended.refresh_token)
  const invalid = [
    'x',
    'lkr_x',
    first.refresh_token,
    `${next.refresh_token}x`,
    `${next.access_token}x`,
    forge.token({ alg: 'none' }),
    forge.token({}, { aud: 'https://other.example' }),
    forge.token({}, { iss: 'https://other.example' }),
    forge.token({ typ: 'JWT' }),
    revoked.access_token,
    ended.access_token,
    ended.refresh_token
  ]
  for (const token of invalid) t.strictSame(await introspect(token), [200, { active: false }], token)
  t.equal((await introspect(next.refresh_token))[1].active, true)
  const { id } = await app.auth.users.find('alice')
  await app.auth.users.change(OPERATOR, id, { disabled: true })
  for (const token of [next.access_token, next.refresh_token])
    t.strictSame(await introspect(token), [200, { active: false }], 'the user is disabled')
})

t.test('only a client with its secret and the scope may introspect [IR1 CA1 CA2]', async (t) => {
  const { enter, introspect, post, secrets, app } = await open(t)
  const { access_token: token } = await enter()
  const unauthorized = [
    400,
    { error: 'unauthorized_client', error_description: 'The client may not introspect tokens' }
  ]
  t.strictSame(await introspect(token, {}), FAILED, 'no client')
  t.strictSame(await introspect(token, { client_id: 'docs' }), FAILED, 'a public client')
  t.strictSame(await introspect(token, { client_id: 'api' }), FAILED, 'no secret')
  t.strictSame(await introspect(token, { client_id: 'api', client_secret: 'wrong' }), FAILED, 'a wrong secret')
  t.strictSame(await introspect(token, { client_id: 'none', client_secret: 'wrong' }), FAILED, 'an unknown client')
  t.strictSame(
    await introspect(token, { client_id: 'api', client_secret: secrets.web }),
    FAILED,
    'the secret of another client'
  )
  t.strictSame(await introspect(token, { client_id: 'web', client_secret: secrets.web }), unauthorized)
  const refused = await post('/introspect', { token, client_id: 'api', client_secret: 'wrong' })
  t.equal(refused.headers['www-authenticate'], 'Basic realm="latchkey"')
  t.equal(refused.headers['cache-control'], 'no-store')
  await app.auth.clients.change(OPERATOR, 'api', { disabled: true })
  t.strictSame(await introspect(token), FAILED, 'a disabled client')
})

t.test(
  'the forms of revocation and introspection are read like that of the token endpoint [TE2 TE4 TE7 TE8]',
  async (t) => {
    const { inject, post, secrets } = await open(t)
    const api = { client_id: 'api', client_secret: secrets.api }
    for (const url of ['/revoke', '/introspect']) {
      const missing = [400, { error: 'invalid_request', error_description: 'The parameter token is missing' }]
      t.strictSame((await post(url, api)).outcome, missing)
      t.strictSame((await post(url, { ...api, token: '' })).outcome, missing)
      t.equal((await inject({ method: 'GET', url })).statusCode, 405)
      t.equal((await inject({ method: 'POST', url, payload: { token: 'x' } })).statusCode, 415)
      t.equal(
        (await inject({ method: 'POST', url: `${url}?token=x`, headers: FORM, payload: 'token=x' })).statusCode,
        400
      )
      const twice = await inject({ method: 'POST', url, headers: FORM, payload: 'token=x&token=y' })
      t.strictSame([twice.statusCode, twice.json().error], [400, 'invalid_request'])
    }
  }
)

t.test('oauth4webapi refreshes, revokes and introspects', async (t) => {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const clock = { now: Date.now, sleep: async () => {} }
  const { app, token } = await build(t, { env: { LATCHKEY_ISSUER: issuer }, clock })
  await app.listen({ host: '127.0.0.1', port })
  const grants = { grantTypes: ['password', 'refresh_token'], scopes: ['profile', 'tokens:introspect'] }
  const { secret } = await app.auth.clients.create(OPERATOR, { id: 'a-b_c', name: 'A', firstParty: true, ...grants })
  await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['a-b_c'] })
  const insecure = { [oauth.allowInsecureRequests]: true }
  const discovered = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure })
  const server = await oauth.processDiscoveryResponse(new URL(issuer), discovered)
  const client = { client_id: 'a-b_c' }
  const login = await token({ ...LOGIN, client_id: 'a-b_c', client_secret: secret as string })

  for (const auth of [oauth.ClientSecretBasic(secret as string), oauth.ClientSecretPost(secret as string)]) {
    const refreshed = await oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, auth, login.json().refresh_token, insecure)
    )
    t.match(refreshed.refresh_token, /^lkr_/)
    const ask = async (which: string) =>
      oauth.processIntrospectionResponse(
        server,
        client,
        await oauth.introspectionRequest(server, client, auth, which, insecure)
      )
    t.match(await ask(refreshed.access_token), { active: true, scope: 'profile', client_id: 'a-b_c' })
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(server, client, auth, refreshed.access_token, insecure)
    )
    t.strictSame(await ask(refreshed.access_token), { active: false })
    t.equal((await ask(refreshed.refresh_token as string)).active, true)
  }
})
