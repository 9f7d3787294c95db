import * as oauth from 'oauth4webapi'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { freePort } from '../cli/process.ts'
import { createForge } from '../forge.ts'
import { build, createDatabase, type Database, ISSUER, onOneDatabase, PASSWORD, type TestApp } from '../helper.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const FAILED = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
const LOGIN = { grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'profile' }

/** An app with a client `api` that may introspect, and one `web` that may not. */
async function open(t: Test, options: { database?: Database; at?: { url: string; dataDir: string } } = {}) {
  const app = await build(t, options)
  const { clients } = app.app.auth
  const known = await clients.list({ after: null, limit: 10 })
  const add = async (id: string, scopes: string[]) => {
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

onOneDatabase(
  t,
  'a refresh token that is revoked ends its session with its access tokens, and no other [IR4]',
  async (t, database) => {
    const { enter, revoke, refresh, me, clock } = await open(t, { database })
    const [mine, other] = [await enter(), await enter()]
    const next = (await refresh(mine.refresh_token)).json()
    t.strictSame(await revoke(next.refresh_token), [200, ''])
    t.strictSame([await me(mine.access_token), await me(next.access_token)], [401, 401])
    t.equal((await refresh(next.refresh_token)).statusCode, 400)
    t.equal(await me(other.access_token), 200)
    t.strictSame(await revoke(next.refresh_token), [200, ''], 'once more')

    const renewed = (await refresh(other.refresh_token)).json()
    clock.advance(3000)
    t.strictSame(await revoke(other.refresh_token), [200, ''], 'one that was used before')
    t.equal((await refresh(renewed.refresh_token)).statusCode, 400)
  }
)

onOneDatabase(t, 'an access token that is revoked ends alone [IR4]', async (t, database) => {
  const { enter, revoke, refresh, me } = await open(t, { database })
  const first = await enter()
  const second = (await refresh(first.refresh_token)).json()
  t.strictSame(await revoke(first.access_token, { token_type_hint: 'access_token' }), [200, ''])
  t.strictSame([await me(first.access_token), await me(second.access_token)], [401, 200])
  t.strictSame(await revoke(first.access_token, { token_type_hint: 'refresh_token' }), [200, ''], 'once more')
  t.equal((await refresh(second.refresh_token)).statusCode, 200)
})

t.test('what is unknown or good no more is revoked already: 200 [IR4]', async (t) => {
  const { enter, revoke, clock, app } = await open(t)
  const { access_token, refresh_token } = await enter()
  clock.advance(4000)
  for (const token of ['x', 'lkr_x', `${access_token}x`, `lkr_${'A'.repeat(80)}`, access_token, refresh_token])
    t.strictSame(await revoke(token), [200, ''], token)
  t.equal(await app.store.revocations.seq(), 0)
})

t.test('another client’s token is refused, and stays good [IR4]', async (t) => {
  const { enter, revoke, me, secrets } = await open(t)
  const { access_token, refresh_token } = await enter()
  const web = { client_id: 'web', client_secret: secrets.web }
  const refused = [400, { error: 'invalid_grant', error_description: 'The token belongs to another client' }]
  t.strictSame(await revoke(access_token, web), refused)
  t.strictSame(await revoke(refresh_token, web), refused)
  t.equal(await me(access_token), 200)
  const own = await enter(web)
  t.strictSame(await revoke(own.refresh_token), refused, 'nor by the client of /docs')
  t.strictSame(await revoke(own.refresh_token, { client_id: 'web' }), FAILED, 'CA5')
  t.equal(await me(own.access_token), 200)
  t.strictSame(await revoke(own.refresh_token, web), [200, ''])
  t.equal(await me(own.access_token), 401)
})

t.test('never 200 when it could not be stored [IR4]', async (t) => {
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

onOneDatabase(
  t,
  'what is revoked on one instance is dead on the other at the next request [IR5]',
  async (t, database) => {
    const at = await createDatabase(t, database)
    const [one, two] = [await open(t, { at }), await open(t, { at })]
    for (let round = 0; round < 50; round++) {
      const { access_token, refresh_token } = await one.enter()
      t.equal(await two.me(access_token), 200)
      await one.revoke(round % 2 === 0 ? access_token : refresh_token)
      t.equal(await two.me(access_token), 401)
      t.strictSame(await one.introspect(access_token), [200, { active: false }])
    }
  }
)

onOneDatabase(
  t,
  'a revoked token stays dead until its end, and after the log has forgotten it [IR5]',
  async (t, database) => {
    const { app, enter, revoke, me, clock } = await open(t, { database })
    const { access_token } = await enter()
    await revoke(access_token)
    for (const seconds of [299, 1, 1, 3358, 1, 62]) {
      clock.advance(seconds)
      await app.auth.removeExpired()
      t.equal(await me(access_token), 401)
    }
    t.strictSame((await app.store.revocations.since(0, 10)).entries, [], 'the log has forgotten it')
  }
)

onOneDatabase(t, 'a good token is told as it is now (RFC 7662)', async (t, database) => {
  const { app, enter, introspect, createUser, clock } = await open(t, { database })
  await createUser('root', ['admin'])
  const { access_token, refresh_token } = await enter({ username: 'root', scope: 'profile users:read' })
  const { sub, jti, sid, iat, exp } = JSON.parse(Buffer.from(access_token.split('.')[1], 'base64url').toString())
  const common = { active: true, client_id: 'docs', sub, iss: ISSUER, username: 'root', sid }
  const access = { ...common, token_type: 'Bearer', aud: ISSUER, jti, iat, exp, roles: ['admin'] }
  t.strictSame(await introspect(access_token), [200, { ...access, scope: 'profile users:read' }])
  const refresh = { ...common, iat, exp: iat + 3600, scope: 'profile users:read' }
  t.strictSame(await introspect(refresh_token), [200, refresh])
  await app.auth.users.change(OPERATOR, sub, { roles: ['user'] })
  t.strictSame(await introspect(access_token), [200, { ...access, scope: 'profile', roles: ['user'] }])
  clock.advance(300)
  t.strictSame(await introspect(access_token), [200, { active: false }])
  t.strictSame(await introspect(refresh_token), [200, { ...refresh, scope: 'profile' }])
  await app.auth.users.change(OPERATOR, sub, { roles: [] })
  t.strictSame(await introspect(refresh_token), [200, { active: false }], 'good for nothing')
})

t.test('every token that is not good is {"active":false} and nothing else [IR2]', async (t) => {
  const world = await open(t)
  const { app, enter, introspect, refresh, revoke, clock } = world
  const first = await enter()
  const next = (await refresh(first.refresh_token)).json()
  const forge = await createForge(world as unknown as TestApp, next.access_token)
  const revoked = await enter()
  await revoke(revoked.access_token)
  const ended = await enter()
  await revoke(ended.refresh_token)
  const bad = [
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
  for (const token of bad) t.strictSame(await introspect(token), [200, { active: false }], token)
  t.equal((await introspect(next.refresh_token))[1].active, true)
  const { id } = await app.auth.users.find('alice')
  await app.auth.users.change(OPERATOR, id, { disabled: true })
  for (const token of Object.values(next).slice(0, 1))
    t.strictSame(await introspect(String(token)), [200, { active: false }])
  t.strictSame(await introspect(next.refresh_token), [200, { active: false }])
  clock.advance(1)
})

t.test('only a client with its secret and the scope may ask [IR1 CA1 CA2]', async (t) => {
  const { enter, introspect, post, secrets, app } = await open(t)
  const { access_token: token } = await enter()
  const unauthorized = [
    400,
    { error: 'unauthorized_client', error_description: 'The client may not introspect tokens' }
  ]
  t.strictSame(await introspect(token, {}), FAILED, 'nobody')
  t.strictSame(await introspect(token, { client_id: 'docs' }), FAILED, 'a public client')
  t.strictSame(await introspect(token, { client_id: 'api' }), FAILED, 'without its secret')
  t.strictSame(await introspect(token, { client_id: 'api', client_secret: 'wrong' }), FAILED)
  t.strictSame(await introspect(token, { client_id: 'none', client_secret: 'wrong' }), FAILED, 'like an unknown one')
  t.strictSame(await introspect(token, { client_id: 'api', client_secret: secrets.web }), FAILED, 'another’s secret')
  t.strictSame(await introspect(token, { client_id: 'web', client_secret: secrets.web }), unauthorized)
  const refused = await post('/introspect', { token, client_id: 'api', client_secret: 'wrong' })
  t.equal(refused.headers['www-authenticate'], 'Basic realm="latchkey"')
  t.equal(refused.headers['cache-control'], 'no-store')
  await app.auth.clients.change(OPERATOR, 'api', { disabled: true })
  t.strictSame(await introspect(token), FAILED, 'a disabled one')
})

t.test('Basic credentials work form-encoded and raw; two methods at once are refused [CA3 CA4]', async (t) => {
  const { app, post, enter } = await open(t)
  const { access_token: token } = await enter()
  const id = 'api+%~:!x'
  const { secret } = await app.auth.clients.create(OPERATOR, {
    id,
    name: 'Odd',
    grantTypes: [],
    scopes: ['tokens:introspect']
  })
  const basic = (name: string, value: string) => ({
    authorization: `Basic ${Buffer.from(`${name}:${value}`).toString('base64')}`
  })
  const encode = (text: string) =>
    new URLSearchParams({ '': text }).toString().slice(1).replaceAll('-', '%2D').replaceAll('_', '%5F')
  const mayAsk = (...introspectionClients: string[]) =>
    app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients })
  await mayAsk(id)
  const encoded = basic(encode(id), encode(secret as string))
  t.equal((await post('/introspect', { token }, encoded)).json().active, true)
  const raw = await app.auth.clients.create(OPERATOR, {
    id: 'raw+%~x',
    name: 'Raw',
    grantTypes: [],
    scopes: ['tokens:introspect']
  })
  await mayAsk('raw+%~x')
  const asItIs = basic('raw+%~x', raw.secret as string)
  t.equal((await post('/introspect', { token }, asItIs)).json().active, true)
  const both = await post('/introspect', { token, client_secret: raw.secret as string }, asItIs)
  t.strictSame([both.statusCode, both.json().error], [400, 'invalid_request'])
  const other = await post('/introspect', { token, client_id: 'api' }, asItIs)
  t.strictSame([other.statusCode, other.json().error], [400, 'invalid_request'])
  for (const authorization of ['Basic', 'Basic !', 'Basic eA==', `Basic ${Buffer.from('api').toString('base64')}`])
    t.strictSame((await post('/introspect', { token }, { authorization })).outcome, FAILED, authorization)
})

t.test(
  'revocation and introspection read their forms as strictly as the token endpoint [TE2 TE3 TE7 TE8]',
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
