import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, ISSUER } from '../helper.ts'
import { notFound, outcome } from './api.ts'

t.test(
  'a client with revocations:read gets the names of the scopes of one resource, and nobody else does',
  async (t) => {
    const { app, get, login, token } = await build(t)
    const { clients, resources } = app.auth
    const scopes = ['orders:write', 'orders:read'].map((name) => ({ name, description: 'Secret plans' }))
    await resources.create(OPERATOR, { id: 'orders', identifier: 'https://orders.example', name: 'Orders', scopes })
    await resources.create(OPERATOR, { id: 'stock', identifier: 'urn:example:stock', name: 'Stock' })
    const bearerOf = async (scope: string) => {
      const { client, secret } = await clients.create(OPERATOR, {
        name: 'A service',
        grantTypes: ['client_credentials'],
        scopes: [scope]
      })
      const form = { grant_type: 'client_credentials', client_id: client.id, client_secret: secret as string }
      return (await token(form)).json().access_token as string
    }
    const reader = await bearerOf('revocations:read')
    const ask = (resource: string, bearer = reader) =>
      get(`/resource-scopes?resource=${encodeURIComponent(resource)}`, bearer)

    t.strictSame(outcome(await ask('https://orders.example')), [200, { scopes: ['orders:read', 'orders:write'] }])
    t.strictSame(outcome(await ask('urn:example:stock')), [200, { scopes: [] }])
    const missing = notFound('There is no such resource')
    for (const other of ['orders', 'https://orders.example/', 'https://ORDERS.example', ISSUER])
      t.strictSame(outcome(await ask(other)), missing, other)
    t.equal((await get('/resource-scopes', reader)).statusCode, 400)
    t.strictSame(
      answer(await ask('https://orders.example', await bearerOf('orders:read'))).status,
      401,
      'a token for another resource'
    )
    t.strictSame(
      answer(await ask('https://orders.example', await bearerOf('tokens:introspect'))),
      forbidden({ scope: 'revocations:read' })
    )
    t.equal((await ask('https://orders.example', await login('admin'))).statusCode, 403)
  }
)
