import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'

const Health = Type.Object({ status: Type.Literal('ok') }, { $id: 'Health', examples: [{ status: 'ok' }] })

const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.addSchema(Health)
  const response = { 200: { description: 'It is', content: { 'application/json': { schema: Type.Ref(Health) } } } }

  fastify.get(
    '/health/live',
    {
      preHandler: fastify.publicAccess,
      config: { standalone: true },
      schema: {
        operationId: 'getLive',
        summary: 'Whether the process is alive',
        description: 'Anyone may call it.',
        tags: ['health'],
        response
      }
    },
    async () => ({ status: 'ok' as const })
  )

  fastify.get(
    '/health/ready',
    {
      preHandler: fastify.publicAccess,
      config: { readiness: true },
      schema: {
        operationId: 'getReady',
        summary: 'Whether it can serve: database and keys',
        description:
          'Anyone may call it. 503 when the database cannot be reached, no key signs, or the service is stopping.',
        tags: ['health'],
        response
      }
    },
    async () => {
      await fastify.auth.assertReady()
      return { status: 'ok' as const }
    }
  )
}
export default routes
