import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import t from 'tap'
import { build, ISSUER } from '../helper.ts'
import { LOGIN, sharedApp } from '../http.ts'
import { sql } from '../sql.ts'

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const app = await sharedApp()
const { token, get } = app

t.test('a login gets a token in the form of RFC 6749 §5.1 [TE1]', async (t) => {
  const response = await token(LOGIN)
  const { access_token, refresh_token, ...rest } = response.json()
  t.match(refresh_token, /^lkr_[\w-]{80}$/)
  t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope: 'profile' }])
  const { 'content-type': type, 'cache-control': cache, pragma } = response.headers
  t.strictSame([type, cache, pragma], ['application/json; charset=utf-8', 'no-store', 'no-cache'])
  t.equal((await get('/users/me', access_token)).statusCode, 200)
})

t.test('the response names the granted scopes, also if they are the requested ones [TE1]', async (t) => {
  t.equal((await token({ ...LOGIN, scope: 'profile' })).json().scope, 'profile')
  t.equal((await token({ ...LOGIN, scope: 'users:read profile' })).json().scope, 'profile')
})

t.test('the access token is a JWT of RFC 9068 with every claim [TE1]', async (t) => {
  const id = await app.createUser('claimed', ['admin', 'user'])
  const response = await token({ ...LOGIN, username: 'claimed', scope: 'users:read profile' })
  const jwks = (await app.inject({ url: '/.well-known/jwks.json' })).json()
  const [signing] = await sql<{ kid: string }>(app, "select kid from signing_keys where state = 'signing'")
  const { payload, protectedHeader } = await jwtVerify(response.json().access_token, createLocalJWKSet(jwks), {
    typ: 'at+jwt',
    issuer: ISSUER,
    audience: ISSUER,
    currentDate: new Date(app.clock.now())
  })
  t.strictSame(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: signing?.kid })

  const { jti, sid, ...rest } = payload
  const now = app.clock.now() / 1000
  t.strictSame(rest, {
    iss: ISSUER,
    sub: id,
    aud: ISSUER,
    client_id: 'docs',
    iat: now,
    exp: now + 300,
    scope: 'users:read profile',
    roles: ['admin', 'user'],
    rev: 0
  })
  t.match(id, UUID_V7)
  t.match(jti, /^[\w-]{22}$/, '128 random bits')
  t.match(sid, UUID_V7)
  t.strictSame(await sql(app, 'select user_id, client_id, scopes, amr from sessions where id = $1', sid as string), [
    { user_id: id, client_id: 'docs', scopes: 'users:read profile', amr: 'pwd' }
  ])
})

t.test('two logins get two sessions and two token ids [TE1]', async (t) => {
  const [one, two] = (await Promise.all([token(LOGIN), token(LOGIN)])).map((each) =>
    decodeJwt(each.json().access_token)
  )
  t.equal(one?.sub, two?.sub)
  t.not(one?.jti, two?.jti)
  t.not(one?.sid, two?.sid)
})

t.test('LATCHKEY_ACCESS_TOKEN_TTL sets the lifetime of a token, to the second [TE1]', async (t) => {
  const { token, get, clock } = await build(t, { env: { LATCHKEY_ACCESS_TOKEN_TTL: '60' } })
  const { access_token, expires_in } = (await token(LOGIN)).json()
  const { iat = 0, exp = 0 } = decodeJwt(access_token)
  t.strictSame([expires_in, exp - iat], [60, 60])
  clock.advance(59)
  t.equal((await get('/users/me', access_token)).statusCode, 200)
  clock.advance(1)
  t.equal((await get('/users/me', access_token)).statusCode, 401)
})
