import type { IncomingMessage, ServerResponse } from 'node:http'
import fp from 'fastify-plugin'
import helmet, { type HelmetOptions } from 'helmet'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Apps of other origins may open the page in a window of its own. The window keeps its reference to the page that opened it. */
    popup?: true
  }
}

/** Returns the headers that helmet sets for these options. They do not depend on the request. */
function headersOf(options: HelmetOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  const response = {
    setHeader: (name: string, value: string) => void (headers[name.toLowerCase()] = value),
    removeHeader: () => {}
  }
  helmet(options)({} as IncomingMessage, response as unknown as ServerResponse, () => {})
  return headers
}

/**
 * Sets the security headers of responses with data: a browser must not show them as a page or in a frame, or run code in them. The
 * pages of /docs replace this policy by another one.
 */
export default fp<{ issuer: string }>(
  async (fastify, { issuer }) => {
    const options: HelmetOptions = {
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
    }
    const data = headersOf(options)
    // Browser apps of other origins may read the responses of routes with `cors`.
    const shared = headersOf({ ...options, crossOriginResourcePolicy: { policy: 'cross-origin' } })
    const popup = headersOf({ ...options, crossOriginOpenerPolicy: { policy: 'unsafe-none' } })
    fastify.addHook('onRequest', (request, reply, done) => {
      const { config } = request.routeOptions
      reply.headers(config.cors ? shared : config.popup ? popup : data)
      done()
    })
  },
  { name: 'helmet' }
)
