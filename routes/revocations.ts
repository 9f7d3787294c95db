import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { json, RevocationQuery, RevocationView } from './schemas.ts'

/** The revocation log, for services that verify tokens by themselves. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.addSchema(RevocationView)

  fastify.get(
    '/revocations',
    {
      preHandler: fastify.requireScope('revocations:read'),
      schema: {
        operationId: 'getRevocations',
        summary: 'What was revoked after a number, or news as soon as there are any',
        description:
          'For clients in their own name. Go on with `after` = the number of the last entry while that is below `seq`, else with ' +
          '`after` = `seq`. With `after` below `oldest` entries have ended that you have not seen, with `after` above `seq` the ' +
          'log is another one: either way you get all that it holds. An answer can come before the wait is over.',
        tags: ['oauth'],
        querystring: RevocationQuery,
        response: { 200: json('The entries after that number, at most 1,000', RevocationView) }
      }
    },
    async (request, reply) => {
      const { after = 0, wait = 0 } = request.query
      // Where nothing comes or goes meanwhile, the connection is not one to be given up.
      const hold = () => {}
      reply.raw.on('timeout', hold)
      reply.header('cache-control', 'no-store')
      return fastify.auth.revocationLog.read(after, wait, request.signal).finally(() => reply.raw.off('timeout', hold))
    }
  )
}
export default routes
