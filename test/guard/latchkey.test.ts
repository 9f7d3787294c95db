import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { createTestAuth } from '../../src/testing/index.ts'
import { PASSWORD } from '../helper.ts'
import { serve } from './service.ts'

const SCOPES = ['orders:read']

/** Starts a service with the guard and a whole Latchkey in this process. Both use the real time. */
async function setUp(t: Test) {
  const auth = await createTestAuth()
  t.teardown(() => auth.close())
  const service = await serve(t, auth.guardOptions)
  const { revocations } = auth.app.store
  return {
    auth,
    ...service,
    /** Waits until the service has read the whole revocation log. */
    async read() {
      const seq = await revocations.seq()
      while (service.app.guard.status().seq !== seq) await new Promise(setImmediate)
    }
  }
}

t.test('from the next request on, a service refuses a token that Latchkey revoked, and no other token', async (t) => {
  const { auth, status, app } = await setUp(t)
  const second = await serve(t, auth.guardOptions)
  const tokens = await Promise.all([1, 2, 3].map(() => auth.tokenFor({ sub: 'one', scopes: SCOPES })))
  const other = await auth.tokenFor({ sub: 'other', scopes: SCOPES })
  for (const token of [...tokens, other]) t.strictSame([await status(token), await second.status(token)], [200, 200])
  for (const token of tokens) {
    await auth.revoke(token)
    t.strictSame([await status(token), await second.status(token)], [401, 401])
  }
  t.strictSame([await status(other), await second.status(other)], [200, 200])
  const seq = await auth.app.store.revocations.seq()
  t.strictSame({ ...app.guard.status(), lag: 0 }, { revocation: 'log', seq, lag: 0, entries: 3, tokens: 1 })
})

t.test('a test may revoke a token twice', async (t) => {
  const { auth, status } = await setUp(t)
  const token = await auth.tokenFor({ sub: 'one', scopes: SCOPES })
  await auth.revoke(token)
  await auth.revoke(token)
  t.equal(await status(token), 401)
})

t.test('a service refuses the tokens of a user or client that Latchkey disabled', async (t) => {
  const { auth, status, read } = await setUp(t)
  const { users, clients } = auth.app.auth
  const user = await users.create(OPERATOR, { username: 'carol', password: PASSWORD, roles: [] })
  const { clientId } = await auth.clientFor({ scopes: SCOPES })
  const tokens = [
    await auth.tokenFor({ sub: user.id, scopes: SCOPES }),
    await auth.tokenFor({ clientId, scopes: SCOPES }),
    await auth.tokenFor({ sub: 'another', scopes: SCOPES })
  ]
  const statuses = () => Promise.all(tokens.map((token) => status(token)))
  t.strictSame(await statuses(), [200, 200, 200])
  await users.change(OPERATOR, user.id, { disabled: true })
  await read()
  t.strictSame(await statuses(), [401, 200, 200])
  await clients.change(OPERATOR, clientId, { disabled: true })
  await read()
  t.strictSame(await statuses(), [401, 401, 200])
})

t.test('with introspection, a service refuses revoked tokens and tokens of disabled clients at once', async (t) => {
  const auth = await createTestAuth()
  t.teardown(() => auth.close())
  const { clients, resources } = auth.app.auth
  const caller = await auth.clientFor({ scopes: SCOPES })
  const { client, secret } = await clients.create(OPERATOR, {
    name: 'The service',
    grantTypes: ['client_credentials'],
    scopes: ['tokens:introspect']
  })
  await resources.change(OPERATOR, 'service', { introspectionClients: [client.id] })
  const credentials = { clientId: client.id, clientSecret: secret as string }
  const { status, get } = await serve(t, { ...auth.guardOptions, ...credentials, revocation: 'introspection' })
  const [one, other] = [
    await auth.tokenFor({ clientId: caller.clientId, scopes: SCOPES }),
    await auth.tokenFor({ clientId: caller.clientId, scopes: SCOPES })
  ]
  t.strictSame((await get(one)).json().scopes, SCOPES)
  await auth.revoke(one)
  t.strictSame([await status(one), await status(other)], [401, 200])
  await clients.change(OPERATOR, caller.clientId, { disabled: true })
  t.equal(await status(other), 401)
  const withoutRight = await serve(t, { ...auth.guardOptions, ...caller, revocation: 'introspection' })
  t.equal(await withoutRight.status(await auth.tokenFor({ sub: 'one', scopes: SCOPES })), 503)
})

t.test('the log of a service says why Latchkey refuses the revocation log', async (t) => {
  const auth = await createTestAuth()
  t.teardown(() => auth.close())
  const { client, secret } = await auth.app.auth.clients.create(OPERATOR, {
    name: 'A service that the resource does not name',
    grantTypes: ['client_credentials'],
    scopes: ['revocations:read']
  })
  const warning = Promise.withResolvers<string>()
  const stream = { write: (line: string) => warning.resolve(JSON.parse(line).msg) }
  const options = { ...auth.guardOptions, clientId: client.id, clientSecret: secret as string }
  await serve(t, options, { logger: { level: 'warn', stream } })
  t.equal(
    await warning.promise,
    `the revocation log cannot be read: GET ${auth.issuer}/revocations: the status is 403: The client does not serve this resource: name the client among the introspection clients of the resource`
  )
})
