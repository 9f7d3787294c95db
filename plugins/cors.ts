import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { defined } from '../src/defined.ts'
import { isLoopback } from '../src/loopback.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Browser apps of the allowed origins may call this route, without cookies. */
    cors?: true
  }
}

/** Returns whether a text is an http origin on a loopback host, with any port. */
function isLoopbackOrigin(text: string): boolean {
  if (!text.startsWith('http:') || !URL.canParse(text)) return false
  const { origin, hostname } = new URL(text)
  return origin === text && isLoopback(hostname)
}

/** Maximum number of characters of the names of headers in one preflight. */
const HEADERS_MAX = 1024
/** Names of headers, separated by commas (RFC 9110 §5.1). */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(,[\w!#$%&'*+.^`|~-]+)*$/

/**
 * Returns the names of headers that a preflight asks for; undefined for names that are not valid. Every header is allowed, because scripts
 * that trace requests add headers to each of them (`baggage`, `sentry-trace`). This is safe: without `Access-Control-Allow-Credentials` the
 * browser adds no cookies, so a request has only the credentials that the script itself holds.
 */
function allowedHeaders({ headers }: FastifyRequest): string | undefined {
  const names = headers['access-control-request-headers']?.replaceAll(/[ \t]/g, '') ?? ''
  return names.length <= HEADERS_MAX && HEADER_NAMES.test(names) ? names : undefined
}

/**
 * Adds CORS headers to routes with `config.cors`, and to no other path (https://fetch.spec.whatwg.org/#http-cors-protocol). Finds them by
 * their path, because a preflight has no route: the path must have no parameters. If the issuer is on a loopback host, every `http` origin
 * on a loopback host is allowed without a setting.
 */
export default fp<{ origins: string[]; issuer: string }>(
  async (fastify, { origins, issuer }) => {
    const isLoopbackIssuer = isLoopback(new URL(issuer).hostname)
    if (origins.length === 0 && !isLoopbackIssuer) return
    const methodsByPath = new Map<string, string[]>()

    fastify.addHook('onRoute', ({ url, method, config }) => {
      if (config?.cors) methodsByPath.set(url, (methodsByPath.get(url) ?? []).concat(method))
    })

    fastify.addHook('onRequest', async (request, reply) => {
      const methods = methodsByPath.get(request.path)
      if (methods === undefined) return
      reply.header('vary', 'Origin')
      const { origin = '', 'access-control-request-method': requestedMethod } = request.headers
      const isAllowed = origins.includes(origin) || (isLoopbackIssuer && isLoopbackOrigin(origin))
      if (!isAllowed) return
      reply.header('access-control-allow-origin', origin)
      if (request.method !== 'OPTIONS' || requestedMethod === undefined) return
      return reply
        .code(204)
        .headers({
          vary: 'Origin, Access-Control-Request-Headers',
          'access-control-allow-methods': methods.join(', '),
          ...defined({ 'access-control-allow-headers': allowedHeaders(request) }),
          'access-control-max-age': '600'
        })
        .send()
    })
  },
  { name: 'cors', dependencies: ['input'] }
)
