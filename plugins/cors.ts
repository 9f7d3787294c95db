import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Browser apps of the allowed origins may call this route, without cookies. */
    cors?: true
  }
}

/** Origins on this machine, with any port. */
const LOCAL = /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/

/**
 * Adds CORS headers to the routes that ask for it, and to no other path (https://fetch.spec.whatwg.org/#http-cors-protocol).
 * Where the issuer is on this machine, plain HTTP origins on this machine are allowed without a setting.
 */
export default fp<{ origins: string[]; issuer: string }>(
  async (fastify, { origins, issuer }) => {
    const isLocal = LOCAL.test(new URL(issuer).origin)
    if (origins.length === 0 && !isLocal) return
    const methodsByPath = new Map<string, string[]>()

    fastify.addHook('onRoute', ({ url, method, config }) => {
      if (config?.cors) methodsByPath.set(url, [...(methodsByPath.get(url) ?? []), ...[method].flat()])
    })

    fastify.addHook('onRequest', async (request, reply) => {
      const methods = methodsByPath.get(request.path)
      if (methods === undefined) return
      reply.header('vary', 'Origin')
      const { origin = '', 'access-control-request-method': requestedMethod } = request.headers
      const sameMachine = isLocal && origin.startsWith('http:') && LOCAL.test(origin)
      if (!sameMachine && !origins.includes(origin)) return
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
