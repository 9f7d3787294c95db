import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import type { Caller } from '../../src/domain/caller.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import { compareAll } from '../rows.ts'
import { ISSUER, PASSWORD } from './open.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = 'https://orders.example'
const IDENTITY = ['openid', 'profile', 'email']
const NOTHING = 'invalid_scope: None of the requested scopes is allowed'
const NOT_ALLOWED = 'invalid_target: The client may not request this resource'
const UNKNOWN = 'invalid_target: The resource is not registered'

/** Opens the domain with the resource `orders` and the user `visitor`, who has no role. */
async function open(t: Test) {
  const domain = await openSessions(t)
  const { auth, createUser } = domain
  const scopes = [{ name: 'orders:read', description: '' }]
  await auth.resources.create(OPERATOR, { id: 'orders', identifier: ORDERS, name: 'Orders', scopes })
  const visitor = await createUser('visitor', [])
  return {
    ...domain,
    visitor,
    register: (id: string, more: Partial<NewClient> = {}) =>
      auth.clients.create(OPERATOR, {
        id,
        name: id,
        grantTypes: ['password', 'refresh_token'],
        firstParty: true,
        scopes: IDENTITY,
        ...more
      })
  }
}

t.test(
  'an identity scope needs no role, goes with a token for any resource, and does not decide it [SC3]',
  async (t) => {
    const { request, register } = await open(t)
    await register('app')
    await register('named', { scopes: ['openid'], defaultScopes: [] })
    await register('both', { scopes: [...IDENTITY, 'orders:read', 'account'] })
    await register('listed', { scopes: [...IDENTITY, 'orders:read'], resources: ['orders'] })

    type Case = [client: string, user: string, scope: string | null, resource: string[], expected: string]
    const cases: Case[] = [
      ['app', 'visitor', null, [], `${ISSUER} email openid profile`],
      ['app', 'visitor', 'openid', [], `${ISSUER} openid`],
      ['app', 'visitor', 'openid email', [ISSUER], `${ISSUER} openid email`],
      ['app', 'visitor', 'openid', ['https://none.example'], UNKNOWN],
      ['named', 'visitor', 'openid profile email', [], `${ISSUER} openid`],
      ['named', 'visitor', 'profile', [], NOTHING],
      ['both', 'admin', 'openid orders:read', [], `${ORDERS} openid orders:read`],
      ['both', 'admin', 'orders:read profile', [ORDERS], `${ORDERS} orders:read profile`],
      ['both', 'admin', 'openid account', [], `${ISSUER} openid account`],
      ['listed', 'admin', 'openid orders:read', [], `${ORDERS} openid orders:read`],
      ['listed', 'admin', 'openid', [], `${ORDERS} openid`],
      ['listed', 'visitor', 'openid orders:read', [ORDERS], `${ORDERS} openid`],
      ['listed', 'admin', 'openid', [ISSUER], NOT_ALLOWED],
      // A guard of `orders` that only requires a user would accept a token of a client without any scope there.
      ['app', 'admin', 'openid', [ORDERS], NOTHING],
      ['both', 'visitor', 'openid orders:read', [ORDERS], NOTHING],
      // Without a resource in the request, a scope that is not allowed is left out, as always.
      ['both', 'visitor', 'openid orders:read', [], `${ISSUER} openid`]
    ]
    await compareAll(t, async (row) => {
      for (const [client, username, scope, resource, expected] of cases) {
        const login = { grant_type: 'password', username, password: PASSWORD, resource }
        let outcome: string
        try {
          const { accessToken, scopes } = await request(client, { ...login, ...(scope === null ? {} : { scope }) })
          outcome = `${decodeJwt(accessToken).aud} ${scopes.join(' ')}`
        } catch (error) {
          if (!(error instanceof OAuthError)) throw error
          outcome = `${error.code}: ${error.message}`
        }
        row(JSON.stringify([client, username, scope, resource]), outcome, expected)
      }
    })
  }
)

t.test('address, phone and offline_access in a request grant nothing and are no error', async (t) => {
  const { enter, refresh } = await open(t)
  const scope = 'offline_access openid address phone'
  const { scopes, refreshToken } = await enter({ scope })
  t.strictSame(scopes, ['openid'])
  t.strictSame((await refresh(refreshToken, { scope })).scopes, ['openid'])
  await t.rejects(enter({ scope: 'offline_access' }), { code: 'invalid_scope' })
  await t.rejects(enter({ scope: 'openid offline' }), { code: 'invalid_scope' }, 'other words are not registered')
})

t.test(
  'a user without a role keeps the identity scopes of a token, and loses them only with the client [SC4 SC6]',
  async (t) => {
    const { auth, enter, visitor, register } = await open(t)
    await register('app', { scopes: [...IDENTITY, 'account'] })
    const { accessToken } = await enter({ username: 'visitor', clientId: 'app', scope: 'openid profile account' })
    const scopes = async () => {
      const principal = await auth.accessTokens.verify(accessToken)
      return principal.kind === 'refused' ? null : principal.scopes
    }
    t.strictSame(await scopes(), ['openid', 'profile'])
    await auth.users.change(OPERATOR, visitor, { roles: ['user'] })
    t.strictSame(await scopes(), ['openid', 'profile'], 'a new role adds nothing to a token')
    await auth.users.change(OPERATOR, visitor, { roles: [] })
    t.strictSame(await scopes(), ['openid', 'profile'], 'and the loss of a role takes nothing')
    await auth.clients.change(OPERATOR, 'app', { scopes: ['openid', 'account'] })
    t.equal(await scopes(), null, 'the client lost a scope')
  }
)

t.test('every caller may give a client the identity scopes, and account only if they hold it [AD4]', async (t) => {
  const { auth, createUser } = await open(t)
  await auth.roles.create(OPERATOR, { name: 'registrar', description: '', scopes: ['clients:write'] })
  const id = await createUser('registrar', ['registrar'])
  const caller: Caller = { kind: 'user', id, clientId: 'docs', sid: '', address: null, userAgent: null, requestId: '' }
  const create = (scopes: string[]) => auth.clients.create(caller, { name: 'x', scopes })
  await t.resolves(create(IDENTITY))
  await t.rejects(create([...IDENTITY, 'account']), { code: 'forbidden' })
})

t.test('the client of /docs has every scope of users and requests only profile by default', async (t) => {
  const { auth } = await open(t)
  const { scopes, defaultScopes } = await auth.clients.get('docs')
  t.strictSame(defaultScopes, ['profile'])
  t.ok([...IDENTITY, 'account', 'users:write'].every((scope) => scopes.includes(scope)))
  t.strictSame((await auth.roles.get('user')).scopes, ['account'])
  t.ok((await auth.roles.get('admin')).scopes.includes('account'))
})
