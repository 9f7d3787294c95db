import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Browser apps of the allowed origins may call this route, without cookies. */
    cors?: true
  }
}

/** An origin on a loopback host, with any port. */
const LOOPBACK = /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/

/**
 * Adds CORS headers to routes with `config.cors`, and to no other path (https://fetch.spec.whatwg.org/#http-cors-protocol). If the
 * issuer is on a loopback host, every `http` origin on a loopback host is allowed without a setting.
 */
export default fp<{ origins: string[]; issuer: string }>(
  async (fastify, { origins, issuer }) => {
    const isLoopbackIssuer = LOOPBACK.test(new URL(issuer).origin)
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
      const isAllowedLoopback = isLoopbackIssuer && origin.startsWith('http:') && LOOPBACK.test(origin)
      if (!isAllowedLoopback && !origins.includes(origin)) return
      reply.header('access-control-allow-origin', origin)
      if (request.method !== 'OPTIONS' || requestedMethod === undefined) return
      return reply
        .code(204)
        .headers({
          'access-control-allow-methods': methods.join(', '),
          // Swagger UI sends X-Requested-With.
          'access-control-allow-headers': 'Authorization, Content-Type, X-Requested-With',
          'access-control-max-age': '600'
        })
        .send()
    })
  },
  { name: 'cors', dependencies: ['input'] }
)
