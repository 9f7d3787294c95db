import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import * as pages from '../src/wire/pages.ts'
import { created, empty, json, problem } from '../src/wire/responses.ts'
import * as wire from '../src/wire/users.ts'

/** The account of the caller, and for admins the accounts of all users. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireAdmin } = fastify
  const {
    UserView,
    OwnUserView,
    UserPage,
    UserChanges,
    UserEdit,
    UserCreation,
    PasswordChange,
    UserParams,
    UserQuery
  } = wire
  for (const schema of [UserView, OwnUserView, UserPage, UserChanges, UserEdit, UserCreation, PasswordChange])
    fastify.addSchema(schema)

  const own = [requireUser(), requireScope('account')]
  const user = json('The user', UserView)
  const missing = problem(404, 'There is no such user')
  const taken = problem(409, 'The username is taken')
  const lastAdmin = problem(409, 'One enabled user must have the role admin: give it to another user first')

  fastify.get(
    '/users/me',
    {
      preHandler: [requireUser(), requireScope('profile')],
      config: { cors: true },
      schema: {
        operationId: 'getMe',
        summary: 'Get the user of the token',
        tags: ['users'],
        response: { 200: json('The user', OwnUserView) }
      }
    },
    async ({ principal, tokenUser }) => wire.ownToWire(tokenUser, principal)
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
        response: { 200: user }
      }
    },
    async ({ caller, principal, body }) =>
      wire.toWire(await auth.users.change(caller, principal.sub, wire.editFromWire(body)))
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
        response: { 204: empty('The password was changed') }
      }
    },
    async ({ caller, body }, reply) => {
      await auth.users.changePassword(caller, wire.passwordChangeFromWire(body))
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    '/users',
    {
      preHandler: requireAdmin('users:read'),
      schema: {
        operationId: 'listUsers',
        summary: 'List all users, oldest first',
        tags: ['users'],
        querystring: UserQuery,
        response: { 200: json('A page of users', UserPage) }
      }
    },
    async ({ query }) =>
      pages.toWire(await auth.users.list(pages.fromWire(query), wire.filterFromWire(query)), wire.toWire)
  )

  fastify.post(
    '/users',
    {
      preHandler: requireAdmin('users:write'),
      schema: {
        operationId: 'createUser',
        summary: 'Add a user',
        tags: ['users'],
        body: Type.Ref(UserCreation),
        response: { 201: created('The new user', UserView), 409: taken }
      }
    },
    async ({ caller, body }, reply) => {
      const created = await auth.users.create(caller, wire.inputFromWire(body))
      return reply.code(201).header('location', `${auth.issuer}/users/${created.id}`).send(wire.toWire(created))
    }
  )

  fastify.get(
    wire.USER_PATH,
    {
      preHandler: requireAdmin('users:read'),
      schema: {
        operationId: 'getUser',
        summary: 'Get one user',
        tags: ['users'],
        params: UserParams,
        response: { 200: user, 404: missing }
      }
    },
    async ({ params }) => wire.toWire(await auth.users.get(params.id))
  )

  fastify.patch(
    wire.USER_PATH,
    {
      preHandler: requireAdmin('users:write'),
      schema: {
        operationId: 'updateUser',
        summary: 'Change, disable or enable a user, or change their roles',
        description: 'The change takes effect at the next request of the user.',
        tags: ['users'],
        params: UserParams,
        body: Type.Ref(UserEdit),
        response: { 200: user, 404: missing, 409: lastAdmin }
      }
    },
    async ({ caller, params, body }) => wire.toWire(await auth.users.change(caller, params.id, wire.editFromWire(body)))
  )

  fastify.delete(
    wire.USER_PATH,
    {
      preHandler: requireAdmin('users:write'),
      schema: {
        operationId: 'deleteUser',
        summary: 'Delete a user with all sessions',
        tags: ['users'],
        params: UserParams,
        response: { 204: empty('The user was deleted'), 404: missing, 409: lastAdmin }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.users.delete(caller, params.id)
      return reply.code(204).send(null)
    }
  )
}
export default routes
