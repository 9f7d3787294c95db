import fp from 'fastify-plugin'
import { type Event, type Events, WARNINGS } from '../src/domain/events.ts'

declare module 'fastify' {
  interface FastifyInstance {
    events: Events
    /** Calls a function after each event. It must not throw, and runs inside the request that caused the event. */
    onEvent(listener: (event: Event) => void): void
  }
}

/** Writes events to the log: failures and warnings with the level `warn`, other successes with the level `info`. */
export default fp(
  async (fastify) => {
    const listeners: ((event: Event) => void)[] = []
    fastify.decorate('onEvent', (listener) => void listeners.push(listener))
    fastify.decorate('events', {
      record(event) {
        const { type, caller, subject, outcome, reason } = event
        const { requestId, ...loggedCaller } = caller
        const line = { event: type, outcome, subject, caller: loggedCaller, reqId: requestId ?? undefined, reason }
        if (outcome === 'failure' || WARNINGS.includes(type)) fastify.log.warn(line, type)
        else fastify.log.info(line, type)
        for (const listener of listeners) listener(event)
      }
    })
  },
  { name: 'events' }
)
