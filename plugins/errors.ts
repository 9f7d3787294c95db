import fp from 'fastify-plugin'
import { errorResponses } from './errors/document.ts'
import { createFailureLog } from './errors/log.ts'
import { SHAPES, type ShapeName, sendFailure } from './errors/shapes.ts'
import { followResponses } from './errors/socket.ts'
import { failureOf, MALFORMED, MethodNotAllowed, NOT_FOUND, unsupported } from './errors/table.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The shape of the route's errors; by default `problem`. */
    errors?: ShapeName
    /** The route verifies a secret, so failed attempts are limited. */
    guessable?: true
    /** The route responds from memory, so it never fails because of the database. */
    standalone?: true
  }
  interface FastifyRequest {
    /** Set by the handler of a form: shows the form again when the attempt was refused for load or after too many attempts. */
    keepForm: ((refusal: { kind: 'throttled' | 'busy'; retryAfter: number }) => Promise<FastifyReply>) | null
  }
}

/** The refusals after which the user can send the form again, by status. */
const FORM_REFUSALS: Record<number, 'throttled' | 'busy'> = { 429: 'throttled', 503: 'busy' }

const DEFAULT_SHAPE: ShapeName = 'problem'

/** Sends every failure in the shape of its route, and documents the failures of every route. */
export default fp(
  async (fastify) => {
    /** The shapes by path. A request with a method that the path does not accept has no route with a shape. */
    const shapes = new Map<string, ShapeName>()
    const methods = new Set<string>()
    followResponses(fastify.server)
    for (const { schema } of Object.values(SHAPES)) if (schema.$id !== undefined) fastify.addSchema(schema)

    const logFailure = createFailureLog()
    fastify.decorateRequest('keepForm', null)

    fastify.addHook('onRoute', (route) => {
      for (const method of [route.method].flat()) methods.add(method)
      const shape = route.config?.errors
      if (shape !== undefined) shapes.set(route.url, shape)
      const { response } = (route.schema ?? {}) as { response?: object }
      route.schema = { ...route.schema, response: { ...errorResponses(route, shape ?? DEFAULT_SHAPE), ...response } }
    })

    fastify.addHook('onRequest', async (request) => {
      if (!request.is404) return
      // The router decodes the path itself.
      const { url } = request
      const allow = [...methods].filter((method) => fastify.findRoute({ method: method as 'GET', url }) !== null)
      if (allow.length > 0 && !allow.includes(request.method)) throw new MethodNotAllowed(allow.sort())
    })

    fastify.setNotFoundHandler((request, reply) =>
      sendFailure(reply, NOT_FOUND, request.wantsPage ? 'page' : DEFAULT_SHAPE)
    )

    fastify.setErrorHandler((error, request, reply) => {
      // The caller left, or sent a body that is not HTTP or too slow: nobody reads this response.
      const isAborted = error instanceof Error && error === request.raw.errored
      const shape = request.routeOptions.config.errors ?? shapes.get(request.path) ?? DEFAULT_SHAPE
      let failure = isAborted ? MALFORMED : failureOf(error)
      if (failure.status === 415) failure = unsupported(SHAPES[shape].accepts)
      if (isAborted) request.log.info('the body of the request ended before it was complete')
      logFailure(error, failure, request)
      const refusal = FORM_REFUSALS[failure.status]
      if (request.keepForm === null || refusal === undefined) return sendFailure(reply, failure, shape)
      const { 'retry-after': retryAfter = '1' } = failure.headers ?? {}
      reply.code(failure.status).header('retry-after', retryAfter)
      return request
        .keepForm({ kind: refusal, retryAfter: Number(retryAfter) })
        .catch(() => sendFailure(reply, failure, shape))
    })
  },
  { name: 'errors', dependencies: ['guard-core', 'input', 'pages'] }
)
