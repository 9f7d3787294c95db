import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { json } from '../src/wire/responses.ts'
import { fromWire, RevocationQuery, RevocationView, toWire } from '../src/wire/revocations.ts'

/** The revocation log, for services that verify tokens themselves. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireScope } = fastify
  fastify.addSchema(RevocationView)

  fastify.get(
    '/revocations',
    {
      preHandler: requireScope('revocations:read'),
      config: { quiet: true },
      schema: {
        operationId: 'getRevocations',
        summary: 'Get the revocations after a number, or wait for the next one',
        description:
          'For clients in their own name that serve a resource: the resource names them among its introspection clients. The response ' +
          'holds only entries that can concern tokens of these resources. In the next request set `after` to `next`. If `next` is ' +
          'less than `seq`, there is more to read. If `after` is less than `oldest`, entries that you have not read have expired. If `after` is ' +
          'greater than `seq`, the log belongs to another database. In both cases the response starts with the oldest entry. A ' +
          'response can arrive before the wait is over.',
        tags: ['oauth'],
        querystring: RevocationQuery,
        response: { 200: json('The entries after the number, at most 1,000', RevocationView) }
      }
    },
    async (request, reply) => {
      const { clientId } = request.principal
      const { after, wait, audiences } = fromWire(request.query)
      // Node.js does not close an idle connection that has a listener for `timeout`.
      const keepOpen = () => {}
      reply.raw.on('timeout', keepOpen)
      try {
        const { signal } = request
        return toWire(await auth.revocationLog.read({ clientId, audiences, after, wait, signal }))
      } finally {
        reply.raw.off('timeout', keepOpen)
      }
    }
  )
}
export default routes
