import t from 'tap'
import type { ActiveToken } from '../../src/domain/introspection.ts'
import * as wire from '../../src/wire/tokens.ts'
import { openDomain } from '../domain/open.ts'
import { accepts } from './schema.ts'

const COMMON = {
  scopes: ['profile', 'users:read'],
  clientId: 'docs',
  sub: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
  exp: 1_795_424_700,
  iat: 1_795_424_400,
  iss: 'https://id.example.com',
  username: 'alice',
  sid: '0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55'
}
const ACCESS: ActiveToken = { ...COMMON, kind: 'access', aud: 'https://orders.example', jti: 'j', roles: ['user'] }
const WRITTEN = {
  active: true,
  scope: 'profile users:read',
  client_id: 'docs',
  sub: COMMON.sub,
  exp: COMMON.exp,
  iat: COMMON.iat,
  iss: COMMON.iss,
  username: 'alice',
  token_type: 'Bearer',
  aud: 'https://orders.example',
  jti: 'j',
  sid: COMMON.sid,
  roles: ['user']
}

t.test('a token is written with the names of RFC 6749 §5.1', async (t) => {
  const token = {
    accessToken: 'a',
    expiresIn: 300,
    scopes: ['profile', 'users:read'],
    refreshToken: 'r',
    idToken: null
  }
  const written = { access_token: 'a', token_type: 'Bearer', expires_in: 300, scope: 'profile users:read' }
  t.strictSame(wire.toWire(token), { ...written, refresh_token: 'r' })
  t.strictSame(wire.toWire({ ...token, refreshToken: null }), written)
  t.strictSame(wire.toWire({ ...token, refreshToken: null, idToken: 'i' }), { ...written, id_token: 'i' })
  t.ok(accepts(wire.TokenResponse, written))
})

t.test('an active access token is written with the names of RFC 7662 §2.2', async (t) => {
  t.strictSame(wire.introspectionToWire(ACCESS), WRITTEN)
  t.ok(accepts(wire.Introspection, WRITTEN))
})

t.test('a token of a client itself has neither a username nor a session', async (t) => {
  const { username: _username, sid: _sid, ...written } = WRITTEN
  t.strictSame(wire.introspectionToWire({ ...ACCESS, username: null, sid: null }), written)
})

t.test('a refresh token has none of the members that only an access token has', async (t) => {
  const { token_type: _type, aud: _aud, jti: _jti, roles: _roles, ...written } = WRITTEN
  t.strictSame(wire.introspectionToWire({ ...COMMON, kind: 'refresh' }), written)
})

t.test('an invalid token is written as `active: false` alone', async (t) => {
  t.strictSame(wire.introspectionToWire(null), { active: false })
})

t.test('the form of a token request has the parameters of every grant', async (t) => {
  const { grants } = (await openDomain(t)).auth
  const TokenRequest = wire.tokenRequest(grants)
  t.strictSame(Object.keys(TokenRequest.properties).toSorted(), [
    'client_assertion',
    'client_assertion_type',
    'client_id',
    'client_secret',
    'code',
    'code_verifier',
    'grant_type',
    'password',
    'redirect_uri',
    'refresh_token',
    'resource',
    'scope',
    'username'
  ])
  t.ok(accepts(TokenRequest, { grant_type: 'password', username: 'alice', unknown: 'x' }))
  t.notOk(accepts(TokenRequest, { username: 'alice' }))
  t.notOk(accepts(TokenRequest, { grant_type: 'password', resource: 'https://orders.example' }))
})
