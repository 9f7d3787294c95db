import fp from 'fastify-plugin'
import type { Events } from '../src/domain/events.ts'

declare module 'fastify' {
  interface FastifyInstance {
    events: Events
  }
}

/** Writes events to the log: failures with the level `warn`, successes with the level `info`. */
export default fp(
  async (fastify) => {
    fastify.decorate('events', {
      record({ type, caller, subject, outcome, reason }) {
        const { requestId, ...loggedCaller } = caller
        const line = { event: type, outcome, subject, caller: loggedCaller, reqId: requestId ?? undefined, reason }
        if (outcome === 'failure') fastify.log.warn(line, type)
        else fastify.log.info(line, type)
      }
    })
  },
  { name: 'events' }
)
