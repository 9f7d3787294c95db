import { randomBytes, randomUUID } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import { OPERATOR } from '../domain/caller.ts'
import { bootstrap } from '../first-start.ts'
import { systemClock } from '../token/clock.ts'

/** The password of the user `admin`. */
export const ADMIN_PASSWORD = 'only for tests: admin'

export interface TestAuthOptions {
  issuer?: string
  /** The resource that tokens are for. */
  audience?: string
}

/** The content of a token. */
export interface TestToken {
  /** The user's id; a client's own token has none, but a `clientId`. */
  sub?: string
  scopes?: string[]
  roles?: string[]
  clientId?: string
  /** Seconds; 300, if not given. */
  expiresIn?: number
}

/** A clock that moves only by `advance`. */
export interface TestClock {
  /** Milliseconds since 1970. */
  now(): number
  advance(seconds: number): void
}

/** A whole Latchkey in the process of a test. */
export interface TestAuth {
  issuer: string
  audience: string
  clock: TestClock
  /** Sends every request to this Latchkey, whatever host the URL names. */
  fetch: typeof globalThis.fetch
  /** For `register(guard, auth.guardOptions)`. */
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
  /** The whole app, for `inject` and `listen`. Its user `admin` has the password `ADMIN_PASSWORD`. */
  app: FastifyInstance
  close(): Promise<void>
}

/** Makes `TestAuth.fetch`. @param underWay holds the calls without a response */
function fetchFrom(app: FastifyInstance, underWay: Set<Promise<unknown>>): TestAuth['fetch'] {
  return async (input: string | URL | Request, init: RequestInit = {}) => {
    const request = new Request(input, init)
    const { pathname, search } = new URL(request.url)
    const body = await request.text()
    const injected = app.inject({
      method: request.method as NonNullable<InjectOptions['method']>,
      url: pathname + search,
      headers: Object.fromEntries(request.headers),
      ...(body === '' ? {} : { payload: body }),
      signal: request.signal
    })
    underWay.add(injected)
    const { statusCode, headers, rawPayload } = await injected.finally(() => underWay.delete(injected))
    const lines = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
    return new Response([204, 205, 304].includes(statusCode) ? null : rawPayload, {
      status: statusCode,
      headers: lines
    })
  }
}

/**
 * Starts Latchkey for the tests of a service: in this process, with its database in memory, without a file and without a port.
 * `close()` releases everything.
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
  await bootstrap(app, config, { mayBeginAnew: true })
  const { auth, store } = app
  await auth.resources.create(OPERATOR, { id: 'service', identifier: audience, name: 'The service of the test' })
  const { client, secret } = await auth.clients.create(OPERATOR, {
    name: 'The guard',
    grantTypes: ['client_credentials'],
    scopes: ['revocations:read']
  })
  const underWay = new Set<Promise<unknown>>()
  const fetch = fetchFrom(app, underWay)

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
        rev: await store.revocations.seq()
      })
      return accessToken
    },

    async revoke(token) {
      const claims = await auth.accessTokens.read(token)
      if (claims === null) throw new Error('this Latchkey did not sign that token')
      await store.revocations.revokeToken(OPERATOR, { jti: claims.jti, now })
      await Promise.allSettled(underWay)
      // Lets the waiting guards continue first.
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
