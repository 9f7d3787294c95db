import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import { ISSUER } from './open.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = 'https://orders.example'
const NOTHING = 'invalid_scope: None of the requested scopes is allowed'
const UNAUTHORIZED = { code: 'unauthorized_client', message: 'The client may not use this grant type' }

/** Opens the domain with a resource `orders`, and a client `job` that gets tokens in its own name. */
async function open(t: Test, client: Partial<NewClient> = {}, settings: Record<string, string> = {}) {
  const domain = await openSessions(t, settings)
  const { auth, request } = domain
  const scopes = ['orders:read', 'orders:write'].map((name) => ({ name, description: '' }))
  await auth.resources.create(OPERATOR, { id: 'orders', identifier: ORDERS, name: 'Orders', scopes })
  await auth.clients.create(OPERATOR, {
    id: 'job',
    name: 'A job',
    grantTypes: ['client_credentials'],
    scopes: ['users:read', 'clients:read', 'orders:read', 'openid', 'profile', 'email'],
    defaultScopes: ['users:read'],
    ...client
  })
  const ask = (params: Parameters<typeof request>[1] = {}) =>
    request('job', { grant_type: 'client_credentials', ...params })
  return {
    ...domain,
    ask,
    /** Returns audience and scopes, or the refusal. */
    async granted(params: Parameters<typeof request>[1] = {}) {
      try {
        const { accessToken, scopes } = await ask(params)
        const { aud, scope } = decodeJwt(accessToken)
        t.equal(scope, scopes.join(' '), 'the token has the granted scopes')
        return `${aud} ${scope}`
      } catch (error) {
        if (error instanceof OAuthError) return `${error.code}: ${error.message}`
        throw error
      }
    }
  }
}

t.test('a client gets the requested scopes that client and resource allow [SC3]', async (t) => {
  const { auth, granted } = await open(t)
  t.equal(await granted(), `${ISSUER} users:read`, 'the default scopes')
  t.equal(await granted({ scope: 'clients:read' }), `${ISSUER} clients:read`, 'a scope that is no default')
  t.equal(await granted({ scope: 'clients:read users:read' }), `${ISSUER} clients:read users:read`)
  t.equal(
    await granted({ scope: 'clients:read clients:read  clients:read' }),
    `${ISSUER} clients:read`,
    'each scope once'
  )
  t.equal(
    await granted({ scope: 'users:write clients:read' }),
    `${ISSUER} clients:read`,
    'a scope that is not allowed is left out'
  )
  t.equal(await granted({ scope: 'users:write' }), NOTHING)
  t.equal(await granted({ scope: 'tokens:introspect' }), NOTHING)
  for (const scope of ['clients:read orders:delete', 'PROFILE'])
    t.equal(await granted({ scope }), 'invalid_scope: A requested scope is not registered', scope)

  t.equal(await granted({ scope: 'orders:read' }), `${ORDERS} orders:read`, 'a scope of another resource')
  t.equal(await granted({ scope: 'orders:read orders:write' }), `${ORDERS} orders:read`)
  t.equal(await granted({ scope: 'orders:write' }), NOTHING)
  t.equal(await granted({ resource: [ORDERS] }), NOTHING, 'no default scope belongs to the resource')
  await auth.clients.change(OPERATOR, 'job', { defaultScopes: [] })
  t.equal(await granted(), NOTHING, 'no default scope')
})

t.test('a token of a client in its own name has no identity scope, because it has no user to show [SC3]', async (t) => {
  const { granted } = await open(t, { defaultScopes: ['openid', 'profile', 'users:read'] })
  t.equal(await granted(), `${ISSUER} users:read`)
  t.equal(await granted({ scope: 'openid email users:read' }), `${ISSUER} users:read`)
  for (const scope of ['openid', 'profile', 'email', 'openid profile email'])
    t.equal(await granted({ scope }), NOTHING, scope)
})

t.test('the scope of a request has at most 1024 characters and 50 items [SC1]', async (t) => {
  const { granted } = await open(t)
  const long = 'invalid_scope: The scope is longer than 1024 characters or 50 items'
  t.equal(await granted({ scope: 'x'.repeat(1025) }), long)
  t.equal(await granted({ scope: Array.from({ length: 51 }, (_, i) => `s${i}`).join(' ') }), long)
})

for (const [accessTokenTtl, lifetime] of [
  [null, 120],
  [1, 1],
  [3600, 3600]
] as const)
  t.test(
    `a client whose accessTokenTtl is ${accessTokenTtl} gets tokens that expire after exactly ${lifetime} s [TE1]`,
    async (t) => {
      const { ask, isValid, clock } = await open(t, { accessTokenTtl }, { LATCHKEY_ACCESS_TOKEN_TTL: '120' })
      const { accessToken, expiresIn } = await ask()
      const { iat = 0, exp = 0 } = decodeJwt(accessToken)
      t.strictSame([expiresIn, exp - iat], [lifetime, lifetime])
      clock.advance(lifetime - 1)
      t.equal(await isValid(accessToken), true)
      clock.advance(1)
      t.equal(await isValid(accessToken), false)
    }
  )

t.test('a client gets a token without a session and without a refresh token [CA7]', async (t) => {
  const { ask, store } = await open(t)
  const { accessToken, refreshToken } = await ask()
  t.equal(refreshToken, null)
  const { sub, client_id, sid } = decodeJwt(accessToken)
  t.strictSame([sub, client_id, sid], ['job', 'job', undefined])
  t.strictSame(await store.sessions.list('job', { after: null, limit: 1 }, 0), [])
})

t.test('only a confidential client with the grant may use it, even if a public client has it too [CA6]', async (t) => {
  const { auth, store, request, clock } = await open(t)
  const ask = (id: string) => request(id, { grant_type: 'client_credentials' })
  await auth.clients.create(OPERATOR, { id: 'web', name: 'Web', scopes: ['profile'] })
  for (const id of ['docs', 'web']) await t.rejects(ask(id), UNAUTHORIZED, id)
  for (const grant_type of ['password', 'refresh_token'])
    await t.rejects(request('job', { grant_type, username: 'alice', password: 'x', refresh_token: 'x' }), UNAUTHORIZED)
  const changes = { grantTypes: ['client_credentials'] }
  await store.clients.change(OPERATOR, { id: 'docs', changes, now: clock.now() })
  await t.rejects(ask('docs'), UNAUTHORIZED, 'a public client that has the grant')
})
