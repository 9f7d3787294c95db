import { isUtf8 } from 'node:buffer'
import { errorCodes } from 'fastify'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The path as the router sees it: decoded, without the query and without a slash at its end. */
    readonly path: string
  }
}

const malformed = () => new DomainError('invalid', 'The request is malformed')

/** Unanswered requests of one connection at most, for clients that do not wait for answers. */
const PIPELINED = 16

/** Returns whether every text of the input is Unicode without NUL, names of members too. Databases cannot store other text. */
function isStorable(input: unknown): boolean {
  const open = [input]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value === 'string') {
      if (value.includes('\0') || !value.isWellFormed()) return false
    } else if (typeof value === 'object' && value !== null) {
      open.push(...Object.keys(value), ...Object.values(value))
    }
  }
  return true
}

function isFormEncoded(query: string): boolean {
  try {
    decodeURIComponent(query)
    return true
  } catch {
    return false
  }
}

/**
 * Refuses input that is not text: invalid UTF-8, invalid percent-escapes, NUL and lone surrogates. Accepts only JSON bodies; a
 * scope may replace the parser.
 */
export default fp(
  async (fastify) => {
    const parseJson = fastify.getDefaultJsonParser('error', 'error')
    fastify.removeContentTypeParser(['application/json', 'text/plain'])
    fastify.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
      // Many clients send the content type with every request, also without a body.
      if (body.length === 0 && request.method === 'DELETE') return done(null)
      if (!isUtf8(body)) return done(malformed())
      void parseJson(request, body.toString('utf8'), (error, json) => done(error === null ? null : malformed(), json))
    })

    fastify.decorateRequest('path', {
      getter() {
        const path = this.url.split('?', 1)[0]?.replace(/(?<=.)\/$/, '') ?? '/'
        return isFormEncoded(path) ? decodeURIComponent(path) : path
      }
    })
    // Node.js would answer 417 with an empty body. RFC 9110 §10.1.1 allows a server to ignore an unknown expectation.
    fastify.server.on('checkExpectation', (request, response) => fastify.server.emit('request', request, response))
    fastify.addHook('onRequest', async ({ raw: { rawHeaders, httpVersion } }, reply) => {
      const hosts = rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'host').length
      // RFC 9112 §3.2
      if (hosts === 1 || (hosts === 0 && httpVersion !== '1.1')) return
      reply.header('connection', 'close')
      throw malformed()
    })

    const unanswered = new WeakMap<object, number>()
    fastify.addHook('onRequest', async ({ raw: { socket } }, reply) => {
      const requests = (unanswered.get(socket) ?? 0) + 1
      unanswered.set(socket, requests)
      if (requests <= PIPELINED) return
      reply.header('connection', 'close')
      throw new DomainError('invalid', `More than ${PIPELINED} requests at once on one connection`)
    })
    fastify.addHook('onResponse', async ({ raw: { socket } }) => {
      unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1)
    })

    // Runs after the guards, which are in onRequest, so a caller without rights learns nothing about the rest of the request.
    fastify.addHook('preParsing', async ({ url, headers }) => {
      if (headers['content-encoding'] !== undefined) throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
      const start = url.indexOf('?')
      if (start !== -1 && !isFormEncoded(url.slice(start + 1))) throw malformed()
    })
    fastify.addHook('preValidation', async ({ query, params, body }) => {
      if (!isStorable([query, params, body])) throw malformed()
    })
  },
  { name: 'input' }
)
