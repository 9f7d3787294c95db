import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import {
  created,
  json,
  NameParams,
  PageQuery,
  pageOf,
  problem,
  RoleChanges,
  RoleCreation,
  RolePage,
  RoleView,
  ScopePage
} from './schemas.ts'

const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  for (const schema of [RoleView, RolePage, RoleCreation, RoleChanges, ScopePage]) fastify.addSchema(schema)

  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]
  const missing = problem(404, 'Not Found', 'There is no such role')

  fastify.get(
    '/roles',
    {
      preHandler: admin('roles:read'),
      schema: {
        operationId: 'listRoles',
        summary: 'Every role, by name',
        tags: ['roles'],
        querystring: PageQuery,
        response: { 200: json('A page', RolePage) }
      }
    },
    async (request) => {
      const { items, next } = await auth.roles.list(pageOf(request.query))
      return { items, next_cursor: next }
    }
  )

  fastify.post(
    '/roles',
    {
      preHandler: admin('roles:write'),
      schema: {
        operationId: 'createRole',
        summary: 'Add a role',
        tags: ['roles'],
        body: Type.Ref(RoleCreation),
        response: {
          201: created('The new role', RoleView),
          409: problem(409, 'Conflict', 'A role of this name is there already')
        }
      }
    },
    async (request, reply) => {
      const { description = '', scopes = [], name } = request.body
      const role = await auth.roles.create({ name, description, scopes }, request.principal.sub)
      return reply.code(201).header('location', `${auth.issuer}/roles/${name}`).send(role)
    }
  )

  fastify.get(
    '/roles/:name(^[a-z][a-z0-9_.-]{0,63}$)',
    {
      preHandler: admin('roles:read'),
      schema: {
        operationId: 'getRole',
        summary: 'One role',
        tags: ['roles'],
        params: NameParams,
        response: { 200: json('The role', RoleView), 404: missing }
      }
    },
    async (request) => auth.roles.get(request.params.name)
  )

  fastify.patch(
    '/roles/:name(^[a-z][a-z0-9_.-]{0,63}$)',
    {
      preHandler: admin('roles:write'),
      schema: {
        operationId: 'updateRole',
        summary: 'Change what a role is for, or its scopes',
        description: 'Holds for the next request of everyone who has it.',
        tags: ['roles'],
        params: NameParams,
        body: Type.Ref(RoleChanges),
        response: {
          200: json('The role', RoleView),
          404: missing,
          409: problem(409, 'Conflict', 'The role admin keeps every scope of Latchkey’s own API')
        }
      }
    },
    async (request) => auth.roles.change(request.params.name, request.body, request.principal.sub)
  )

  fastify.delete(
    '/roles/:name(^[a-z][a-z0-9_.-]{0,63}$)',
    {
      preHandler: admin('roles:write'),
      schema: {
        operationId: 'deleteRole',
        summary: 'Delete a role, also from everyone who has it',
        tags: ['roles'],
        params: NameParams,
        response: {
          204: { description: 'The role is gone', type: 'null' },
          404: missing,
          409: problem(409, 'Conflict', 'The role admin cannot be deleted')
        }
      }
    },
    async (request, reply) => {
      await auth.roles.delete(request.params.name)
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    '/scopes',
    {
      preHandler: admin('roles:read'),
      schema: {
        operationId: 'listScopes',
        summary: 'Every scope, by name',
        tags: ['roles'],
        querystring: PageQuery,
        response: { 200: json('A page', ScopePage) }
      }
    },
    async (request) => {
      const { items, next } = await auth.scopes.list(pageOf(request.query))
      return { items, next_cursor: next }
    }
  )
}
export default routes
