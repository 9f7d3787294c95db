import type { preHandlerAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { AccessError, type OpenGuard, selfGuarded } from '../src/guard/core.ts'
import { FLOWS } from '../src/guard/document.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Returns a guard that accepts only tokens of users with the scope, in the `Authorization` header or in the form (RFC 6750 §2.2). For a
     * route whose body is a form. Behind it `request.principal` is a principal.
     */
    formToken(scope: string): OpenGuard
  }
}

/** Adds the guard of routes that take a token also in their form. */
export default fp(
  async (fastify) => {
    /** The required scope, by guard. */
    const scopes = new Map<unknown, string>()

    fastify.decorate('formToken', (scope) => {
      const guards = [fastify.requireUser(), fastify.requireScope(scope)]
      const guard = selfGuarded(async function (request, reply) {
        const { access_token: token } = (request.body ?? {}) as Record<string, unknown>
        if (typeof token === 'string') {
          // RFC 6750 §2: a request has at most one token.
          if (request.headers.authorization !== undefined)
            throw new AccessError('invalid_request', 'The request has more than one token')
          request.headers.authorization = `Bearer ${token}`
        }
        for (const each of guards) await each.call(this, request, reply)
      })
      scopes.set(guard, scope)
      return guard
    })

    // Must be added after the same hook of the plugin guard, which requires a guard under `preHandler`.
    fastify.addHook('onRoute', (route) => {
      const handlers = [route.preHandler ?? []].flat()
      const guard = handlers.find((each) => scopes.has(each))
      if (guard === undefined) return
      const scope = scopes.get(guard) as string
      route.preHandler = handlers.filter((each) => each !== guard)
      route.schema = { ...route.schema, security: FLOWS.user.map((flow) => ({ [flow]: [scope] })) } as object
      // Runs after the form is parsed and before the validation.
      route.preValidation = [...[route.preValidation ?? []].flat(), guard] as preHandlerAsyncHookHandler[]
    })
  },
  { name: 'form-token', dependencies: ['guard'] }
)
