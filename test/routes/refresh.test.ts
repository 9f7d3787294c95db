import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { build, PASSWORD, type TestApp } from '../helper.ts'

// The rules of the refresh grant are tested in test/domain/refresh.test.ts.

const REFUSED = [400, { error: 'invalid_grant', error_description: 'The refresh token is not valid' }]
const LEEWAY = 60

const { app, token, get, clock } = await build(t)
const enter = async (form: Record<string, string> = {}) =>
  (await token({ grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'profile', ...form })).json()
const refresh = (refresh_token: string, more: Record<string, string> = {}) =>
  token({ grant_type: 'refresh_token', refresh_token, ...more })
const outcome = (response: Awaited<ReturnType<TestApp['token']>>) => [response.statusCode, response.json()]
const me = async (accessToken: string) => (await get('/users/me', accessToken)).statusCode

t.test('a refresh returns new tokens, and a replay ends the session with its access tokens [RF1 RF2]', async (t) => {
  const first = await enter()
  t.match(first.refresh_token, /^lkr_[\w-]{80}$/)
  const response = await refresh(first.refresh_token)
  const { access_token, refresh_token, ...rest } = response.json()
  t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope: 'profile' }])
  t.equal(response.headers['cache-control'], 'no-store')
  t.match(refresh_token, /^lkr_[\w-]{80}$/)
  t.not(refresh_token, first.refresh_token)
  t.strictSame([await me(access_token), await me(first.access_token)], [200, 200])
  clock.advance(LEEWAY)
  t.strictSame(outcome(await refresh(first.refresh_token)), REFUSED)
  t.strictSame(outcome(await refresh(refresh_token)), REFUSED)
  t.strictSame([await me(access_token), await me(first.access_token)], [401, 401])
})

t.test('a retry within the leeway returns the same successor [RF6]', async (t) => {
  const { refresh_token } = await enter()
  const lost = (await refresh(refresh_token)).json()
  t.equal((await refresh(refresh_token)).json().refresh_token, lost.refresh_token)
})

t.test('a refresh token is no access token, and an access token is no refresh token [RF8]', async (t) => {
  const { access_token, refresh_token } = await enter()
  t.equal(await me(refresh_token), 401)
  t.strictSame(outcome(await refresh(access_token)), REFUSED)
})

t.test('a client refreshes with its own credentials, if it has the grant [CA5 CA6]', async (t) => {
  const add = async (id: string, grantTypes: string[]) => {
    const client = { id, name: id, grantTypes, firstParty: true, scopes: ['account', 'profile'] }
    const { secret } = await app.auth.clients.create(OPERATOR, client)
    return { client_id: id, client_secret: secret as string }
  }
  const web = await add('web', ['password', 'refresh_token'])
  const once = await add('once', ['password'])
  const { refresh_token: value } = await enter(web)
  const failed = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
  t.strictSame(outcome(await refresh(value, { client_id: 'web' })), failed)
  t.strictSame(outcome(await refresh(value, { ...web, client_secret: `${web.client_secret}x` })), failed)
  t.strictSame(outcome(await refresh(value)), REFUSED, 'a request without a client is one of the client of /docs')
  t.equal((await refresh(value, web)).statusCode, 200)

  const short = await enter({ ...once, scope: 'account' })
  t.notOk('refresh_token' in short, 'a client without the grant gets no refresh token')
  const { items } = (await get('/users/me/sessions', short.access_token)).json()
  const { authenticated_at, expires_at } = items.find((session: { client_id: string }) => session.client_id === 'once')
  t.equal(Date.parse(expires_at) - Date.parse(authenticated_at), 300_000, 'its session ends with its access token')
  t.strictSame(outcome(await refresh(value, once)), [
    400,
    { error: 'unauthorized_client', error_description: 'The client may not use this grant type' }
  ])
})

t.test('the form of a refresh is read like that of other grants [TE2 TE4 TE5]', async (t) => {
  const { refresh_token: value } = await enter()
  const missing = { error: 'invalid_request', error_description: 'The parameter refresh_token is missing' }
  t.strictSame(outcome(await token('grant_type=refresh_token')), [400, missing])
  t.strictSame(outcome(await token('grant_type=refresh_token&refresh_token=')), [400, missing])
  const twice = await token(`grant_type=refresh_token&refresh_token=${value}&refresh_token=${value}`)
  t.strictSame([twice.statusCode, twice.json().error], [400, 'invalid_request'])
  t.equal((await token(`grant_type=refresh_token&refresh_token=${value}&unknown=x`)).statusCode, 200)
})

t.test('a refresh while the database is away is 503, and the token can be used afterwards', async (t) => {
  const { refresh_token } = await enter()
  const { sessions } = app.store
  const { rotate } = sessions
  sessions.rotate = () =>
    Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  t.equal((await refresh(refresh_token)).statusCode, 503)
  sessions.rotate = rotate
  t.equal((await refresh(refresh_token)).statusCode, 200)
})
