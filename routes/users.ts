import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import {
  created,
  IdParams,
  json,
  PasswordChange,
  pageOf,
  problem,
  UserChanges,
  UserCreation,
  UserEdit,
  UserPage,
  UserQuery,
  UserView
} from './schemas.ts'

const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  const { view } = auth.users
  for (const schema of [UserView, UserPage, UserChanges, UserEdit, UserCreation, PasswordChange])
    fastify.addSchema(schema)

  const named = <T extends { full_name?: string | null }>({ full_name: fullName, ...rest }: T) => ({
    ...rest,
    ...(fullName === undefined ? {} : { fullName })
  })

  const own = [requireUser(), requireScope('profile')]
  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]
  const user = json('The user', UserView)
  const missing = problem(404, 'Not Found', 'There is no such user')
  const taken = problem(409, 'Conflict', 'The e-mail is taken')
  const refused = problem(409, 'Conflict', 'Nobody would be left with the role admin: give it to somebody else first')

  fastify.get(
    '/users/me',
    {
      preHandler: own,
      schema: {
        operationId: 'getMe',
        summary: 'The user the token speaks for',
        tags: ['users'],
        response: { 200: user }
      }
    },
    async (request) => view(await auth.users.get(request.principal.sub))
  )

  fastify.patch(
    '/users/me',
    {
      preHandler: own,
      schema: {
        operationId: 'updateMe',
        summary: 'Change your own profile',
        tags: ['users'],
        body: Type.Ref(UserChanges),
        response: { 200: user, 409: taken }
      }
    },
    async (request) => {
      const { sub } = request.principal
      return view(await auth.users.change(sub, named(request.body), sub))
    }
  )

  fastify.post(
    '/users/me/password',
    {
      preHandler: own,
      config: { guessable: true },
      schema: {
        operationId: 'changePassword',
        summary: 'Change your own password',
        description: 'Ends your other sessions.',
        tags: ['users'],
        body: Type.Ref(PasswordChange),
        response: { 204: { description: 'The new password holds', type: 'null' } }
      }
    },
    async (request, reply) => {
      const { current_password: current, new_password: next } = request.body
      await auth.users.changePassword(request.principal, { current, next }, request.ip)
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    '/users',
    {
      preHandler: admin('users:read'),
      schema: {
        operationId: 'listUsers',
        summary: 'Every user, by age',
        tags: ['users'],
        querystring: UserQuery,
        response: { 200: json('A page', UserPage) }
      }
    },
    async (request) => {
      const { search, role, disabled, ...page } = request.query
      const { items, next } = await auth.users.list(pageOf(page), {
        ...(search === undefined ? {} : { search }),
        ...(role === undefined ? {} : { role }),
        ...(disabled === undefined ? {} : { disabled: disabled === 'true' })
      })
      return { items: items.map(view), next_cursor: next }
    }
  )

  fastify.post(
    '/users',
    {
      preHandler: admin('users:write'),
      schema: {
        operationId: 'createUser',
        summary: 'Add a user',
        tags: ['users'],
        body: Type.Ref(UserCreation),
        response: { 201: created('The new user', UserView), 409: taken }
      }
    },
    async (request, reply) => {
      const { roles = [], ...rest } = request.body
      const created = await auth.users.create({ ...named(rest), roles }, request.principal.sub)
      return reply.code(201).header('location', `${auth.issuer}/users/${created.id}`).send(view(created))
    }
  )

  fastify.get(
    '/users/:id(^[0-9a-f-]{36}$)',
    {
      preHandler: admin('users:read'),
      schema: {
        operationId: 'getUser',
        summary: 'One user',
        tags: ['users'],
        params: IdParams,
        response: { 200: user, 404: missing }
      }
    },
    async (request) => view(await auth.users.get(request.params.id))
  )

  fastify.patch(
    '/users/:id(^[0-9a-f-]{36}$)',
    {
      preHandler: admin('users:write'),
      schema: {
        operationId: 'updateUser',
        summary: 'Change, disable or enable a user, or their roles',
        description: 'Holds for the next request that the user makes.',
        tags: ['users'],
        params: IdParams,
        body: Type.Ref(UserEdit),
        response: { 200: user, 404: missing, 409: refused }
      }
    },
    async (request) => view(await auth.users.change(request.params.id, named(request.body), request.principal.sub))
  )

  fastify.delete(
    '/users/:id(^[0-9a-f-]{36}$)',
    {
      preHandler: admin('users:write'),
      schema: {
        operationId: 'deleteUser',
        summary: 'Delete a user, with everything that is theirs',
        tags: ['users'],
        params: IdParams,
        response: { 204: { description: 'The user is gone', type: 'null' }, 404: missing, 409: refused }
      }
    },
    async (request, reply) => {
      await auth.users.delete(request.params.id)
      return reply.code(204).send(null)
    }
  )
}
export default routes
