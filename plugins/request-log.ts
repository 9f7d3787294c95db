import fp from 'fastify-plugin'
import { defined } from '../src/defined.ts'
import { loggedPath } from '../src/request-target.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Requests come all the time, for example probes. The log has them at the level `debug`, unless they fail. */
    quiet?: true
  }
}

/** Maximum number of characters of a path in the log. */
const PATH_MAX = 1000

/** Writes one line to the log for each request, when its response has ended. */
export default fp(
  async (fastify) => {
    fastify.addHook('onResponse', async (request, reply) => {
      const { caller } = request
      const { statusCode: status } = reply
      const line = {
        method: request.method,
        path: loggedPath(request.url.slice(0, PATH_MAX)),
        status,
        ms: Math.round(reply.elapsedTime),
        ...defined({
          user: caller.kind === 'user' || caller.kind === 'login' ? caller.id : undefined,
          client: caller.kind === 'user' ? caller.clientId : caller.kind === 'client' ? caller.id : undefined,
          // The caller left before the response ended.
          aborted: reply.raw.writableEnded ? undefined : true
        })
      }
      if (request.routeOptions.config.quiet && status < 400) request.log.debug(line, 'request')
      else request.log.info(line, 'request')
    })
  },
  { name: 'request-log', dependencies: ['request-caller'] }
)
