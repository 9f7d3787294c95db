import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestAuth } from 'latchkey/testing'
import { createTokenClient } from 'latchkey-guard/client'
import { buildApp } from '../orders/app.ts'
import { work } from './work.ts'

test('it prints the orders until it is stopped, with one token for all calls', async (t) => {
  const auth = await createTestAuth()
  t.after(() => auth.close())
  const orders = await buildApp(auth.guardOptions)
  t.after(() => orders.close())

  let tokens = 0
  /** Latchkey and the orders, each at its own address, without a network. */
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    const { origin, pathname } = new URL(request.url)
    if (origin === new URL(auth.issuer).origin) {
      if (pathname === '/token') tokens++
      return auth.fetch(request)
    }
    const { statusCode, body } = await orders.inject({ url: pathname, headers: Object.fromEntries(request.headers) })
    return new Response(body, { status: statusCode })
  }

  const client = createTokenClient({
    issuer: auth.issuer,
    ...(await auth.clientFor({ scopes: ['orders:read'] })),
    resource: auth.audience,
    fetch,
    clock: auth.clock
  })
  t.after(() => client.close())
  const stop = new AbortController()
  const lines: string[] = []
  await work({
    client,
    url: `${auth.audience}/orders`,
    intervalMs: 1,
    signal: stop.signal,
    print: (line) => {
      if (lines.push(line) === 3) stop.abort()
    }
  })
  assert.deepEqual(lines, ['200 []', '200 []', '200 []'])
  assert.equal(tokens, 1)
})

test('a service that is away stops nothing', async (t) => {
  const auth = await createTestAuth()
  t.after(() => auth.close())
  const client = createTokenClient({
    issuer: auth.issuer,
    ...(await auth.clientFor({ scopes: ['orders:read'] })),
    resource: auth.audience,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      if (request.url.startsWith(auth.issuer)) return auth.fetch(request)
      throw new TypeError('fetch failed')
    }
  })
  t.after(() => client.close())
  const stop = new AbortController()
  const lines: string[] = []
  await work({
    client,
    url: `${auth.audience}/orders`,
    intervalMs: 1,
    signal: stop.signal,
    print: (line) => {
      if (lines.push(line) === 2) stop.abort()
    }
  })
  assert.deepEqual(lines, ['failed: fetch failed', 'failed: fetch failed'])
})
