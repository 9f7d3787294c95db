import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { DomainError, OAuthError, SetupError } from '../src/domain/errors.ts'
import { AccessError } from '../src/guard/errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `oauth` for the endpoints whose errors RFC 6749 §5.2 describes. */
    errors?: 'oauth'
    /** A secret is checked here, so guesses are limited. */
    guessable?: true
    /** The route answers from memory: it cannot fail for want of the database. */
    standalone?: true
  }
}

/** RFC 9457 §3. */
const PROBLEM = {
  $id: 'Problem',
  description: 'An error, RFC 9457',
  type: 'object',
  required: ['type', 'title', 'status', 'detail'],
  properties: {
    type: { type: 'string', description: 'Always `about:blank`: the status says it all (RFC 9457 §4.2.1)' },
    title: { type: 'string', description: 'The status in words' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What went wrong with this request' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['pointer', 'detail'],
        properties: {
          pointer: { type: 'string', description: 'Where: `/body/email`' },
          detail: { type: 'string', description: 'What is wrong there' }
        }
      }
    }
  }
}

/** RFC 6749 §5.2. */
const OAUTH_ERROR = {
  $id: 'OAuthError',
  description: 'An error, RFC 6749 §5.2',
  type: 'object',
  required: ['error', 'error_description'],
  properties: {
    error: { type: 'string', description: 'A code of RFC 6749 §5.2; of §4.1.2.1 with 429 and 5xx' },
    error_description: { type: 'string', description: 'What went wrong with this request' }
  }
}

/** One failure in both of its shapes: `code` for the OAuth endpoints, `detail` for all. */
interface Failure {
  status: number
  code: string
  detail: string
  errors?: { pointer: string; detail: string }[]
  headers?: Record<string, string>
}

const DOMAIN_STATUS = { invalid: 400, not_found: 404, conflict: 409, throttled: 429, unavailable: 503 }

/** The path is not there for this method. */
class MethodNotAllowed extends Error {
  readonly allow: string[]

  constructor(allow: string[]) {
    super('The method is not allowed here')
    this.allow = allow
  }
}

/** How many things that are wrong with one request are told at most. */
const PROBLEMS_TOLD = 50

type ValidationItem = NonNullable<FastifyError['validation']>[number]

function validationFailure(items: ValidationItem[], part: string): Failure {
  const errors = items.slice(0, PROBLEMS_TOLD).map(({ instancePath, keyword, params, message }) => {
    const key =
      (keyword === 'required' && params.missingProperty) ||
      (keyword === 'additionalProperties' && params.additionalProperty)
    const escaped = typeof key === 'string' ? `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}` : ''
    return { pointer: `/${part}${instancePath}${escaped}`, detail: message ?? keyword }
  })
  const missing = items.find(({ keyword }) => keyword === 'required')
  let detail = 'The request does not have the form that the documentation describes'
  if (missing !== undefined) detail = `The parameter ${missing.params.missingProperty} is missing`
  else if (part === 'query') detail = 'The query does not have the form that the documentation describes'
  return { status: 400, code: 'invalid_request', detail, errors }
}

/** The table of errors: whatever is thrown, here it gets its answer; what is not known is our own failure. */
function failureOf(error: unknown): Failure {
  if (error instanceof OAuthError) {
    const { code, message: detail } = error
    if (code === 'invalid_client')
      return { status: 401, code, detail, headers: { 'www-authenticate': 'Basic realm="latchkey"' } }
    return { status: 400, code, detail }
  }
  if (error instanceof AccessError) {
    return { status: error.statusCode, code: 'invalid_request', detail: error.message, headers: error.headers }
  }
  if (error instanceof DomainError) {
    if (error.code === 'forbidden') return failureOf(new AccessError('insufficient_scope', error.message))
    const status = DOMAIN_STATUS[error.code]
    return {
      status,
      code: status === 429 || status === 503 ? 'temporarily_unavailable' : 'invalid_request',
      detail: error.message,
      ...(error.retryAfter === undefined ? {} : { headers: { 'retry-after': String(error.retryAfter) } })
    }
  }
  if (error instanceof SetupError) {
    return {
      status: 503,
      code: 'temporarily_unavailable',
      detail: 'The service is not ready',
      headers: { 'retry-after': '10' }
    }
  }
  if (error instanceof MethodNotAllowed) {
    return { status: 405, code: 'invalid_request', detail: error.message, headers: { allow: error.allow.join(', ') } }
  }
  const { validation, validationContext, code = '', statusCode = 500 } = (error ?? {}) as Partial<FastifyError>
  if (validation !== undefined)
    return validationFailure(validation, validationContext === 'querystring' ? 'query' : (validationContext ?? 'body'))
  if (code === 'FST_STATIC_FORBIDDEN_PATH')
    return { status: 404, code: 'invalid_request', detail: FASTIFY_DETAIL[404] as string }
  const detail = code.startsWith('FST_ERR_') ? FASTIFY_DETAIL[statusCode] : undefined
  return detail === undefined
    ? { status: 500, code: 'server_error', detail: 'The server failed' }
    : { status: statusCode, code: 'invalid_request', detail }
}

/** What Fastify refuses by itself, by its status. */
const FASTIFY_DETAIL: Record<number, string> = {
  400: 'The request is malformed',
  404: 'There is nothing here',
  408: 'The request took too long to arrive',
  413: 'The body is too large',
  414: 'The path is too long',
  415: 'The content type is not supported here',
  431: 'The headers are too large'
}

const problem = ({ status, detail, errors }: Omit<Failure, 'code'>) => ({
  type: 'about:blank',
  title: STATUS_CODES[status] ?? 'Error',
  status,
  detail,
  ...(errors === undefined ? {} : { errors })
})

function answer(reply: FastifyReply, failure: Failure, shape: 'oauth' | undefined) {
  const { status, code, detail, headers = {} } = failure
  reply.code(status).headers({ ...headers, 'cache-control': 'no-store' })
  if (shape === 'oauth') return reply.type('application/json').send({ error: code, error_description: detail })
  return reply.type('application/problem+json').send(problem(failure))
}

/** For answers that no hook sees. */
const BARE = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  connection: 'close'
}

/** For what Fastify refuses before a route is known. Its messages repeat the URL, so only the code is logged. */
export function frameworkErrors(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  request.log.info({ code: error.code }, 'refused before routing')
  reply.headers(BARE)
  answer(reply, failureOf(error), undefined)
}

/** For what Node's HTTP parser refuses: an answer by hand, then the end of the connection. The error holds the bytes, so only its code is logged. */
export function clientErrorHandler(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  this.log.debug({ code: error.code }, 'refused by the HTTP parser')
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  const body = JSON.stringify(problem({ status, detail: FASTIFY_DETAIL[status] ?? '' }))
  const headers = {
    ...BARE,
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': Buffer.byteLength(body)
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}

/** Gives every refusal its answer, and every route the documents of the refusals that it can give. */
export default fp(
  async (fastify) => {
    const oauthPaths = new Set<string>()
    const methods = new Set<string>()
    fastify.addSchema(PROBLEM)
    fastify.addSchema(OAUTH_ERROR)

    fastify.addHook('onRoute', (route) => {
      for (const method of [route.method].flat()) methods.add(method)
      const shape = route.config?.errors
      if (shape === 'oauth') oauthPaths.add(route.url)
      const { security, body, response } = (route.schema ?? {}) as {
        security?: object[]
        body?: unknown
        response?: object
      }
      const statuses = [
        400,
        ...(shape === 'oauth' ? [401] : []),
        ...(security?.length ? [401, 403] : []),
        // Fastify parses what comes with DELETE and POST, though nothing is asked for.
        ...(body === undefined && !['DELETE', 'POST'].includes(String(route.method)) ? [] : [413, 415]),
        ...(route.config?.guessable ? [429] : []),
        ...(route.config?.standalone ? [] : [500, 503])
      ]
      route.schema = { ...route.schema, response: { ...errorResponses(statuses, shape), ...response } }
    })

    fastify.addHook('onRequest', async (request) => {
      if (!request.is404) return
      const url = request.path
      const allow = [...methods].filter((method) => fastify.findRoute({ method: method as 'GET', url }) !== null)
      if (allow.length > 0 && !allow.includes(request.method)) throw new MethodNotAllowed(allow.sort())
    })

    fastify.setNotFoundHandler((_request, reply) =>
      answer(reply, { status: 404, code: 'invalid_request', detail: FASTIFY_DETAIL[404] as string }, undefined)
    )

    fastify.setErrorHandler((error, request, reply) => {
      const failure = failureOf(error)
      if (failure.status >= 500) request.log.error({ err: error }, 'request failed')
      if (failure.status === 429) request.log.warn({ address: request.ip }, failure.detail)
      const shape = request.routeOptions.config.errors ?? (oauthPaths.has(request.path) ? 'oauth' : undefined)
      return answer(reply, failure, shape)
    })
  },
  { name: 'errors', dependencies: ['guard-core', 'input'] }
)

/** What a refusal looks like in the documents, where `FASTIFY_DETAIL` does not say it: code and detail. */
const EXAMPLES: Record<number, [code: string, detail: string]> = {
  401: ['invalid_client', 'Could not validate credentials'],
  403: ['insufficient_scope', 'Not enough permissions'],
  500: ['server_error', 'The server failed'],
  429: ['temporarily_unavailable', 'Too many failed attempts'],
  503: ['temporarily_unavailable', 'The database is not available']
}

const CHALLENGE = { 'WWW-Authenticate': { type: 'string', description: 'What is asked for (RFC 9110 §11.6.1)' } }
const RETRY = { 'Retry-After': { type: 'integer', description: 'Seconds' } }
const HEADERS: Record<number, object> = { 401: CHALLENGE, 403: CHALLENGE, 429: RETRY, 503: RETRY }

/** Response schemas for refusals. */
function errorResponses(statuses: number[], shape: 'oauth' | undefined): Record<number, object> {
  const responses = statuses.map((status) => {
    const [error, detail] = EXAMPLES[status] ?? ['invalid_request', FASTIFY_DETAIL[status] ?? '']
    const content =
      shape === 'oauth'
        ? { 'application/json': { schema: { $ref: OAUTH_ERROR.$id }, example: { error, error_description: detail } } }
        : { 'application/problem+json': { schema: { $ref: PROBLEM.$id }, example: problem({ status, detail }) } }
    const headers = HEADERS[status]
    return [status, { description: STATUS_CODES[status], content, ...(headers === undefined ? {} : { headers }) }]
  })
  return Object.fromEntries(responses)
}
