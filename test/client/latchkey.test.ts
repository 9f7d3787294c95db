import { generateKeyPairSync } from 'node:crypto'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { createTokenClient, type TokenClientOptions, type TokenError } from '../../src/client/index.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { systemClock } from '../cli/instances.ts'
import { freePort, serve } from '../cli/process.ts'
import { build, createDatabase, environment, ISSUER, type TestApp } from '../helper.ts'
import { generateKeyPair } from '../jws.ts'
import { listen } from '../listen.ts'
import { plant } from '../secrets.ts'

const ORDERS = 'https://orders.example.com'
const SCOPES = ['orders:read', 'orders:write']

/** Adds the resource `orders` to Latchkey. Returns a function that adds a client with the scopes of it. */
async function addOrders({ app }: TestApp) {
  await app.auth.resources.create(OPERATOR, {
    id: 'orders',
    identifier: ORDERS,
    name: 'Orders',
    scopes: SCOPES.map((name) => ({ name, description: name })),
    introspectionClients: []
  })
  /** Returns the secret of the new client. */
  return async (id: string, more: Partial<NewClient> = {}) => {
    const grant = { grantTypes: ['client_credentials'], scopes: SCOPES, defaultScopes: ['orders:read'] }
    return (await app.auth.clients.create(OPERATOR, { id, name: 'A worker', ...grant, ...more })).secret as string
  }
}

/** Latchkey in this process, and token clients whose requests need no network. */
async function setUp(t: Test) {
  const latchkey = await build(t)
  const { app, clock, inject } = latchkey
  const add = await addOrders(latchkey)
  let requests = 0
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const { pathname } = new URL(String(input))
    if (pathname === '/token') requests++
    const response = await inject({
      method: (init?.method ?? 'GET') as 'GET' | 'POST',
      url: pathname,
      headers: Object.fromEntries(new Headers(init?.headers)),
      ...(typeof init?.body === 'string' ? { payload: init.body } : {})
    })
    const { statusCode: status, headers, body } = response
    return new Response(body, { status, headers: { 'content-type': String(headers['content-type']) } })
  }
  const client = (options: object) =>
    createTokenClient({ issuer: ISSUER, fetch, clock, ...options } as unknown as TokenClientOptions)
  return { app, clock, add, client, requests: () => requests }
}

t.test('100 concurrent calls cause one request to Latchkey', async (t) => {
  const { add, client, requests } = await setUp(t)
  const clientSecret = await add('worker')
  const worker = client({ clientId: 'worker', clientSecret, resource: ORDERS, scope: 'orders:write' })
  const tokens = new Set(await Promise.all(Array.from({ length: 100 }, () => worker.token())))
  t.equal(tokens.size, 1)
  t.equal(requests(), 1)
  const [token = ''] = tokens
  t.match(decodeJwt(token), { iss: ISSUER, sub: 'worker', aud: ORDERS, scope: 'orders:write' })
})

for (const alg of ['ES256', 'EdDSA', 'RS256'] as const)
  t.test(
    `Latchkey accepts the assertions of a private key, as PEM and as KeyObject, with and without kid: ${alg}`,
    async (t) => {
      const { add, client, clock } = await setUp(t)
      const { publicKey, privateKey } = generateKeyPair(alg)
      const kid = `key-${alg}`
      await add('worker', {
        method: 'private_key_jwt',
        jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), alg, kid }] }
      })
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      plant(...pem.split('\n').slice(1, -2))
      for (const credentials of [{ privateKey: pem, kid }, { privateKey, kid }, { privateKey }]) {
        const worker = client({ clientId: 'worker', ...credentials })
        const first = await worker.token()
        clock.advance(299)
        const second = await worker.token()
        t.not(first, second)
        t.match(decodeJwt(second), { sub: 'worker', aud: ORDERS })
      }
    }
  )

t.test('Latchkey accepts an assertion when the clock of the client is 30 s behind or ahead', async (t) => {
  const { add, client, clock } = await setUp(t)
  const { publicKey, privateKey } = generateKeyPair('EdDSA')
  await add('worker', { method: 'private_key_jwt', jwks: { keys: [publicKey.export({ format: 'jwk' })] } })
  for (const off of [-30_000, 30_000])
    await t.resolves(client({ clientId: 'worker', privateKey, clock: { now: () => clock.now() + off } }).token())
})

t.test('a privateKey that is no private key, or of an unsupported type or size, throws at once', async (t) => {
  const { publicKey } = generateKeyPair('EdDSA')
  for (const privateKey of [
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
    generateKeyPairSync('x25519').privateKey,
    publicKey,
    publicKey.export({ type: 'spki', format: 'pem' }),
    null
  ])
    t.throws(
      () => createTokenClient({ issuer: ISSUER, clientId: 'worker', privateKey } as unknown as TokenClientOptions),
      { name: 'TypeError', message: /^privateKey must be/ }
    )
})

const IDS = ['plain', 'a:b', ':', 'a%b', '100%25', '%zz', 'a+b', '%2B', 'a~b', "-_.!~*'()", 'x:y+z%~:', '/?#[]@']
t.test('Latchkey accepts the credentials of a client with any id', async (t) => {
  const { add, client } = await setUp(t)
  for (const clientId of IDS) {
    const clientSecret = await add(clientId)
    t.equal(decodeJwt(await client({ clientId, clientSecret }).token()).sub, clientId)
  }
})

t.test('a refusal of Latchkey throws a TokenError with its code, its description and its status', async (t) => {
  const { app, add, client, requests } = await setUp(t)
  const clientSecret = await add('worker')
  const valid = { clientId: 'worker', clientSecret }
  const refusal = async (options: object) => {
    const thrown = await client(options)
      .token()
      .catch((error: unknown) => error)
    const { error, description, status, message } = thrown as TokenError
    return { error, description, status, message }
  }
  for (const [options, error, status, description] of [
    [{ ...valid, clientSecret: 'lks_wrong' }, 'invalid_client', 401, 'Client authentication failed'],
    [{ ...valid, scope: 'no:such' }, 'invalid_scope', 400, /scope/],
    [{ ...valid, resource: 'https://other.example.com' }, 'invalid_target', 400, /resource/]
  ] as const) {
    const refused = await refusal(options)
    t.match(refused, { error, status, description })
    t.equal(refused.message, `no token for worker from ${ISSUER}: ${error}: ${refused.description}`)
  }
  t.equal(requests(), 3)
  await app.auth.clients.change(OPERATOR, 'worker', { disabled: true })
  t.match(await refusal(valid), { error: 'invalid_client' })
})

t.test('calls wait while Latchkey is stopped or killed, and succeed when it is back', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const env = { LATCHKEY_ISSUER: issuer }
  async function start(): Promise<TestApp> {
    const latchkey = await build(t, { at, env, clock: systemClock, logger: false })
    await latchkey.app.listen({ host: '127.0.0.1', port })
    return latchkey
  }
  const latchkey = await start()
  const clientSecret = await (await addOrders(latchkey))('worker')

  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
  const service = await listen(t, async ({ headers }, response) => {
    const token = headers.authorization?.slice('Bearer '.length) ?? ''
    const isValid = await jwtVerify(token, keys, { issuer, audience: ORDERS }).then(
      () => true,
      () => false
    )
    response.writeHead(isValid ? 200 : 401, isValid ? {} : { 'www-authenticate': 'Bearer' }).end()
  })
  let ahead = 0
  let failed = Promise.withResolvers<void>()
  const worker = createTokenClient({
    issuer,
    clientId: 'worker',
    clientSecret,
    resource: ORDERS,
    origins: [service],
    timeout: 120_000,
    clock: { now: () => systemClock.now() + ahead },
    fetch: (input, init) =>
      fetch(input, init).catch((error: unknown) => {
        failed.resolve()
        throw error
      })
  })
  /** Starts calls without a valid token. Resolves after the first request that Latchkey does not answer. */
  async function call() {
    ahead += 300_000
    failed = Promise.withResolvers()
    const statuses = Promise.all(Array.from({ length: 8 }, async () => (await worker.fetch(service)).status))
    await failed.promise
    return { statuses }
  }
  t.equal((await worker.fetch(service)).status, 200)
  const first = await worker.token()

  await latchkey.app.close()
  const afterStop = await call()
  const server = await serve(t, { ...environment(at), ...env, LATCHKEY_PORT: String(port) })
  t.strictSame(await afterStop.statuses, Array(8).fill(200))
  const second = await worker.token()
  t.not(second, first)

  server.process.kill('SIGKILL')
  await server.exited
  const afterKill = await call()
  await start()
  t.strictSame(await afterKill.statuses, Array(8).fill(200))
  t.not(await worker.token(), second)
})
