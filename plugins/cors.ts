import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Browser apps of the allowed origins may call this route; never with cookies. */
    cors?: true
  }
}

/** A service on this machine, at any port. */
const LOCAL = /^https?:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/

/**
 * CORS for the routes that ask for it, and for no other path (https://fetch.spec.whatwg.org/#http-cors-protocol). Where
 * Latchkey is on this machine itself, the pages of every other service on it may call them.
 */
export default fp<{ origins: string[]; issuer: string }>(
  async (fastify, { origins, issuer }) => {
    const local = LOCAL.test(new URL(issuer).origin)
    if (origins.length === 0 && !local) return
    const methods = new Map<string, string[]>()

    fastify.addHook('onRoute', ({ url, method, config }) => {
      if (config?.cors) methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()])
    })

    fastify.addHook('onRequest', async (request, reply) => {
      const allowed = methods.get(request.path)
      if (allowed === undefined) return
      reply.header('vary', 'Origin')
      const { origin = '', 'access-control-request-method': asked } = request.headers
      const sameMachine = local && origin.startsWith('http:') && LOCAL.test(origin)
      if (!sameMachine && !origins.includes(origin)) return
      reply.header('access-control-allow-origin', origin)
      if (request.method !== 'OPTIONS' || asked === undefined) return
      return reply
        .code(204)
        .headers({
          'access-control-allow-methods': allowed.join(', '),
          // Swagger UI sends the last one.
          'access-control-allow-headers': 'Authorization, Content-Type, X-Requested-With',
          'access-control-max-age': '600'
        })
        .send()
    })
  },
  { name: 'cors', dependencies: ['input'] }
)
