import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import * as pages from '../src/wire/pages.ts'
import { created, empty, json, problem } from '../src/wire/responses.ts'
import * as wire from '../src/wire/roles.ts'
import * as scopeWire from '../src/wire/scopes.ts'

/** Roles and the scopes that they can hold, for admins. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireAdmin } = fastify
  const { RoleView, RolePage, RoleCreation, RoleChanges, RoleParams } = wire
  for (const schema of [RoleView, RolePage, RoleCreation, RoleChanges, scopeWire.ScopePage]) fastify.addSchema(schema)

  const missing = problem(404, 'There is no such role')

  fastify.get(
    '/roles',
    {
      preHandler: requireAdmin('roles:read'),
      schema: {
        operationId: 'listRoles',
        summary: 'List all roles in the order of their names',
        tags: ['roles'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of roles', RolePage) }
      }
    },
    async ({ query }) => pages.toWire(await auth.roles.list(pages.fromWire(query)), wire.toWire)
  )

  fastify.post(
    '/roles',
    {
      preHandler: requireAdmin('roles:write'),
      schema: {
        operationId: 'createRole',
        summary: 'Add a role',
        tags: ['roles'],
        body: Type.Ref(RoleCreation),
        response: {
          201: created('The new role', RoleView),
          409: problem(409, 'A role with this name already exists')
        }
      }
    },
    async ({ caller, body }, reply) => {
      const role = await auth.roles.create(caller, wire.inputFromWire(body))
      return reply.code(201).header('location', `${auth.issuer}/roles/${role.name}`).send(wire.toWire(role))
    }
  )

  fastify.get(
    wire.ROLE_PATH,
    {
      preHandler: requireAdmin('roles:read'),
      schema: {
        operationId: 'getRole',
        summary: 'Get one role',
        tags: ['roles'],
        params: RoleParams,
        response: { 200: json('The role', RoleView), 404: missing }
      }
    },
    async ({ params }) => wire.toWire(await auth.roles.get(params.name))
  )

  fastify.patch(
    wire.ROLE_PATH,
    {
      preHandler: requireAdmin('roles:write'),
      schema: {
        operationId: 'updateRole',
        summary: 'Change the description or the scopes of a role',
        description:
          'Users with the role lose a removed scope at their next request to Latchkey, and get an added scope at their next login. ' +
          'A service that verifies tokens itself refuses the earlier tokens that carry the role, and those of clients that may request the ' +
          'scope and whose tokens do not carry the role.',
        tags: ['roles'],
        params: RoleParams,
        body: Type.Ref(RoleChanges),
        response: {
          200: json('The role', RoleView),
          404: missing,
          409: problem(409, 'The role admin keeps every scope of Latchkey’s own API')
        }
      }
    },
    async ({ caller, params, body }) =>
      wire.toWire(await auth.roles.change(caller, params.name, wire.editFromWire(body)))
  )

  fastify.delete(
    wire.ROLE_PATH,
    {
      preHandler: requireAdmin('roles:write'),
      schema: {
        operationId: 'deleteRole',
        summary: 'Delete a role and remove it from all users',
        tags: ['roles'],
        params: RoleParams,
        response: {
          204: empty('The role was deleted'),
          404: missing,
          409: problem(409, 'The role admin cannot be deleted')
        }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.roles.delete(caller, params.name)
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    '/scopes',
    {
      preHandler: requireAdmin('roles:read'),
      schema: {
        operationId: 'listScopes',
        summary: 'List all scopes in the order of their names',
        tags: ['roles'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of scopes', scopeWire.ScopePage) }
      }
    },
    async ({ query }) => pages.toWire(await auth.scopes.list(pages.fromWire(query)), scopeWire.toWire)
  )
}
export default routes
