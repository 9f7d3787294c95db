import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Browser apps of the listed origins may call this route; never with cookies. */
    cors?: true
  }
}

/** CORS for the routes that ask for it, and for no other path (https://fetch.spec.whatwg.org/#http-cors-protocol). */
export default fp<{ origins: string[] }>(
  async (fastify, { origins }) => {
    if (origins.length === 0) return
    const methods = new Map<string, string[]>()

    fastify.addHook('onRoute', ({ url, method, config }) => {
      if (config?.cors) methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()])
    })

    fastify.addHook('onRequest', async (request, reply) => {
      const allowed = methods.get(request.path)
      if (allowed === undefined) return
      reply.header('vary', 'Origin')
      const { origin = '', 'access-control-request-method': asked } = request.headers
      if (!origins.includes(origin)) return
      reply.header('access-control-allow-origin', origin)
      if (request.method !== 'OPTIONS' || asked === undefined) return
      return reply
        .code(204)
        .headers({
          'access-control-allow-methods': allowed.join(', '),
          'access-control-allow-headers': 'Authorization, Content-Type',
          'access-control-max-age': '600'
        })
        .send()
    })
  },
  { name: 'cors', dependencies: ['input'] }
)
