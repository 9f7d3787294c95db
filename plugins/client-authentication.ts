import fp from 'fastify-plugin'
import type { AuthenticatedClient } from '../src/domain/client-authentication.ts'
import { type Guard, selfGuarded } from '../src/guard/core.ts'
import { readCredentials } from './client-authentication/credentials.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Authenticates the client of a request whose body is a form. Accepts a request that names no client. */
    authenticateClient: Guard
  }
  interface FastifyContextConfig {
    /** The domain accepts confidential clients only. Without it, the OpenAPI document says that a request need not name a client. */
    confidentialClients?: true
  }
  interface FastifyRequest {
    /** Set by `authenticateClient`; null when the request names no client. */
    clientAuth: AuthenticatedClient | null
  }
}

/**
 * The security scheme of clients. OpenAPI has no scheme for credentials in a form: the schemas of the forms and the descriptions of the
 * operations document these.
 */
const SCHEME = 'client'

/** Adds client authentication for routes whose body is a form. Such a route names `authenticateClient` under `preHandler`. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('clientAuth', null)
    fastify.decorate(
      'authenticateClient',
      selfGuarded(async (request) => {
        const credentials = readCredentials(request)
        request.clientAuth =
          credentials && (await fastify.auth.clientAuthentication.authenticate(request.caller, credentials))
      })
    )

    // Must be added after the same hook of the plugin guard, which requires a guard under `preHandler`.
    fastify.addHook('onRoute', (route) => {
      const handlers = [route.preHandler ?? []].flat()
      if (!handlers.includes(fastify.authenticateClient)) return
      route.preHandler = handlers.filter((each) => each !== fastify.authenticateClient)
      const security = [{ [SCHEME]: [] }, ...(route.config?.confidentialClients ? [] : [{}])]
      route.schema = { ...route.schema, security } as object
      // Runs after the form is parsed and before the validation, so that a client with invalid credentials gets no validation error.
      route.preValidation = [...[route.preValidation ?? []].flat(), fastify.authenticateClient]
    })
  },
  { name: 'client-authentication', dependencies: ['auth', 'guard', 'request-caller'] }
)
