import { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Does the first half of a stop in which no request fails; `close()` is the second half. First the service is not ready but
     * accepts connections, so that a load balancer can turn away. Then it accepts no new connection, and each open connection
     * ends with its next answer. Resolves after `serveOnMs` and `lastRequestsMs`.
     */
    drain(): Promise<void>
    /**
     * Makes the service not ready, answers those who wait for the revocation log, and ends each connection with its next answer.
     * A part of `drain()` and of `close()`.
     */
    letGo(): Promise<void>
  }
  interface FastifyContextConfig {
    /** The route reports whether the service is ready. It refuses while the service drains. */
    readiness?: true
  }
}

export interface DrainOptions {
  /** Milliseconds in which the service is not ready but accepts connections. */
  serveOnMs?: number
  /** Milliseconds in which open connections may send a last request. */
  lastRequestsMs?: number
}

export default fp<DrainOptions>(
  async (fastify, { serveOnMs = 1000, lastRequestsMs = 500 }) => {
    let draining = false
    let closing = false
    fastify.decorate('letGo', async () => {
      draining = true
      closing = true
      await fastify.auth.revocationLog.stop()
    })
    fastify.decorate('drain', async () => {
      draining = true
      await sleep(serveOnMs)
      await fastify.letGo()
      // The HTTP server's own close() would cut connections that have not sent their next request yet.
      Server.prototype.close.call(fastify.server)
      await sleep(lastRequestsMs)
    })
    fastify.addHook('onRequest', async ({ routeOptions }) => {
      if (draining && routeOptions.config.readiness)
        throw new DomainError('unavailable', 'The service is stopping', { retryAfter: 10 })
    })
    fastify.addHook('preClose', () => fastify.letGo())
    fastify.addHook('onSend', async ({ raw }, reply) => {
      if (closing && raw.httpVersionMajor === 1) reply.header('connection', 'close')
    })
  },
  { name: 'drain', dependencies: ['auth'] }
)
