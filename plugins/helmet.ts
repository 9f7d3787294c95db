import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

/**
 * Sets the security headers of answers that are data: a browser never shows them as a page or in a frame, and runs nothing in
 * them. Pages set a policy of their own.
 */
export default fp<{ issuer: string }>(
  async (fastify, { issuer }) => {
    // Browser apps of other origins may read these answers.
    fastify.addHook('onRoute', (route) => {
      if (route.config?.cors)
        Object.assign(route, { helmet: { crossOriginResourcePolicy: { policy: 'cross-origin' } } })
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
