import type { IncomingMessage, ServerResponse } from 'node:http'
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

/**
 * A class, because V8 makes a hidden class for every object literal with a getter. It puts that hidden class into the old generation, from
 * where it keeps the memory of the request until the next large garbage collection.
 */
class TimeOfRequest implements RequestTime {
  endsAt = performance.now() + REQUEST_MS
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  #caller: AbortController | undefined

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request
    this.#response = response
  }

  get signal(): AbortSignal {
    // The signal of Fastify is not aborted when the connection closes after the body was read.
    if (this.#caller === undefined) {
      const caller = new AbortController()
      if (this.#response.destroyed || this.#request.socket.destroyed) caller.abort()
      else this.#response.once('close', () => caller.abort())
      this.#caller = caller
    }
    return this.#caller.signal
  }
}

/** Gives every request a deadline, which all steps of the request get (`src/deadline.ts`). Must be registered before all hooks that wait. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('time', null as never)
    fastify.decorateRequest('parsedSince', 0)
    fastify.addHook('onRequest', (request, reply, done) => {
      request.time = new TimeOfRequest(request.raw, reply.raw)
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
