import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import * as pages from '../src/wire/pages.ts'
import * as wire from '../src/wire/resources.ts'
import { created, empty, json, problem } from '../src/wire/responses.ts'

/** The services that tokens are for, for admins. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireAdmin, requireScope } = fastify
  const { issuer } = auth
  const { ResourceView, ResourcePage, ResourceCreation, ResourceChanges, ResourceScopes, ResourceParams } = wire
  for (const schema of [ResourceView, ResourcePage, ResourceCreation, ResourceChanges, ResourceScopes])
    fastify.addSchema(schema)

  const missing = problem(404, 'There is no such resource')

  fastify.get(
    '/resources',
    {
      preHandler: requireAdmin('resources:read'),
      schema: {
        operationId: 'listResources',
        summary: 'List all resources in the order of their ids',
        tags: ['clients'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of resources', ResourcePage) }
      }
    },
    async ({ query }) => {
      const page = await auth.resources.list(pages.fromWire(query))
      return pages.toWire(page, (resource) => wire.toWire(resource, issuer))
    }
  )

  fastify.get(
    '/resource-scopes',
    {
      preHandler: requireScope('revocations:read'),
      schema: {
        operationId: 'getResourceScopes',
        summary: 'Get the names of the scopes of one resource',
        description:
          'For clients in their own name that serve the resource: the resource names them among its introspection clients. A service ' +
          'compares the scopes of its routes with those that its tokens can have.',
        tags: ['oauth'],
        querystring: wire.ResourceScopesQuery,
        response: { 200: json('The names', ResourceScopes) }
      }
    },
    async ({ principal: { clientId }, query }) => ({
      scopes: await auth.resources.scopesFor({ clientId, identifier: query.resource })
    })
  )

  fastify.post(
    '/resources',
    {
      preHandler: requireAdmin('resources:write'),
      schema: {
        operationId: 'createResource',
        summary: 'Register a service that tokens are for',
        description: 'Scope names that Latchkey uses or may use in a later version are reserved (409).',
        tags: ['clients'],
        body: Type.Ref(ResourceCreation),
        response: {
          201: created('The new resource', ResourceView),
          409: problem(409, 'A scope with this name already exists')
        }
      }
    },
    async ({ caller, body }, reply) => {
      const resource = await auth.resources.create(caller, wire.inputFromWire(body))
      reply.header('location', `${issuer}/resources/${resource.id}`)
      return reply.code(201).send(wire.toWire(resource, issuer))
    }
  )

  fastify.get(
    wire.RESOURCE_PATH,
    {
      preHandler: requireAdmin('resources:read'),
      schema: {
        operationId: 'getResource',
        summary: 'Get one resource',
        tags: ['clients'],
        params: ResourceParams,
        response: { 200: json('The resource', ResourceView), 404: missing }
      }
    },
    async ({ params }) => wire.toWire(await auth.resources.get(params.id), issuer)
  )

  fastify.patch(
    wire.RESOURCE_PATH,
    {
      preHandler: requireAdmin('resources:write'),
      schema: {
        operationId: 'updateResource',
        summary: 'Change the name, the scopes or the introspection clients of a resource',
        description: 'A removed scope is removed from every role and client, and ends the tokens issued before.',
        tags: ['clients'],
        params: ResourceParams,
        body: Type.Ref(ResourceChanges),
        response: {
          200: json('The resource', ResourceView),
          404: missing,
          409: problem(409, 'The scopes of Latchkey’s own API cannot be changed')
        }
      }
    },
    async ({ caller, params, body }) =>
      wire.toWire(await auth.resources.change(caller, params.id, wire.editFromWire(body)), issuer)
  )

  fastify.delete(
    wire.RESOURCE_PATH,
    {
      preHandler: requireAdmin('resources:write'),
      schema: {
        operationId: 'deleteResource',
        summary: 'Delete a resource with its scopes',
        tags: ['clients'],
        params: ResourceParams,
        response: {
          204: empty('The resource was deleted'),
          404: missing,
          409: problem(409, 'Latchkey’s own API cannot be deleted')
        }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.resources.delete(caller, params.id)
      return reply.code(204).send(null)
    }
  )
}
export default routes
