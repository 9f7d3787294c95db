import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { createTestAuth } from '../../src/testing/index.ts'
import { serve, until } from './planted.ts'

/** A service that is guarded by a whole Latchkey in this process. */
async function world(t: Test, options: object = {}) {
  const auth = await createTestAuth()
  t.teardown(() => auth.close())
  const service = await serve(t, { ...auth.guardOptions, ...options })
  return { auth, ...service }
}

t.test('a service that follows the log of Latchkey: what ends there is refused here, and nothing else', async (t) => {
  const { auth, status, app } = await world(t)
  const { store } = auth.app
  const scopes = ['orders:read']
  const [one, other] = [await auth.tokenFor({ sub: 'one', scopes }), await auth.tokenFor({ sub: 'other', scopes })]
  t.strictSame([await status(one), await status(other)], [200, 200])
  await auth.revoke(one)
  t.strictSame([await status(one), await status(other)], [401, 200])
  const { seq } = app.guard.status()
  t.equal(seq, await store.revocations.seq())
  t.strictSame({ ...app.guard.status(), lag: 0 }, { revocation: 'log', seq, lag: 0, entries: 1, tokens: 1 })
})

t.test('a user, a client and a key that end in Latchkey end here', async (t) => {
  const { auth, status } = await world(t)
  const { auth: latchkey } = auth.app
  const scopes = ['orders:read']
  const user = await latchkey.users.create(OPERATOR, {
    username: 'carol',
    password: 'correct horse battery staple',
    roles: []
  })
  const { clientId } = await auth.clientFor({ scopes })
  const tokens = [
    await auth.tokenFor({ sub: user.id, scopes }),
    await auth.tokenFor({ clientId, scopes }),
    await auth.tokenFor({ sub: randomUUID(), scopes })
  ]
  const all = () => Promise.all(tokens.map((each) => status(each)))
  t.strictSame(await all(), [200, 200, 200])
  await latchkey.users.change(OPERATOR, user.id, { disabled: true })
  await until(async () => (await all())[0] === 401)
  t.strictSame(await all(), [401, 200, 200])
  await latchkey.clients.change(OPERATOR, clientId, { disabled: true })
  await until(async () => (await all())[1] === 401)
  t.strictSame(await all(), [401, 401, 200])
})

t.test(
  'what a test revokes is refused at the next request, also right after another and by another service',
  async (t) => {
    const { auth, status } = await world(t)
    const { status: second } = await serve(t, auth.guardOptions)
    const scopes = ['orders:read']
    const tokens = await Promise.all(Array.from({ length: 20 }, () => auth.tokenFor({ sub: 'one', scopes })))
    for (const token of tokens) t.strictSame([await status(token), await second(token)], [200, 200])
    for (const token of tokens) {
      await auth.revoke(token)
      t.strictSame([await status(token), await second(token)], [401, 401])
    }
  }
)

t.test('introspection at Latchkey: what was revoked or disabled is refused at the next request', async (t) => {
  const auth = await createTestAuth()
  t.teardown(() => auth.close())
  const { auth: latchkey } = auth.app
  const scopes = ['orders:read', 'orders:write']
  const caller = await auth.clientFor({ scopes })
  const { client, secret } = await latchkey.clients.create(OPERATOR, {
    name: 'The service',
    grantTypes: ['client_credentials'],
    scopes: ['tokens:introspect']
  })
  await latchkey.resources.change(OPERATOR, 'service', { introspectionClients: [client.id] })
  const credentials = { clientId: client.id, clientSecret: secret as string }
  const { status, inject } = await serve(t, { ...auth.guardOptions, ...credentials, revocation: 'introspection' })
  const [one, other] = [
    await auth.tokenFor({ clientId: caller.clientId, scopes }),
    await auth.tokenFor({ clientId: caller.clientId, scopes })
  ]
  const response = await inject({ method: 'GET', url: '/orders', headers: { authorization: `Bearer ${one}` } })
  t.strictSame(response.json().scopes, scopes)
  await auth.revoke(one)
  t.strictSame([await status(one), await status(other)], [401, 200])
  await latchkey.clients.change(OPERATOR, caller.clientId, { disabled: true })
  t.equal(await status(other), 401)
  // Another client may not ask: that says nothing about any token.
  const unnamed = await serve(t, { ...auth.guardOptions, ...caller, revocation: 'introspection' })
  t.equal(await unnamed.status(await auth.tokenFor({ sub: 'one', scopes })), 503)
})
