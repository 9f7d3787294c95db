import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { createTokenClient, type TokenClientOptions, type TokenError } from '../../src/client/index.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { command } from '../cli/command.ts'
import { freePort, fresh, serve } from '../cli/process.ts'
import { build, type Database, ISSUER, onEachDatabase } from '../helper.ts'
import { listen } from '../listen.ts'
import { plant } from '../secrets.ts'

const ORDERS = 'https://orders.example.com'
const SCOPES = ['orders:read', 'orders:write']

/** Latchkey with the resource `orders`, and how its clients and their token clients are made. Nothing goes over the network. */
async function open(t: Test, database: Database = 'sqlite') {
  const { app, clock, inject } = await build(t, { database })
  await app.auth.resources.create(OPERATOR, {
    id: 'orders',
    identifier: ORDERS,
    name: 'Orders',
    scopes: SCOPES.map((name) => ({ name, description: name })),
    introspectionClients: []
  })
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
  const add = async (id: string, more: Partial<NewClient> = {}) => {
    const grant = { grantTypes: ['client_credentials'], scopes: SCOPES, defaultScopes: ['orders:read'] }
    return (await app.auth.clients.create(OPERATOR, { id, name: 'A worker', ...grant, ...more })).secret as string
  }
  const client = (options: object) =>
    createTokenClient({ issuer: ISSUER, fetch, clock, ...options } as unknown as TokenClientOptions)
  return { app, clock, add, client, requests: () => requests }
}

onEachDatabase(t, '1,000 who ask at the same time make one request to Latchkey', async (t, database) => {
  const { add, client, requests } = await open(t, database)
  const clientSecret = await add('worker')
  const worker = client({ clientId: 'worker', clientSecret, resource: ORDERS, scope: 'orders:write' })
  const tokens = new Set(await Promise.all(Array.from({ length: 1000 }, () => worker.token())))
  t.equal(tokens.size, 1)
  t.equal(requests(), 1)
  const [token = ''] = tokens
  t.match(decodeJwt(token), { iss: ISSUER, sub: 'worker', aud: ORDERS, scope: 'orders:write' })
})

t.test(
  'each kind of key is taken by Latchkey, as PEM and as key, with and without kid, as often as it is asked',
  async (t) => {
    const { add, client, clock } = await open(t)
    const pairs: Record<string, { publicKey: KeyObject; privateKey: KeyObject }> = {
      ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      EdDSA: generateKeyPairSync('ed25519'),
      RS256: generateKeyPairSync('rsa', { modulusLength: 2048 })
    }
    for (const [alg, { publicKey, privateKey }] of Object.entries(pairs)) {
      const key = { ...publicKey.export({ format: 'jwk' }), alg, kid: `key-${alg}` }
      await add(alg, { method: 'private_key_jwt', jwks: { keys: [key] } })
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      plant(...pem.split('\n').slice(1, -2))
      for (const options of [
        { privateKey: pem, kid: `key-${alg}` },
        { privateKey, kid: `key-${alg}` },
        { privateKey }
      ]) {
        const worker = client({ clientId: alg, ...options })
        const first = await worker.token()
        clock.advance(299)
        const second = await worker.token()
        t.not(first, second)
        t.match(decodeJwt(second), { sub: alg, aud: ORDERS })
      }
    }
  }
)

t.test('an assertion is taken by a server whose clock is 30 s off, either way', async (t) => {
  const { add, client, clock } = await open(t)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  await add('worker', { method: 'private_key_jwt', jwks: { keys: [publicKey.export({ format: 'jwk' })] } })
  for (const off of [-30_000, 30_000]) {
    const wrong = { now: () => clock.now() + off }
    await t.resolves(client({ clientId: 'worker', privateKey, clock: wrong }).token())
  }
})

t.test('other keys are refused at once', async (t) => {
  const { client } = await open(t)
  const { publicKey } = generateKeyPairSync('ed25519')
  for (const privateKey of [
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
    generateKeyPairSync('x25519').privateKey,
    publicKey,
    publicKey.export({ type: 'spki', format: 'pem' }),
    null
  ])
    t.throws(() => client({ clientId: 'worker', privateKey }), { name: 'TypeError', message: /^privateKey must be/ })
})

onEachDatabase(t, 'a client may be called anything', async (t, database) => {
  const { add, client } = await open(t, database)
  for (const clientId of [
    'plain',
    'a:b',
    ':',
    'a%b',
    '100%25',
    '%zz',
    'a+b',
    '%2B',
    'a~b',
    "-_.!~*'()",
    'x:y+z%~:',
    '/?#[]@'
  ]) {
    const clientSecret = await add(clientId)
    t.equal(decodeJwt(await client({ clientId, clientSecret }).token()).sub, clientId)
  }
})

t.test('what Latchkey refuses is said in its own word', async (t) => {
  const { app, add, client, requests } = await open(t)
  const clientSecret = await add('worker')
  const good = { clientId: 'worker', clientSecret }
  const refusal = async (options: object) => {
    const thrown = await client(options)
      .token()
      .catch((error: unknown) => error)
    const { error, status, message } = thrown as TokenError
    return { error, status, message }
  }
  const message = (error: string) => `no token for worker from ${ISSUER}: ${error}`
  for (const [options, error, status] of [
    [{ ...good, clientSecret: 'lks_wrong' }, 'invalid_client', 401],
    [{ ...good, scope: 'no:such' }, 'invalid_scope', 400],
    [{ ...good, resource: 'https://other.example.com' }, 'invalid_target', 400]
  ] as const)
    t.strictSame(await refusal(options), { error, status, message: message(error) })
  t.equal(requests(), 3)
  await app.auth.clients.change(OPERATOR, 'worker', { disabled: true })
  t.match(await refusal(good), { error: 'invalid_client' })
})

t.test('Latchkey is stopped, and killed, and comes back: no call is lost', { timeout: 120_000 }, async (t) => {
  const port = String(await freePort())
  const issuer = `http://127.0.0.1:${port}`
  const { LATCHKEY_DATA_DIR } = await fresh(t)
  const env = {
    LATCHKEY_DATA_DIR,
    LATCHKEY_PORT: port,
    LATCHKEY_ISSUER: issuer,
    LATCHKEY_ACCESS_TOKEN_TTL: '2'
  }
  let server = await serve(t, env)
  await command(env, ['resource', 'add', 'orders', ORDERS, '--scope', 'orders:read=See orders'])
  const args = ['client', 'add', 'Worker', '--id', 'worker', '--grant', 'client_credentials', '--scope', 'orders:read']
  const { client_secret: clientSecret } = JSON.parse((await command(env, [...args, '--json'])).stdout)
  plant(clientSecret)

  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`))
  let tokens = new Set<string>()
  const service = await listen(t, async ({ headers }, response) => {
    const token = headers.authorization?.slice('Bearer '.length) ?? ''
    const good = await jwtVerify(token, keys, { issuer, audience: ORDERS }).catch(() => null)
    tokens.add(token)
    response.writeHead(good === null ? 401 : 200, good === null ? { 'www-authenticate': 'Bearer' } : {}).end()
  })
  const worker = createTokenClient({ issuer, clientId: 'worker', clientSecret, resource: ORDERS, origins: [service] })
  const outcomes: Record<string, number> = {}
  let working = true
  const workers = Array.from({ length: 8 }, async () => {
    while (working) {
      const outcome = await worker.fetch(service).then(({ status }) => status, String)
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
      await sleep(10)
    }
  })
  await sleep(1000)
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    server.process.kill(signal)
    await server.exited
    tokens = new Set()
    await sleep(2500) // longer than any token is good
    server = await serve(t, env)
    await sleep(1500)
    t.ok(tokens.size > 0)
  }
  working = false
  await Promise.all(workers)
  t.strictSame(Object.keys(outcomes), ['200'], JSON.stringify(outcomes))
  t.ok((outcomes['200'] ?? 0) > 100)
})
