import { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Prepares a stop in which no request fails; `close()` completes the stop. For `keepServingMs` the service reports that it is not ready
     * but accepts connections, so that a load balancer can select another instance. Then for `lastRequestsMs` it accepts no new
     * connection, and each open connection closes after its next response.
     */
    drain(): Promise<void>
    /**
     * Makes the service report that it is not ready. Responds to the clients that wait for new entries of the revocation log. Closes
     * each connection after its next response. `drain()` and `close()` call this function.
     */
    finishConnections(): Promise<void>
  }
  interface FastifyContextConfig {
    /** The route reports whether the service is ready. Its status is 503 while the service drains. */
    readiness?: true
  }
}

export interface DrainOptions {
  /** Milliseconds in which the service reports that it is not ready but accepts connections. */
  keepServingMs?: number
  /** Milliseconds in which open connections may send a last request. */
  lastRequestsMs?: number
}

/** Adds the functions that stop the service without a failed request. */
export default fp<DrainOptions>(
  async (fastify, { keepServingMs = 1000, lastRequestsMs = 500 }) => {
    let draining = false
    let closing = false
    fastify.decorate('finishConnections', async () => {
      draining = true
      closing = true
      await fastify.auth.revocationLog.stop()
    })
    fastify.decorate('drain', async () => {
      draining = true
      await sleep(keepServingMs)
      await fastify.finishConnections()
      // Calls `close` of the TCP server: `close` of the HTTP server would also close idle connections, which may send a last request.
      Server.prototype.close.call(fastify.server)
      await sleep(lastRequestsMs)
    })
    fastify.addHook('onRequest', async ({ routeOptions }) => {
      if (draining && routeOptions.config.readiness)
        throw new DomainError('unavailable', 'The service is stopping', { retryAfter: 10 })
    })
    fastify.addHook('preClose', () => fastify.finishConnections())
    fastify.addHook('onSend', async ({ raw }, reply) => {
      if (closing && raw.httpVersionMajor === 1) reply.header('connection', 'close')
    })
  },
  { name: 'drain', dependencies: ['auth'] }
)
