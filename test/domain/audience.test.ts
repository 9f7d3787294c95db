import { decodeJwt } from 'jose'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import { compareAll } from '../rows.ts'
import { ISSUER } from './open.ts'
import { openSessions } from './sessions-world.ts'

const ORDERS = 'https://orders.example'
const STOCK = 'urn:example:stock'
const scope = (name: string) => ({ name, description: '' })

const SEVERAL = 'invalid_target: A token is for one resource: name one resource, or scopes of one resource'
const NOT_ALLOWED = 'invalid_target: The client may not request this resource'
const UNKNOWN = 'invalid_target: The resource is not registered'
const NOTHING = 'invalid_scope: None of the requested scopes is allowed'

t.test('a token is for one resource: the requested one, or the one of its scopes (RFC 8707)', async (t) => {
  const { auth, request } = await openSessions(t)
  const { resources, clients } = auth
  const orders = ['orders:read', 'orders:write'].map(scope)
  await resources.create(OPERATOR, { id: 'orders', identifier: ORDERS, name: 'Orders', scopes: orders })
  await resources.create(OPERATOR, { id: 'stock', identifier: STOCK, name: 'Stock', scopes: [scope('stock')] })
  const scopes = ['orders:read', 'orders:write', 'account', 'stock']
  const add = (id: string, defaultScopes: string[], named: string[] = []) => {
    const client = { id, name: id, grantTypes: ['client_credentials'], scopes, defaultScopes, resources: named }
    return clients.create(OPERATOR, client)
  }
  await add('one-default', ['orders:read'])
  await add('many-defaults', ['orders:read', 'account', 'stock'])
  await add('default-resource', scopes, ['stock', 'orders'])
  await add('no-default', [])
  await add('other-resource', ['orders:read', 'account'], ['stock'])

  type Case = [client: string, scope: string | null, resource: string[], expected: string]
  const cases: Case[] = [
    ['one-default', null, [], `${ORDERS} orders:read`],
    ['one-default', null, [ORDERS], `${ORDERS} orders:read`],
    ['one-default', null, [STOCK], NOTHING],
    ['one-default', 'stock', [], `${STOCK} stock`],
    ['one-default', 'account', [], `${ISSUER} account`],
    ['one-default', 'account', [ISSUER], `${ISSUER} account`],
    ['one-default', 'orders:write orders:read', [], `${ORDERS} orders:write orders:read`],
    ['one-default', 'orders:read stock', [], SEVERAL],
    ['one-default', 'orders:read account', [], SEVERAL],
    ['one-default', 'orders:read stock', [STOCK], `${STOCK} stock`],
    ['one-default', 'orders:read stock', [ORDERS, ORDERS], `${ORDERS} orders:read`],
    ['one-default', 'orders:read stock', [ORDERS, STOCK], SEVERAL],
    ['one-default', 'orders:read', [ORDERS, 'https://none.example'], SEVERAL],
    ['one-default', 'orders:read', ['https://none.example'], UNKNOWN],
    ['one-default', 'orders:read', [`${ORDERS}/`], UNKNOWN],
    ['one-default', 'orders:read', ['orders'], UNKNOWN],
    ['one-default', 'orders:read', ['latchkey'], UNKNOWN],
    ['one-default', 'users:read', [], NOTHING],
    ['many-defaults', null, [], SEVERAL],
    ['many-defaults', null, [STOCK], `${STOCK} stock`],
    ['many-defaults', null, [ISSUER], `${ISSUER} account`],
    ['default-resource', null, [], `${STOCK} stock`],
    ['default-resource', null, [ORDERS], `${ORDERS} orders:read orders:write`],
    ['default-resource', 'stock orders:read', [], SEVERAL],
    ['default-resource', 'orders:read', [], `${ORDERS} orders:read`],
    ['default-resource', 'account', [], NOT_ALLOWED],
    ['default-resource', null, [ISSUER], NOT_ALLOWED],
    ['default-resource', 'orders:read', [ISSUER], NOTHING],
    ['no-default', null, [], NOTHING],
    ['no-default', null, [ORDERS], NOTHING],
    ['no-default', 'stock', [], `${STOCK} stock`],
    ['other-resource', null, [], SEVERAL],
    ['other-resource', null, [ORDERS], NOT_ALLOWED],
    ['other-resource', 'stock', [], `${STOCK} stock`]
  ]
  const outcome = async ([client, scope, resource]: Case) => {
    const params = { grant_type: 'client_credentials', resource, ...(scope === null ? {} : { scope }) }
    try {
      const { accessToken, scopes } = await request(client, params)
      return `${decodeJwt(accessToken).aud} ${scopes.join(' ')}`
    } catch (error) {
      if (error instanceof OAuthError) return `${error.code}: ${error.message}`
      throw error
    }
  }
  await compareAll(t, async (row) => {
    for (const each of cases) row(JSON.stringify(each.slice(0, 3)), await outcome(each), each[3])
  })
})
