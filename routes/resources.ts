import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import {
  created,
  json,
  PageQuery,
  pageOf,
  problem,
  ResourceChanges,
  ResourceCreation,
  ResourcePage,
  ResourceParams,
  ResourceView
} from './schemas.ts'

const described = (scopes: { name: string; description?: string }[]) =>
  scopes.map(({ name, description = '' }) => ({ name, description }))

/** The services that tokens are for. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  const { view } = auth.resources
  for (const schema of [ResourceView, ResourcePage, ResourceCreation, ResourceChanges]) fastify.addSchema(schema)

  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]
  const missing = problem(404, 'Not Found', 'There is no such resource')

  fastify.get(
    '/resources',
    {
      preHandler: admin('resources:read'),
      schema: {
        operationId: 'listResources',
        summary: 'Every resource, by id',
        tags: ['clients'],
        querystring: PageQuery,
        response: { 200: json('A page', ResourcePage) }
      }
    },
    async (request) => {
      const { items, next } = await auth.resources.list(pageOf(request.query))
      return { items: items.map(view), next_cursor: next }
    }
  )

  fastify.post(
    '/resources',
    {
      preHandler: admin('resources:write'),
      schema: {
        operationId: 'createResource',
        summary: 'Register a service that tokens are for',
        tags: ['clients'],
        body: Type.Ref(ResourceCreation),
        response: {
          201: created('The new resource', ResourceView),
          409: problem(409, 'Conflict', 'A scope of this name is there already')
        }
      }
    },
    async (request, reply) => {
      const {
        id,
        resource: identifier,
        name,
        scopes = [],
        introspection_clients: introspectionClients = []
      } = request.body
      const resource = await auth.resources.create({
        id,
        identifier,
        name,
        scopes: described(scopes),
        introspectionClients
      })
      return reply.code(201).header('location', `${auth.issuer}/resources/${id}`).send(view(resource))
    }
  )

  fastify.get(
    '/resources/:id',
    {
      preHandler: admin('resources:read'),
      schema: {
        operationId: 'getResource',
        summary: 'One resource',
        tags: ['clients'],
        params: ResourceParams,
        response: { 200: json('The resource', ResourceView), 404: missing }
      }
    },
    async ({ params }) => view(await auth.resources.get(params.id))
  )

  fastify.patch(
    '/resources/:id',
    {
      preHandler: admin('resources:write'),
      schema: {
        operationId: 'updateResource',
        summary: 'Change the scopes of a resource, or who may ask about its tokens',
        description: 'A scope that is taken away is gone from every role and client, and from the tokens of before.',
        tags: ['clients'],
        params: ResourceParams,
        body: Type.Ref(ResourceChanges),
        response: {
          200: json('The resource', ResourceView),
          404: missing,
          409: problem(409, 'Conflict', 'The scopes of Latchkey’s own API stay as they are')
        }
      }
    },
    async ({ params, body }) => {
      const { name, scopes, introspection_clients: introspectionClients } = body
      const changes = {
        ...(name === undefined ? {} : { name }),
        ...(scopes === undefined ? {} : { scopes: described(scopes) }),
        ...(introspectionClients === undefined ? {} : { introspectionClients })
      }
      return view(await auth.resources.change(params.id, changes))
    }
  )

  fastify.delete(
    '/resources/:id',
    {
      preHandler: admin('resources:write'),
      schema: {
        operationId: 'deleteResource',
        summary: 'Delete a resource with its scopes',
        tags: ['clients'],
        params: ResourceParams,
        response: {
          204: { description: 'The resource is gone', type: 'null' },
          404: missing,
          409: problem(409, 'Conflict', 'Latchkey’s own API stays')
        }
      }
    },
    async (request, reply) => {
      await auth.resources.delete(request.params.id)
      return reply.code(204).send(null)
    }
  )
}
export default routes
