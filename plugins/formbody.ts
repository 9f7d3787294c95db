import fastifyFormbody from '@fastify/formbody'
import { errorCodes } from 'fastify'
import fp from 'fastify-plugin'
import { OAuthError } from '../src/domain/errors.ts'
import { FORM_PARAMETERS_MAX } from '../src/limits.ts'

/**
 * The parameters of requests to the endpoints for tokens (IANA, OAuth Parameters). In a query they would stand in logs of proxies (RFC 6749
 * §2.3.1).
 */
const PARAMETERS: ReadonlySet<string> = new Set([
  'access_token',
  'actor_token',
  'actor_token_type',
  'assertion',
  'audience',
  'authorization_details',
  'client_assertion',
  'client_assertion_type',
  'client_id',
  'client_secret',
  'code',
  'code_verifier',
  'device_code',
  'grant_type',
  'password',
  'redirect_uri',
  'refresh_token',
  'requested_token_type',
  'resource',
  'scope',
  'subject_token',
  'subject_token_type',
  'token',
  'token_type_hint',
  'username'
])

/** The only parameter that may be repeated at the endpoints for tokens (RFC 8707 §2). */
const MAY_REPEAT = 'resource'

export interface FormOptions {
  /**
   * Whether the forms come from pages. Their URLs may hold parameters of OAuth, and each parameter may be repeated: it is a list then, which
   * the schema or the domain refuses.
   */
  fromPages?: boolean
  /** Whether a request with the method POST may have no body. */
  mayBeMissing?: boolean
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text.replaceAll('+', ' '))
    if (!decoded.includes('\0')) return decoded
  } catch {}
  throw new OAuthError(
    'invalid_request',
    'A parameter has invalid percent-encoding or invalid UTF-8, or contains a NUL character'
  )
}

/**
 * Parses a form. Returns all values of each parameter.
 * @throws OAuthError invalid_request for too many parameters, a NUL, invalid percent-encoding or invalid UTF-8
 */
function parsePairs(text: string): Map<string, string[]> {
  // Bytes that are not UTF-8 were decoded to U+FFFD.
  if (text.includes('\uFFFD'))
    throw new OAuthError('invalid_request', 'The body contains invalid UTF-8 or the character U+FFFD')
  const values = new Map<string, string[]>()
  const pairs = text.split('&').filter((pair) => pair !== '')
  if (pairs.length > FORM_PARAMETERS_MAX)
    throw new OAuthError('invalid_request', `A form has at most ${FORM_PARAMETERS_MAX} parameters`)
  for (const pair of pairs) {
    const [name = '', ...rest] = pair.split('=')
    const key = decode(name)
    const value = decode(rest.join('='))
    const list = values.get(key)
    if (list === undefined) values.set(key, [value])
    else list.push(value)
  }
  return values
}

/**
 * Parses the form of an endpoint for tokens. Drops empty parameters (RFC 6749 §3.2) and returns `resource` as a list.
 * @throws OAuthError invalid_request, also for a repeated parameter
 */
export function parseForm(text: string): Record<string, string | string[]> {
  const values = parsePairs(text)
  const form: Record<string, string | string[]> = Object.create(null)
  for (const [name, all] of values) {
    if (all.length > 1 && name !== MAY_REPEAT) throw new OAuthError('invalid_request', 'A parameter is repeated')
    const filled = all.filter((value) => value !== '')
    if (filled.length > 0) form[name] = name === MAY_REPEAT ? filled : (filled[0] as string)
  }
  return form
}

/** Parses the form of a page. Drops empty parameters, and returns a repeated parameter as a list. */
function parsePageForm(text: string): Record<string, string | string[]> {
  const form: Record<string, string | string[]> = Object.create(null)
  for (const [name, all] of parsePairs(text)) {
    const [first, ...more] = all.filter((value) => value !== '')
    if (first !== undefined) form[name] = more.length === 0 ? first : [first, ...more]
  }
  return form
}

/**
 * Accepts only forms as bodies in the Fastify scope that registers this plugin. At the endpoints for tokens, no parameter of OAuth may be
 * in the query.
 */
export default fp<FormOptions>(
  async (fastify, { fromPages = false, mayBeMissing = false }) => {
    fastify.removeAllContentTypeParsers()
    // A hook parses the text, because an error that the parser throws would not be caught and would end the process.
    await fastify.register(fastifyFormbody, { parser: (text) => ({ text }) })
    // RFC 6749 §5.1: no cache may store a response with tokens or other sensitive information.
    fastify.addHook('onRequest', async (_request, reply) => {
      reply.header('cache-control', 'no-store')
    })
    fastify.addHook('preValidation', async (request) => {
      if (!fromPages && Object.keys(request.query as object).some((name) => PARAMETERS.has(name)))
        throw new OAuthError('invalid_request', 'The parameters of OAuth must be in the form, not in the query')
      if (request.body === undefined) {
        if (request.method !== 'POST') return
        if (!mayBeMissing) throw new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()
        request.body = {}
        return
      }
      const { text } = request.body as { text: string }
      request.body = fromPages ? parsePageForm(text) : parseForm(text)
    })
  },
  { name: 'formbody' }
)
