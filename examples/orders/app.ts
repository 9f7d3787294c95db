import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import guard, { type LatchkeyGuardOptions } from 'latchkey-guard'

interface NewOrder {
  item: string
  quantity: number
}

interface Order extends NewOrder {
  id: number
  orderedBy: string
}

const newOrder = {
  type: 'object',
  required: ['item', 'quantity'],
  additionalProperties: false,
  properties: {
    item: { type: 'string', minLength: 1, maxLength: 100, examples: ['lamp'] },
    quantity: { type: 'integer', minimum: 1, maximum: 1000, examples: [2] }
  }
}
const order = {
  type: 'object',
  required: ['id', 'item', 'quantity', 'orderedBy'],
  properties: {
    id: { type: 'integer' },
    ...newOrder.properties,
    orderedBy: { type: 'string', description: 'The user or the client that ordered it' }
  }
}
const greeting = { type: 'object', required: ['hello'], properties: { hello: { type: 'string' } } }
const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema } }
})

/** Orders are kept in memory. @param guardOptions in a test, those of `createTestAuth` */
export async function buildApp(
  guardOptions: LatchkeyGuardOptions,
  options: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = fastify(options)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Orders',
        version: '0.1.0',
        description: 'A service that Latchkey guards',
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: '/' }]
    }
  })
  await app.register(guard, { ...guardOptions, publicPaths: ['/docs'] })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { tryItOutEnabled: true },
    ...app.guard.swaggerUi('orders-docs')
  })

  const orders: Order[] = []

  app.get(
    '/orders',
    {
      preHandler: app.requireScope('orders:read'),
      schema: {
        operationId: 'listOrders',
        summary: 'All orders',
        response: { 200: answer('The orders', { type: 'array', items: order }) }
      }
    },
    async () => orders
  )

  app.post<{ Body: NewOrder }>(
    '/orders',
    {
      preHandler: app.requireScope('orders:write'),
      schema: {
        operationId: 'addOrder',
        summary: 'Order something',
        body: newOrder,
        response: { 201: answer('The order', order) }
      }
    },
    async (request, reply) => {
      const added = { id: orders.length + 1, ...request.body, orderedBy: request.principal.sub }
      orders.push(added)
      return reply.code(201).send(added)
    }
  )

  app.get(
    '/user-only',
    {
      preHandler: app.requireUser(),
      schema: {
        operationId: 'greetUser',
        summary: 'For people, not for programs',
        response: { 200: answer('Hello', greeting) }
      }
    },
    async (request) => ({ hello: `user ${request.principal.sub}` })
  )

  app.get(
    '/admin-only',
    {
      preHandler: app.requireRole('admin'),
      schema: {
        operationId: 'greetAdmin',
        summary: 'For whom has the role admin',
        response: { 200: answer('Hello', greeting) }
      }
    },
    async (request) => ({ hello: `admin ${request.principal.sub}` })
  )

  app.get(
    '/health',
    {
      preHandler: app.publicAccess,
      schema: {
        operationId: 'getHealth',
        summary: 'Whether it runs, and how it stands to the revocation log',
        response: {
          200: answer('It runs', { type: 'object', additionalProperties: true }),
          '4XX': { description: 'The request is malformed', type: 'null', content: {} }
        }
      }
    },
    async () => ({ status: 'ok', guard: app.guard.status() })
  )

  return app
}
