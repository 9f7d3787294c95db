import fp from 'fastify-plugin'
import { invalid } from '../src/domain/errors.ts'
import { ignoresForwardedFor } from '../src/domain/networks.ts'
import { FORWARDED_BYTES_MAX } from '../src/limits.ts'

/**
 * Refuses a long `X-Forwarded-For`: Fastify would parse every address in it, at each use of `request.ip`. Must be registered before all hooks
 * that use `request.ip`. Warns once when a peer that is no trusted proxy sends `X-Forwarded-For`. Behind a proxy that is not trusted all callers have its
 * address, so they share one limit for guessed passwords.
 */
export default fp(
  async (fastify) => {
    let hasWarned = false
    fastify.addHook('onRequest', async ({ headers }, reply) => {
      if ((headers['x-forwarded-for']?.length ?? 0) <= FORWARDED_BYTES_MAX) return
      reply.header('connection', 'close')
      throw invalid(`X-Forwarded-For has at most ${FORWARDED_BYTES_MAX} bytes`)
    })
    fastify.addHook('onRequest', async (request) => {
      if (hasWarned || !ignoresForwardedFor(request)) return
      hasWarned = true
      request.log.warn(
        { peer: request.ip },
        'X-Forwarded-For is ignored: if the peer is a proxy of this service, add its address to LATCHKEY_TRUSTED_PROXIES'
      )
    })
  },
  { name: 'forwarded' }
)
