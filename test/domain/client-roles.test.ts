import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { narrowRoles } from '../../src/domain/scopes.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = {
  id: 'orders',
  identifier: 'https://orders.example',
  name: 'Orders',
  scopes: [{ name: 'orders:write', description: 'Write orders' }],
  introspectionClients: ['api']
}

/** Opens the domain with `boss`, who has the roles `admin` and `clerk`, and with a function that registers clients. */
async function open(t: Test) {
  const domain = await openSessions(t)
  const { auth, createUser, enter, refresh } = domain
  await auth.clients.create(OPERATOR, { id: 'api', name: 'API', scopes: ['tokens:introspect'] })
  const { introspectionClients, ...orders } = ORDERS
  await auth.resources.create(OPERATOR, orders)
  await auth.resources.change(OPERATOR, 'orders', { introspectionClients })
  await auth.roles.create(OPERATOR, { name: 'clerk', description: 'Writes orders', scopes: ['orders:write'] })
  await createUser('boss', ['admin', 'clerk', 'user'])
  const api = await auth.clients.get('api')
  return {
    ...domain,
    register: (id: string, more: Partial<NewClient> = {}) =>
      auth.clients.create(OPERATOR, {
        id,
        name: id,
        grantTypes: ['password', 'refresh_token'],
        scopes: ['orders:write', 'profile'],
        firstParty: true,
        ...more
      }),
    /** Returns the roles in the token of a login, in the token of its refresh, and in the introspection of that token. */
    async roles(clientId: string) {
      const { accessToken, refreshToken } = await enter({ username: 'boss', scope: 'orders:write', clientId })
      const renewed = (await refresh(refreshToken, { clientId })).accessToken
      const introspected = await auth.introspect(api, renewed)
      return [
        decodeJwt(accessToken).roles,
        decodeJwt(renewed).roles,
        introspected?.kind === 'access' ? introspected.roles : null
      ]
    },
    /** Returns the roles of a login for Latchkey's own API. */
    async ownRoles(clientId: string) {
      const { accessToken } = await enter({ username: 'boss', clientId })
      const principal = await auth.accessTokens.verify(accessToken)
      return principal.kind === 'refused' ? null : principal.roles
    }
  }
}

t.test(
  'a token carries only the roles that the client lists, at login, at refresh and at introspection [UA7 SC3]',
  async (t) => {
    const { register, roles, ownRoles } = await open(t)
    await register('all')
    await register('some', { roles: ['clerk', 'user'] })
    await register('none', { roles: [] })
    const ofEach = (list: string[]) => [list, list, list]
    t.strictSame(await roles('all'), ofEach(['admin', 'clerk', 'user']))
    t.strictSame(await roles('some'), ofEach(['clerk', 'user']))
    t.strictSame(await roles('none'), ofEach([]))
    t.strictSame(
      [await ownRoles('all'), await ownRoles('some')],
      [
        ['admin', 'clerk', 'user'],
        ['clerk', 'user']
      ]
    )
  }
)

t.test('without a list a first-party client carries all roles, and another client carries none [UA7]', async (t) => {
  const roles = ['admin', 'user']
  t.strictSame(narrowRoles(roles, { firstParty: true, roles: null }), roles)
  t.strictSame(narrowRoles(roles, { firstParty: false, roles: null }), [])
  for (const firstParty of [true, false]) {
    t.strictSame(narrowRoles(roles, { firstParty, roles: ['user', 'clerk'] }), ['user'])
    t.strictSame(narrowRoles(roles, { firstParty, roles: [] }), [])
  }
})

t.test('a caller lists only roles whose scopes it holds, and only existing roles [AD4 UA7]', async (t) => {
  const { auth, createUser, register } = await open(t)
  const id = await createUser('manager', ['user'])
  await auth.roles.create(OPERATOR, { name: 'manager', description: '', scopes: ['clients:write', 'account'] })
  await auth.users.change(OPERATOR, id, { roles: ['manager'] })
  const manager = {
    kind: 'user',
    id,
    clientId: 'docs',
    sid: '',
    address: null,
    userAgent: null,
    requestId: ''
  } as const
  const create = (roles: string[]) => auth.clients.create(manager, { name: 'x', scopes: ['profile'], roles })
  await t.resolves(create(['manager', 'user']))
  await t.rejects(create(['admin']), new DomainError('forbidden', 'You can give only roles and scopes that you have'))
  await t.rejects(create(['clerk']), { code: 'forbidden' })
  await t.rejects(register('broken', { roles: ['nobody'] }), {
    code: 'invalid',
    message: 'There is no role "nobody"'
  })
})
