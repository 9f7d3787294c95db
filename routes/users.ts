import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import { PageQuery, problem, UserChanges, UserPage, UserView } from './schemas.ts'

const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  for (const schema of [UserView, UserPage, UserChanges]) fastify.addSchema(schema)

  type User = Awaited<ReturnType<typeof auth.users.get>>
  const view = (user: User): Static<typeof UserView> => ({
    id: user.id,
    username: user.username,
    email: user.email,
    full_name: user.fullName,
    disabled: user.disabledAt !== null,
    roles: user.roles,
    created_at: new Date(user.createdAt).toISOString(),
    updated_at: new Date(user.updatedAt).toISOString()
  })
  const user = { description: 'The user', content: { 'application/json': { schema: Type.Ref(UserView) } } }

  fastify.get(
    '/users/me',
    {
      preHandler: [requireUser(), requireScope('profile')],
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
      preHandler: [requireUser(), requireScope('profile')],
      schema: {
        operationId: 'updateMe',
        summary: 'Change your own profile',
        tags: ['users'],
        body: Type.Ref(UserChanges),
        response: { 200: user, 409: problem(409, 'Conflict', 'The value is taken') }
      }
    },
    async (request) => {
      const { full_name: fullName, ...rest } = request.body
      return view(
        await auth.users.update(request.principal.sub, { ...rest, ...(fullName === undefined ? {} : { fullName }) })
      )
    }
  )

  fastify.get(
    '/users',
    {
      preHandler: [requireUser(), requireScope('users:read'), requireRole('admin')],
      schema: {
        operationId: 'listUsers',
        summary: 'Every user, by age',
        tags: ['users'],
        querystring: PageQuery,
        response: { 200: { description: 'A page', content: { 'application/json': { schema: Type.Ref(UserPage) } } } }
      }
    },
    async (request) => {
      const { limit = 50, cursor } = request.query
      const { users, next } = await auth.users.list({ after: cursor ?? null, limit })
      return { items: users.map(view), next_cursor: next }
    }
  )
}
export default routes
