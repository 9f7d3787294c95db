import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, ISSUER } from '../helper.ts'
import { outcome } from './api.ts'

t.test('a client gets the names of the scopes of the resources that it serves, and of no others', async (t) => {
  const { app, get, login, token } = await build(t)
  const { clients, resources } = app.auth
  const bearerOf = async (id: string, scope: string) => {
    const { secret } = await clients.create(OPERATOR, {
      id,
      name: 'A service',
      grantTypes: ['client_credentials'],
      scopes: [scope]
    })
    return async () =>
      (await token({ grant_type: 'client_credentials', client_id: id, client_secret: secret as string })).json()
        .access_token as string
  }
  const reader = await bearerOf('reader', 'revocations:read')
  const introspector = await bearerOf('introspector', 'tokens:introspect')
  const add = (id: string, identifier: string, names: string[], introspectionClients: string[]) =>
    resources.create(OPERATOR, {
      id,
      identifier,
      name: id,
      scopes: names.map((name) => ({ name, description: 'Secret plans' })),
      introspectionClients
    })
  await add('orders', 'https://orders.example', ['orders:write', 'orders:read'], ['reader', 'introspector'])
  await add('empty', 'urn:example:empty', [], ['reader'])
  await add('stock', 'urn:example:stock', ['stock:read'], ['introspector'])
  const ask = async (resource: string, bearer?: string) =>
    get(`/resource-scopes?resource=${encodeURIComponent(resource)}`, bearer ?? (await reader()))

  t.strictSame(outcome(await ask('https://orders.example')), [200, { scopes: ['orders:read', 'orders:write'] }])
  t.strictSame(outcome(await ask('urn:example:empty')), [200, { scopes: [] }])
  const refused = (await ask('urn:example:stock')).json()
  t.match(refused, { status: 403, detail: /^The client does not serve this resource: / })
  for (const other of ['urn:example:none', 'orders', 'https://orders.example/', ISSUER])
    t.strictSame((await ask(other)).json(), refused, `${other} gets the same answer as a resource of others`)
  t.equal((await get('/resource-scopes', await reader())).statusCode, 400)
  t.strictSame(answer(await ask('urn:example:stock', await introspector())), forbidden({ scope: 'revocations:read' }))
  t.equal((await ask('https://orders.example', await login('admin'))).statusCode, 403)
  await resources.change(OPERATOR, 'latchkey', { introspectionClients: ['reader'] })
  const own = (await ask(ISSUER)).json().scopes
  t.ok(own.includes('revocations:read') && !own.includes('orders:read'), 'of Latchkey itself')
})
