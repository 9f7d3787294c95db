import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { HEALTHY, Health } from '../src/wire/health.ts'
import { json } from '../src/wire/responses.ts'

/** Health checks. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, publicAccess } = fastify
  fastify.addSchema(Health)
  const response = { 200: json('Healthy', Health) }

  fastify.get(
    '/health/live',
    {
      preHandler: publicAccess,
      config: { standalone: true, quiet: true },
      schema: {
        operationId: 'getLive',
        summary: 'Check whether the process is alive',
        description: 'Anyone may call it.',
        tags: ['health'],
        response
      }
    },
    async () => HEALTHY
  )

  fastify.get(
    '/health/ready',
    {
      preHandler: publicAccess,
      config: { readiness: true, quiet: true },
      schema: {
        operationId: 'getReady',
        summary: 'Check whether the service is ready: database and keys',
        description:
          'Anyone may call it. The status is 503 when the database cannot be reached or does not fit this version, PostgreSQL takes no writes, a key is missing or cannot be opened, or the service is stopping.',
        tags: ['health'],
        response
      }
    },
    async () => {
      await auth.assertReady()
      await auth.assertWritable()
      return HEALTHY
    }
  )
}
export default routes
