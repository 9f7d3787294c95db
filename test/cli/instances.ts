import { setTimeout as sleep } from 'node:timers/promises'
import fastify from 'fastify'
import type { Test } from 'tap'
import type { Clock } from '../../src/domain/ports/clock.ts'
import guard from '../../src/guard/index.ts'
import { build, createDatabase, type Database, type TestApp } from '../helper.ts'
import { freePort } from './process.ts'

export interface Instance extends TestApp {
  origin: string
}

export const systemClock: Clock = { now: Date.now, sleep: (span) => sleep(span) }

/** Starts instances of Latchkey that share a database, each with its own connections and port. The first one's address is the issuer. */
export async function startInstances(
  t: Test,
  {
    database,
    count,
    env = {},
    clock = systemClock
  }: { database: Database; count: number; env?: Record<string, string>; clock?: Clock }
): Promise<Instance[]> {
  const at = await createDatabase(t, database, 'ready')
  const ports = await Promise.all(Array.from({ length: count }, freePort))
  const settings = { ...env, LATCHKEY_ISSUER: `http://localhost:${ports[0]}` }
  const instances: Instance[] = []
  // One after the other: while one is built, another would not get its connection to the database in time.
  for (const port of ports) {
    const instance = await build(t, { at, env: settings, clock, logger: false })
    await instance.app.listen({ host: '127.0.0.1', port })
    instances.push({ ...instance, origin: `http://localhost:${port}` })
  }
  return instances
}

export interface Service {
  /** Cuts it off from the issuer: its requests get no answer, and no error. */
  cut(): void
  restore(): void
  /** `GET /orders` with that token. */
  call(token: string): Promise<number>
}

/** Waits for a signal to abort. @throws its reason */
const silence = (signal?: AbortSignal | null) =>
  new Promise<never>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))

/** Returns a `fetch` that asks another instance in place of the issuer, and can be cut off. */
function createNetwork(issuer: string, upstream: string) {
  let isCut = false
  const cuts = new Set<() => void>()
  return {
    cut() {
      isCut = true
      for (const each of cuts) each()
    },
    restore() {
      isCut = false
    },
    async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
      if (isCut) return silence(init?.signal)
      const { promise, resolve } = Promise.withResolvers<void>()
      cuts.add(resolve)
      try {
        const answer = fetch(String(input).replace(issuer, upstream), init)
        const response = await Promise.race([promise.then(() => silence(init?.signal)), answer])
        // A copy: `url` of the response itself is an address of the upstream.
        return new Response(response.body, response)
      } finally {
        cuts.delete(resolve)
      }
    }
  }
}

export interface ServiceOptions {
  issuer: string
  /** The instance that it asks. */
  upstream: string
  audience: string
  clientId: string
  clientSecret: string
  staleAfter: number
  /** The scope that its route requires. */
  scope: string
}

/** Starts a service with a guard. */
export async function startService(t: Test, { upstream, scope, ...options }: ServiceOptions): Promise<Service> {
  const network = createNetwork(options.issuer, upstream)
  const app = fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(guard, { ...options, fetch: network.fetch })
  app.get('/orders', { preHandler: app.requireScope(scope) }, async ({ principal }) => ({ sub: principal.sub }))
  await app.ready()
  return {
    cut: network.cut,
    restore: network.restore,
    async call(token) {
      const headers = { authorization: `Bearer ${token}` }
      return (await app.inject({ url: '/orders', headers })).statusCode
    }
  }
}
