import fp from 'fastify-plugin'
import { isForwardedInVain } from '../src/domain/networks.ts'

/**
 * Warns once when a peer that is no trusted proxy sends `X-Forwarded-For`. Behind a proxy that is not trusted all callers have its
 * address, so they share one limit for guessed passwords.
 */
export default fp(
  async (fastify) => {
    let hasWarned = false
    fastify.addHook('onRequest', async (request) => {
      if (hasWarned || !isForwardedInVain(request)) return
      hasWarned = true
      request.log.warn(
        { peer: request.ip },
        'X-Forwarded-For is ignored: if the peer is a proxy of this service, add its address to LATCHKEY_TRUSTED_PROXIES'
      )
    })
  },
  { name: 'forwarded' }
)
