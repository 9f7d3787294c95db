import fp from 'fastify-plugin'
import { type RequestTime, runInRequest } from '../src/deadline.ts'
import { REQUEST_MS } from '../src/limits.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set when the request arrives. */
    time: RequestTime
    /** The instant of `performance.now()` at which the parser of the body begins. */
    parsedSince: number
  }
}

/** Gives every request a deadline, which all steps of the request get (`src/deadline.ts`). Must be registered before all hooks that wait. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('time', null as never)
    fastify.decorateRequest('parsedSince', 0)
    fastify.addHook('onRequest', (request, { raw: response }, done) => {
      let caller: AbortController | undefined
      request.time = {
        endsAt: performance.now() + REQUEST_MS,
        // `request.signal` is not aborted when the connection closes after the body was read.
        get signal() {
          if (caller === undefined) {
            caller = new AbortController()
            if (response.destroyed || request.socket.destroyed) caller.abort()
            else response.once('close', () => caller?.abort())
          }
          return caller.signal
        }
      }
      runInRequest(request.time, done)
    })
    fastify.addHook('preParsing', (request, _reply, _payload, done) => {
      request.parsedSince = performance.now()
      done()
    })
    // The time of the body does not count, because it has its own limit. Fastify runs the hooks after the body in the context of the request.
    fastify.addHook('preValidation', (request, _reply, done) => {
      request.time.endsAt += performance.now() - request.parsedSince
      done()
    })
  },
  { name: 'deadline' }
)
