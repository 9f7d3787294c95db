import { randomBytes, randomUUID } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import { defined } from '../defined.ts'
import { OPERATOR } from '../domain/caller.ts'
import { runFirstStart } from '../first-start.ts'
import { systemClock } from '../token/clock.ts'

/** The password of the user `admin`. */
export const ADMIN_PASSWORD = 'only for tests: admin'

export interface TestAuthOptions {
  issuer?: string
  /** The resource that tokens are for. */
  audience?: string
}

/** The content of a token for tests. */
export interface TestToken {
  /** The id of the user. Without it the token is a client's own token. */
  sub?: string
  scopes?: string[]
  roles?: string[]
  clientId?: string
  /** Lifetime in seconds; default 300. */
  expiresIn?: number
}

/** A clock that moves only by `advance`. */
export interface TestClock {
  /** Milliseconds since 1970. */
  now(): number
  advance(seconds: number): void
}

/** A complete Latchkey in the process of a test. */
export interface TestAuth {
  issuer: string
  audience: string
  clock: TestClock
  /** Sends every request to this Latchkey. Ignores the host in the URL. */
  fetch: typeof globalThis.fetch
  /** The options for `register(guard, auth.guardOptions)`. */
  guardOptions: {
    issuer: string
    audience: string
    clientId: string
    clientSecret: string
    fetch: typeof globalThis.fetch
    clock: { now(): number }
  }
  /** Issues a valid access token for the audience. The user or client of the token need not exist. */
  tokenFor(token: TestToken): Promise<string>
  /** Revokes one token. Resolves when the guards that follow the log through `fetch` have received the entry. */
  revoke(token: string): Promise<void>
  /** Registers a client for client credentials, with these scopes of the audience. */
  clientFor(client: { scopes: string[] }): Promise<{ clientId: string; clientSecret: string }>
  /** The complete app, for `inject` and `listen`. Its user `admin` has the password `ADMIN_PASSWORD`. */
  app: FastifyInstance
  close(): Promise<void>
}

/** Creates `TestAuth.fetch`. @param pending holds the requests without a response */
function fetchFrom(app: FastifyInstance, pending: Set<Promise<unknown>>): TestAuth['fetch'] {
  return async (input: string | URL | Request, init: RequestInit = {}) => {
    const request = new Request(input, init)
    const { pathname, search } = new URL(request.url)
    // A test may describe tokens with scopes that are registered nowhere, so there is nothing to compare them with.
    if (pathname.endsWith('/resource-scopes')) return new Response(null, { status: 501 })
    const body = await request.text()
    const injected = app.inject({
      method: request.method as NonNullable<InjectOptions['method']>,
      url: pathname + search,
      headers: Object.fromEntries(request.headers),
      ...defined({ payload: body || undefined }),
      signal: request.signal
    })
    pending.add(injected)
    const { statusCode, headers, rawPayload } = await injected.finally(() => pending.delete(injected))
    const lines = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
    return new Response([204, 205, 304].includes(statusCode) ? null : rawPayload, {
      status: statusCode,
      headers: lines
    })
  }
}

/**
 * Starts Latchkey for the tests of a service. It runs in this process, keeps its database in memory, writes no file and opens no port.
 * The test must call `close`.
 */
export async function createTestAuth(options: TestAuthOptions = {}): Promise<TestAuth> {
  const { issuer = 'http://localhost:3000', audience = 'http://localhost:4000' } = options
  let now = systemClock.now()
  const clock = {
    now: () => now,
    advance(seconds: number) {
      now += seconds * 1000
    }
  }
  const config = loadConfig({
    LATCHKEY_ISSUER: issuer,
    LATCHKEY_DATABASE_URL: 'sqlite::memory:',
    LATCHKEY_SEALING_KEY: randomBytes(32).toString('base64'),
    LATCHKEY_ADMIN_PASSWORD: ADMIN_PASSWORD,
    LATCHKEY_ARGON2_MEMORY: '7168',
    LATCHKEY_ARGON2_PASSES: '1'
  })
  const app = await buildApp(config, { clock: { now: clock.now, sleep: async () => {} }, logger: false })
  await runFirstStart(app, config, { mayCreateDatabase: true })
  const { auth, store } = app
  const { client, secret } = await auth.clients.create(OPERATOR, {
    name: 'The guard',
    grantTypes: ['client_credentials'],
    scopes: ['revocations:read']
  })
  await auth.resources.create(OPERATOR, {
    id: 'service',
    identifier: audience,
    name: 'The service of the test',
    introspectionClients: [client.id]
  })
  const pending = new Set<Promise<unknown>>()
  const fetch = fetchFrom(app, pending)

  return {
    issuer,
    audience,
    clock,
    fetch,
    guardOptions: {
      issuer,
      audience,
      clientId: client.id,
      clientSecret: secret as string,
      fetch,
      clock: { now: clock.now }
    },

    async tokenFor({ sub, scopes = [], roles = [], clientId = 'test', expiresIn = 300 }) {
      const { accessToken } = await auth.accessTokens.issue({
        sub: sub ?? clientId,
        client: { id: clientId, accessTokenTtl: expiresIn },
        aud: audience,
        scopes,
        roles,
        session: sub === undefined ? null : { sid: randomUUID(), expiresAt: Number.POSITIVE_INFINITY },
        rev: await store.revocations.seq(),
        signing: []
      })
      return accessToken
    },

    async revoke(token) {
      const signed = await auth.accessTokens.read(token)
      if (signed === null) throw new Error('the token is not valid: revoke needs a token that this Latchkey signed')
      await auth.revoke(OPERATOR, { client: { id: signed.clientId }, token })
      await Promise.allSettled(pending)
      // Waits until the guards have applied the entries of these responses.
      await new Promise(setImmediate)
    },

    async clientFor({ scopes }) {
      await auth.resources.change(OPERATOR, 'service', {
        scopes: (current) => [
          ...current,
          ...scopes
            .filter((name) => current.every((each) => each.name !== name))
            .map((name) => ({ name, description: '' }))
        ]
      })
      const added = await auth.clients.create(OPERATOR, {
        name: 'A client',
        grantTypes: ['client_credentials'],
        scopes
      })
      return { clientId: added.client.id, clientSecret: added.secret as string }
    },

    app,
    close: () => app.close()
  }
}
