import fastify, { type onRequestAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import clientAuthentication from '../../plugins/client-authentication.ts'
import guard from '../../plugins/guard.ts'
import requestCaller from '../../plugins/request-caller.ts'
import type { Caller } from '../../src/domain/caller.ts'

const PRINCIPALS: Record<string, object> = {
  user: { kind: 'user', sub: 'user-id', clientId: 'docs', sid: 'session-id', scopes: [], roles: [] },
  client: { kind: 'client', sub: 'billing', clientId: 'billing', sid: null, scopes: [], roles: [] }
}

/** The callers that were passed to `clientAuthentication.authenticate`. */
const authenticating: Caller[] = []
const auth = fp(
  async (app) => {
    app.decorate('auth', {
      accessTokens: { verify: (token: string) => PRINCIPALS[token] ?? null },
      clientAuthentication: {
        authenticate: async (caller: Caller, { ids }: { ids: string[] }) => {
          authenticating.push(caller)
          return { client: { id: ids[0] } }
        }
      }
    } as never)
  },
  { name: 'auth' }
)

const app = fastify({ genReqId: () => 'request-id' })
await app.register(auth)
await app.register(guard)
await app.register(requestCaller)
await app.register(clientAuthentication)
app.get('/token-needed', { preHandler: app.requireScope(), schema: {} }, async ({ caller }) => caller)
app.get('/client', { preHandler: app.authenticateClient, schema: {} }, async ({ caller }) => caller)
app.get('/public', { preHandler: app.publicAccess, schema: {} }, async ({ caller }) => caller)
/** The connection closes while the token is verified. Then Node.js no longer knows the address. */
const close: onRequestAsyncHookHandler = async ({ socket }) => void Object.assign(socket, { remoteAddress: undefined })
app.get('/closed', { onRequest: close, preHandler: app.publicAccess, schema: {} }, async ({ caller }) => caller)
t.teardown(() => app.close())

const origin = { address: '192.0.2.7', userAgent: 'test/1', requestId: 'request-id' }

async function callerOf(url: string, headers: Record<string, string> = {}) {
  const all = { 'user-agent': 'test/1', ...headers }
  return (await app.inject({ url, headers: all, remoteAddress: '192.0.2.7' })).json()
}

t.test('the caller is the user of the token', async (t) => {
  const caller = await callerOf('/token-needed', { authorization: 'Bearer user' })
  t.strictSame(caller, { kind: 'user', id: 'user-id', clientId: 'docs', sid: 'session-id', ...origin })
})

t.test('the caller is the client of a token without a user', async (t) => {
  const caller = await callerOf('/token-needed', { authorization: 'Bearer client' })
  t.strictSame(caller, { kind: 'client', id: 'billing', ...origin })
})

t.test('the caller is anonymous until the client has authenticated, and then the client', async (t) => {
  const basic = `Basic ${Buffer.from('shop:secret').toString('base64')}`
  t.strictSame(await callerOf('/client', { authorization: basic }), { kind: 'client', id: 'shop', ...origin })
  t.strictSame(authenticating, [{ kind: 'anonymous', ...origin }])
})

t.test('the caller is anonymous where neither a user nor a client is named', async (t) => {
  t.strictSame(await callerOf('/client'), { kind: 'anonymous', ...origin })
  t.strictSame(await callerOf('/public'), { kind: 'anonymous', ...origin })
  t.strictSame(
    await callerOf('/public', { authorization: 'Bearer user' }),
    { kind: 'anonymous', ...origin },
    'a token that no guard verified names nobody'
  )
})

t.test('the caller keeps the address of a connection that closes before the response', async (t) => {
  t.strictSame(await callerOf('/closed'), { kind: 'anonymous', ...origin })
})

t.test('the caller has at most 256 characters of the User-Agent header', async (t) => {
  t.equal((await callerOf('/public', { 'user-agent': 'x'.repeat(300) })).userAgent, 'x'.repeat(256))
  t.equal((await callerOf('/public', { 'user-agent': 'x'.repeat(256) })).userAgent, 'x'.repeat(256))
})
