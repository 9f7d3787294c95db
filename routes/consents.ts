import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import * as wire from '../src/wire/consents.ts'
import * as pages from '../src/wire/pages.ts'
import { empty, json, problem } from '../src/wire/responses.ts'

/** What the caller has allowed clients. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope } = fastify
  const { ConsentView, ConsentPage, ConsentParams } = wire
  for (const schema of [ConsentView, ConsentPage]) fastify.addSchema(schema)
  const own = [requireUser(), requireScope('account')]

  fastify.get(
    '/users/me/consents',
    {
      preHandler: own,
      schema: {
        operationId: 'listMyConsents',
        summary: 'List what you have allowed clients',
        tags: ['users'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of consents', ConsentPage) }
      }
    },
    async ({ principal, query }) =>
      pages.toWire(await auth.consents.list(principal.sub, pages.fromWire(query)), wire.toWire)
  )

  fastify.delete(
    `/users/me/consents${wire.CONSENT_PATH}`,
    {
      preHandler: own,
      schema: {
        operationId: 'removeMyConsent',
        summary: 'Remove what you have allowed a client',
        description: 'Ends your sessions at the client. The client must ask again.',
        tags: ['users'],
        params: ConsentParams,
        response: { 204: empty('The consent was removed'), 404: problem(404, 'There is no such consent') }
      }
    },
    async ({ caller, principal, params }, reply) => {
      await auth.consents.remove(caller, { userId: principal.sub, clientId: params.client })
      return reply.code(204).send(null)
    }
  )
}
export default routes
