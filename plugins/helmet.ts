import helmet from '@fastify/helmet'
import fp from 'fastify-plugin'

/**
 * The headers by which browsers treat an answer with care. Here stands what data gets: it is never a page, is shown in no
 * frame and runs nothing. Pages have a policy of their own beside them.
 */
export default fp<{ issuer: string }>(
  async (fastify, { issuer }) => {
    // Documents that browser apps of other origins read by CORS.
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
