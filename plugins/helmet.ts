import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Apps of other origins may open the page in a window of its own. The window keeps its reference to the page that opened it. */
    popup?: true
  }
}

/**
 * Sets the security headers of responses with data: a browser must not show them as a page or in a frame, or run code in them. The
 * pages of /docs replace this policy by another one.
 */
export default fp<{ issuer: string }>(
  async (fastify, { issuer }) => {
    // Browser apps of other origins may read the responses of routes with `cors`.
    fastify.addHook('onRoute', (route) => {
      if (route.config?.cors)
        Object.assign(route, { helmet: { crossOriginResourcePolicy: { policy: 'cross-origin' } } })
      if (route.config?.popup) Object.assign(route, { helmet: { crossOriginOpenerPolicy: { policy: 'unsafe-none' } } })
    })
    await fastify.register(helmet, {
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          'default-src': ["'none'"],
          'base-uri': ["'none'"],
          'form-action': ["'none'"],
          'frame-ancestors': ["'none'"]
        }
      },
      strictTransportSecurity: issuer.startsWith('https:'),
      xFrameOptions: { action: 'deny' }
    })
  },
  { name: 'helmet' }
)
