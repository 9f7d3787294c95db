import fp from 'fastify-plugin'
import type { CurrentPrincipal } from '../src/domain/access-tokens.ts'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/built-in.ts'
import type { User } from '../src/domain/model.ts'
import guard, { type GuardOptions, type TokenGuard } from '../src/guard/core.ts'
import { FLOWS } from '../src/guard/document.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Returns guards that accept only tokens that have the scope and belong to a user with the role `admin`. */
    requireAdmin(scope: string): TokenGuard[]
  }
  interface FastifyRequest {
    /** The user of the token, read together with the state of the token. Only behind a guard that requires a user. */
    readonly tokenUser: User
  }
  interface FastifyContextConfig {
    /** The guards of the route accept tokens for every audience. Without it the audience must be Latchkey. */
    anyAudience?: true
  }
}

/** Adds the guards of Latchkey's own routes. The domain verifies the token and its current state at every request. */
export default fp<Pick<GuardOptions, 'onRefused'>>(
  async (fastify, options) => {
    const { verify } = fastify.auth.accessTokens
    await fastify.register(guard, {
      ...options,
      verify: (token, { routeOptions }) => verify(token, { anyAudience: routeOptions.config.anyAudience ?? false }),
      flows: FLOWS
    })
    fastify.decorateRequest('tokenUser', {
      getter() {
        return (this.principal as CurrentPrincipal).user as User
      }
    })
    // Replaces the `cache-control` that the routes of the JWKS and of the pages at /docs set, if the request has credentials.
    fastify.addHook('onSend', async ({ headers }, reply) => {
      if (headers.authorization !== undefined) reply.header('cache-control', 'no-store')
    })
    const { requireUser, requireScope, requireRole } = fastify
    fastify.decorate('requireAdmin', (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')])

    const clientScopes = CLIENT_SCOPES.map((scope) => scope.name)
    const scopes = [...BUILT_IN_SCOPES.map((scope) => scope.name), ...clientScopes]
    fastify.addHook('onRoute', (route) => {
      const { security = [] } = (route.schema ?? {}) as { security?: Record<string, string[]>[] }
      const required = security.flatMap(Object.values).flat()
      const unknown = required.find((scope) => !scopes.includes(scope))
      if (unknown !== undefined)
        throw new Error(
          `${route.url} requires the unknown scope "${unknown}"; known scopes: ${scopes.join(', ')}. See CONTRIBUTING.md`
        )
      const isForClients = security.some((flow) => 'clientCredentials' in flow)
      const ofUsers = required.find((scope) => !clientScopes.includes(scope))
      if (isForClients && ofUsers !== undefined)
        throw new Error(
          `${route.url} requires "${ofUsers}", a scope of users, but also accepts clients in their own name: add requireUser() to its preHandler. See CONTRIBUTING.md`
        )
      // Only clients can get these scopes, so the OpenAPI document names only the client credentials flow.
      if (required.some((scope) => clientScopes.includes(scope)))
        Object.assign(route.schema as object, { security: security.filter((flow) => 'clientCredentials' in flow) })
    })
  },
  { name: 'guard', dependencies: ['auth'] }
)
