import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createTestAuth } from 'latchkey/testing'
import { buildApp } from './app.ts'

const auth = await createTestAuth()
const app = await buildApp(auth.guardOptions)
after(async () => {
  await app.close()
  await auth.close()
})

/** The status that a token gets. */
async function status(token: string | null, method: 'GET' | 'POST', url: string, payload?: object): Promise<number> {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` }
  const { statusCode } = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })
  return statusCode
}

test('who may read orders may not order', async () => {
  const reader = await auth.tokenFor({ sub: 'alice', scopes: ['orders:read'] })
  assert.equal(await status(reader, 'GET', '/orders'), 200)
  assert.equal(await status(reader, 'POST', '/orders', { item: 'lamp', quantity: 2 }), 403)
})

test('an order is kept with the name of who made it', async () => {
  const both = {
    authorization: `Bearer ${await auth.tokenFor({ sub: 'bob', scopes: ['orders:read', 'orders:write'] })}`
  }
  const added = await app.inject({
    method: 'POST',
    url: '/orders',
    headers: both,
    payload: { item: 'lamp', quantity: 2 }
  })
  assert.equal(added.statusCode, 201)
  assert.deepEqual(added.json(), { id: 1, item: 'lamp', quantity: 2, orderedBy: 'bob' })
  assert.deepEqual((await app.inject({ url: '/orders', headers: both })).json(), [added.json()])
})

test('an order of nothing is refused', async () => {
  const writer = await auth.tokenFor({ sub: 'bob', scopes: ['orders:write'] })
  for (const payload of [{}, { item: '', quantity: 1 }, { item: 'lamp', quantity: 0 }])
    assert.equal(await status(writer, 'POST', '/orders', payload), 400)
})

test('roles are for admins, and people are not programs', async () => {
  const clerk = await auth.tokenFor({ sub: 'alice', roles: ['clerk'] })
  const admin = await auth.tokenFor({ sub: 'root', roles: ['admin'] })
  const program = await auth.tokenFor({ clientId: 'worker', scopes: ['orders:read'] })
  assert.deepEqual([await status(clerk, 'GET', '/admin-only'), await status(admin, 'GET', '/admin-only')], [403, 200])
  assert.deepEqual([await status(clerk, 'GET', '/user-only'), await status(program, 'GET', '/user-only')], [200, 403])
})

test('without a token it is told where one is to be had', async () => {
  const { statusCode, headers } = await app.inject('/orders')
  assert.equal(statusCode, 401)
  assert.equal(
    headers['www-authenticate'],
    `Bearer realm="latchkey", resource_metadata="${auth.audience}/.well-known/oauth-protected-resource"`
  )
  const metadata = (await app.inject('/.well-known/oauth-protected-resource')).json()
  assert.deepEqual(metadata, {
    resource: auth.audience,
    authorization_servers: [auth.issuer],
    scopes_supported: ['orders:read', 'orders:write'],
    bearer_methods_supported: ['header']
  })
})

test('a token ends when its time is over', async () => {
  const token = await auth.tokenFor({ sub: 'alice', scopes: ['orders:read'], expiresIn: 60 })
  assert.equal(await status(token, 'GET', '/orders'), 200)
  auth.clock.advance(60)
  assert.equal(await status(token, 'GET', '/orders'), 401)
})

test('a token that is revoked is refused', async () => {
  const token = await auth.tokenFor({ sub: 'alice', scopes: ['orders:read'] })
  assert.equal(await status(token, 'GET', '/orders'), 200)
  await auth.revoke(token)
  assert.equal(await status(token, 'GET', '/orders'), 401)
})

test('the docs and the health of the service are for everyone', async () => {
  assert.equal(await status(null, 'GET', '/docs/'), 200)
  assert.equal(await status(null, 'GET', '/health'), 200)
})
