import { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * The first half of a stop in which no request fails; `close()` is the second. The service says that it is not ready and
     * serves on, so that a load balancer can turn away; then it lets nobody in any more, and ends each connection with
     * its next answer.
     */
    drain(): Promise<void>
    /**
     * The part of it, and of a close, after which nobody is kept: the service is not ready, and each connection ends with its
     * next answer.
     */
    letGo(): Promise<void>
  }
  interface FastifyContextConfig {
    /** The route says whether the service is ready: no longer when it drains. */
    readiness?: true
  }
}

/** How long it serves on, and how long those who are connected then may send a last request. Milliseconds. */
const SERVE_ON = 1000
const LAST_REQUESTS = 500

export default fp(
  async (fastify) => {
    let draining = false
    let closing = false
    fastify.decorate('letGo', async () => {
      draining = true
      closing = true
      await fastify.auth.revocationLog.stop()
    })
    fastify.decorate('drain', async () => {
      draining = true
      await sleep(SERVE_ON)
      await fastify.letGo()
      // The HTTP server's own close() would cut off who is connected and has not sent the next request yet.
      Server.prototype.close.call(fastify.server)
      await sleep(LAST_REQUESTS)
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
