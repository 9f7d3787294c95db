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

/** Maximum number of requests on one connection that have no response yet. A client that does not wait for responses sends several. */
const PIPELINED = 16

/** Returns whether all texts and member names of the input are valid Unicode without NUL. Databases cannot store other text. */
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

/** Returns whether the percent-encoding of a text is valid. */
function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/**
 * Refuses input that is not valid text: invalid UTF-8, invalid percent-encoding, NUL and lone surrogates. Accepts only JSON bodies; a
 * Fastify scope may replace the parser.
 */
export default fp(
  async (fastify) => {
    const parseJson = fastify.getDefaultJsonParser('error', 'error')
    fastify.removeContentTypeParser(['application/json', 'text/plain'])
    fastify.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
      // Many clients send the content type with every request, even without a body.
      if (body.length === 0 && request.method === 'DELETE') return done(null)
      if (!isUtf8(body)) return done(malformed())
      void parseJson(request, body.toString('utf8'), (error, json) => done(error === null ? null : malformed(), json))
    })

    fastify.decorateRequest('path', {
      getter() {
        const path = this.url.split('?', 1)[0]?.replace(/(?<=.)\/$/, '') ?? '/'
        return isPercentEncoded(path) ? decodeURIComponent(path) : path
      }
    })
    // Without this listener Node.js sends 417 with an empty body. RFC 9110 §10.1.1 allows a server to ignore an unknown expectation.
    fastify.server.on('checkExpectation', (request, response) => fastify.server.emit('request', request, response))
    fastify.addHook('onRequest', async ({ raw: { rawHeaders, httpVersion } }, reply) => {
      const hosts = rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'host').length
      // RFC 9112 §3.2: exactly one `Host`, which only HTTP/1.1 requires.
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
      throw new DomainError('invalid', `At most ${PIPELINED} requests on one connection may wait for their responses`)
    })
    fastify.addHook('onResponse', async ({ raw: { socket } }) => {
      unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1)
    })

    // Runs after the guards, which run in onRequest, so that a caller without rights learns nothing about other errors of the request.
    fastify.addHook('preParsing', async ({ url, headers }) => {
      if (headers['content-encoding'] !== undefined) throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
      const start = url.indexOf('?')
      if (start !== -1 && !isPercentEncoded(url.slice(start + 1))) throw malformed()
    })
    fastify.addHook('preValidation', async ({ query, params, body }) => {
      if (!isStorable([query, params, body])) throw malformed()
    })
  },
  { name: 'input' }
)
