import { isUtf8 } from 'node:buffer'
import { errorCodes, type FastifyRequest, type preValidationHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'
import { LONG_TEXT_BYTES, PAGE_TEXT_BYTES, TEXT_BYTES_MAX } from '../src/limits.ts'
import { pathOf, queryOf } from '../src/request-target.ts'
import { fits } from '../src/text.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The path as the router compares it with paths without parameters: decoded once, without a slash at its end. Encoded
     * delimiters (`%2F`) stay encoded.
     */
    readonly path: string
  }
}

const malformed = () => new DomainError('invalid', 'The request is malformed')

/** Maximum number of requests on one connection that have no response yet. A client that does not wait for responses sends several. */
const PIPELINED = 16

/** One value of the input. */
interface Part {
  value: unknown
  /** The limit of its texts. */
  maxBytes: number
  /** The JSON pointer to the value. */
  pointer: string
}

/** Returns the refusal of a text that is too long, in the form of the refusals of the schemas. */
const tooLong = (validationContext: string, { maxBytes, pointer }: Part) =>
  Object.assign(new Error('a text is too long'), {
    validationContext,
    validation: [
      {
        keyword: 'maxBytes',
        instancePath: pointer,
        schemaPath: '',
        params: { limit: maxBytes },
        message: `must NOT have more than ${maxBytes} bytes`
      }
    ]
  })

/**
 * Checks all texts and names of members of one part of the request: their size, and that they are valid Unicode without NUL, because
 * databases cannot store other text. A text has the limit of its name in `limits`, else the limit of the value that holds it.
 * @throws Error with `validation` for a text that is too long; DomainError invalid
 */
function assertTexts(context: string, input: unknown, limits = LONG_TEXT_BYTES): void {
  const open: Part[] = [{ value: input, maxBytes: TEXT_BYTES_MAX, pointer: '' }]
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    const { value, maxBytes, pointer } = part
    if (typeof value === 'string') {
      if (!fits(value, maxBytes)) throw tooLong(context, part)
      if (value.includes('\0') || !value.isWellFormed()) throw malformed()
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, member] of Object.entries(value)) {
        if (!Array.isArray(value)) open.push({ value: name, maxBytes: TEXT_BYTES_MAX, pointer })
        open.push({ value: member, maxBytes: limits.get(name) ?? maxBytes, pointer: `${pointer}/${name}` })
      }
    }
  }
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

/** Returns whether a route ignores the body of its requests. */
const takesNoBody = ({ routeOptions }: FastifyRequest): boolean => routeOptions.schema?.body === undefined

/** Returns whether the headers announce a body (RFC 9112 §6.3). */
const hasBody = (headers: FastifyRequest['headers']): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Returns whether a media type names no charset, or only UTF-8. */
const isUtf8Type = (type = ''): boolean =>
  !type.includes(';') ||
  Array.from(type.matchAll(/;\s*charset\s*=([^;]*)/gi)).every(([, charset = '']) =>
    /^\s*("?)utf-?8\1\s*$/i.test(charset)
  )

/**
 * Refuses input that is not valid text: invalid UTF-8, invalid percent-encoding, NUL and lone surrogates; and every text that is longer
 * than its limit. Accepts only JSON bodies; a Fastify scope may replace the parser.
 */
export default fp(
  async (fastify) => {
    const parseJson = fastify.getDefaultJsonParser('error', 'error')
    fastify.removeContentTypeParser(['application/json', 'text/plain'])
    fastify.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
      if (body.length === 0 && takesNoBody(request)) return done(null)
      if (!isUtf8(body)) return done(malformed())
      void parseJson(request, body.toString('utf8'), (error, json) => done(error === null ? null : malformed(), json))
    })

    fastify.decorateRequest('path', {
      getter() {
        const path = pathOf(this.url)
        const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
        return isPercentEncoded(trimmed) ? decodeURI(trimmed) : trimmed
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
    fastify.addHook('preParsing', async (request) => {
      const { url, headers } = request
      if (!isPercentEncoded(queryOf(url))) throw malformed()
      // Many clients send a content type with every request, even without a body.
      if (takesNoBody(request) && !hasBody(headers)) delete headers['content-type']
      if (headers['content-encoding'] !== undefined || !isUtf8Type(headers['content-type']))
        throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
    })
    const checkTexts: preValidationHookHandler = ({ query, params, body, routeOptions }, _reply, done) => {
      try {
        assertTexts('query', query)
        assertTexts('path', params)
        assertTexts('body', body, routeOptions.config.errors === 'page' ? PAGE_TEXT_BYTES : LONG_TEXT_BYTES)
      } catch (error) {
        done(error as Error)
        return
      }
      done()
    }
    // Runs on every route before anything reads the input: after the hooks that parse the body, before the client is authenticated.
    fastify.addHook('onRoute', (route) => {
      route.preValidation = [checkTexts, ...[route.preValidation ?? []].flat()] as preValidationHookHandler[]
    })
    // A request without a route.
    fastify.addHook('preValidation', (request, reply, done) =>
      request.is404 ? checkTexts.call(fastify, request, reply, done) : done()
    )
  },
  { name: 'input' }
)
