import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { json, KeyPage, KeyRetirement, KeyView, KidParams, PageQuery, pageOf, problem } from './schemas.ts'

/** The keys that tokens are signed with, for admins. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  const { view } = auth.keys
  for (const schema of [KeyView, KeyPage, KeyRetirement]) fastify.addSchema(schema)

  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]

  fastify.get(
    '/keys',
    {
      preHandler: admin('keys:read'),
      schema: {
        operationId: 'listKeys',
        summary: 'Every key, the newest first',
        description: 'Also those that are retired. Nothing private is shown.',
        tags: ['keys'],
        querystring: PageQuery,
        response: { 200: json('A page', KeyPage) }
      }
    },
    async (request) => {
      const { items, next } = await auth.keys.page(pageOf(request.query))
      return { items: items.map(view), next_cursor: next }
    }
  )

  fastify.post(
    '/keys/rotate',
    {
      preHandler: admin('keys:write'),
      schema: {
        operationId: 'rotateKeys',
        summary: 'Let the next key sign',
        description:
          'The one before verifies for as long as its tokens can live, and a new next one is published. The key that refresh ' +
          'tokens are made with becomes another one too.',
        tags: ['keys'],
        response: {
          200: json('The key that signs now', KeyView),
          409: problem(
            409,
            'Conflict',
            'The next key was published just now: it can sign from 2026-11-22T09:05:00.000Z on'
          )
        }
      }
    },
    async () => view(await auth.keys.rotate())
  )

  fastify.post(
    '/keys/:kid(^[\\w-]{43}$)/retire',
    {
      preHandler: admin('keys:write'),
      schema: {
        operationId: 'retireKey',
        summary: 'Take a key out of use',
        description: 'One that was compromised goes at once; if it signed, the next one signs in its place.',
        tags: ['keys'],
        params: KidParams,
        body: Type.Ref(KeyRetirement),
        response: {
          200: json('The key', KeyView),
          404: problem(404, 'Not Found', 'There is no such key'),
          409: problem(409, 'Conflict', 'Tokens that it signed can live until 2026-11-22T10:01:00.000Z')
        }
      }
    },
    async (request) => view(await auth.keys.retire(request.params.kid, request.body))
  )
}
export default routes
