import fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import guard, { type GuardOptions } from '../../src/guard/core.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import type { Principal } from '../../src/token/principal.ts'
import { refusal } from '../../src/token/refusal.ts'

const CLAIMS = { jti: 'x' } as AccessTokenClaims

const user = (scopes: string[] = [], roles: string[] = []): Principal => ({
  kind: 'user',
  sub: 'user-1',
  clientId: 'app',
  sid: 'session-1',
  scopes,
  roles,
  token: CLAIMS
})

/** The valid tokens, by their names: scopes, roles, or `service` for a client in its own name. */
export const TOKENS: Record<string, Principal> = {
  nothing: user(),
  a: user(['a']),
  b: user(['b']),
  ab: user(['a', 'b']),
  admin: user([], ['admin']),
  all: user(['a', 'b'], ['admin', 'auditor']),
  service: { kind: 'client', sub: 'app', clientId: 'app', sid: null, scopes: ['a', 'b'], roles: [], token: CLAIMS }
}

/** The verdict about every other token. */
export const UNKNOWN = refusal('malformed', 'The token is unknown')

export const handler = async () => 'done'

/** Returns an app with the guard, and with the routes of `declare` in a plugin. */
export async function serve(
  t: Test,
  declare: (app: FastifyInstance) => unknown,
  { before = () => {}, ...options }: Partial<GuardOptions> & { before?: (app: FastifyInstance) => unknown } = {}
): Promise<FastifyInstance> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(guard, {
    verify: async (token) => TOKENS[token] ?? UNKNOWN,
    flows: { user: ['password', 'code'], client: ['clientCredentials'] },
    ...options
  })
  before(app)
  await app.register(async (scope) => void (await declare(scope)))
  await app.ready()
  return app
}

/** Sends a request with the token, or without one. */
export const send = async (
  app: FastifyInstance,
  url: string,
  token?: string,
  method: 'GET' | 'HEAD' | 'POST' = 'GET'
) => app.inject({ method, url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })

/** Returns the status with each token, with an invalid token as `unknown`, and without a token as `none`. */
export async function statuses(app: FastifyInstance, url: string, tokens = Object.keys(TOKENS)) {
  const entries = [['none', (await send(app, url)).statusCode]]
  for (const token of [...tokens, 'unknown']) entries.push([token, (await send(app, url, token)).statusCode])
  return Object.fromEntries(entries)
}
