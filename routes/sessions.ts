import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { preHandlerAsyncHookHandler } from 'fastify'
import {
  IdParams,
  json,
  NoQuery,
  OwnSessionParams,
  PageQuery,
  pageOf,
  problem,
  SessionPage,
  SessionParams,
  SessionsQuery,
  SessionView
} from './schemas.ts'

/** Sessions: one's own, and for admins those of everyone. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  const { view } = auth.sessions
  for (const schema of [SessionView, SessionPage]) fastify.addSchema(schema)

  const own = [requireUser(), requireScope('profile')]
  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]
  /** A session whose id was forgotten is not all of them. */
  const exact: preHandlerAsyncHookHandler = async (request, reply) => {
    if (/\/(\?|$)/.test(request.url)) reply.callNotFound()
  }
  const page = json('A page', SessionPage)
  const missing = problem(404, 'Not Found', 'There is no such session')
  const noUser = problem(404, 'Not Found', 'There is no such user')
  const over = { description: 'The session has ended', type: 'null' }
  const allOver = { description: 'The sessions have ended', type: 'null' }

  fastify.get(
    '/users/me/sessions',
    {
      preHandler: own,
      schema: {
        operationId: 'listMySessions',
        summary: 'Your own sessions, by age',
        tags: ['sessions'],
        querystring: PageQuery,
        response: { 200: page }
      }
    },
    async ({ principal, query }) => {
      const { items, next } = await auth.sessions.list(principal.sub, pageOf(query))
      return { items: items.map((session) => view(session, principal.sid)), next_cursor: next }
    }
  )

  fastify.delete(
    '/users/me/sessions/:session(^[0-9a-f-]{36}$)',
    {
      preHandler: own,
      schema: {
        operationId: 'endMySession',
        summary: 'End one of your own sessions',
        description: 'Its tokens are good no more.',
        tags: ['sessions'],
        params: OwnSessionParams,
        response: { 204: over, 404: missing }
      }
    },
    async ({ principal, params }, reply) => {
      await auth.sessions.end(principal.sub, params.session)
      return reply.code(204).send(null)
    }
  )

  fastify.delete(
    '/users/me/sessions',
    {
      preHandler: [...own, exact],
      schema: {
        operationId: 'endMySessions',
        summary: 'End all of your own sessions, or all others',
        tags: ['sessions'],
        querystring: SessionsQuery,
        response: { 204: allOver }
      }
    },
    async ({ principal, query }, reply) => {
      await auth.sessions.endAll(principal.sub, query.except === 'current' ? principal.sid : null)
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    '/users/:id(^[0-9a-f-]{36}$)/sessions',
    {
      preHandler: admin('users:read'),
      schema: {
        operationId: 'listSessions',
        summary: 'A user’s sessions, by age',
        tags: ['sessions'],
        params: IdParams,
        querystring: PageQuery,
        response: { 200: page, 404: noUser }
      }
    },
    async ({ principal, params, query }) => {
      await auth.users.get(params.id)
      const { items, next } = await auth.sessions.list(params.id, pageOf(query))
      return { items: items.map((session) => view(session, principal.sid)), next_cursor: next }
    }
  )

  fastify.delete(
    '/users/:id(^[0-9a-f-]{36}$)/sessions/:session(^[0-9a-f-]{36}$)',
    {
      preHandler: admin('users:write'),
      schema: {
        operationId: 'endSession',
        summary: 'End one session of a user',
        description: 'Its tokens are good no more.',
        tags: ['sessions'],
        params: SessionParams,
        response: { 204: over, 404: missing }
      }
    },
    async ({ params }, reply) => {
      await auth.sessions.end(params.id, params.session)
      return reply.code(204).send(null)
    }
  )

  fastify.delete(
    '/users/:id(^[0-9a-f-]{36}$)/sessions',
    {
      preHandler: [...admin('users:write'), exact],
      schema: {
        operationId: 'endSessions',
        summary: 'End all sessions of a user',
        description: 'The user can log in again.',
        tags: ['sessions'],
        params: IdParams,
        querystring: NoQuery,
        response: { 204: allOver, 404: noUser }
      }
    },
    async ({ params }, reply) => {
      await auth.users.get(params.id)
      await auth.sessions.endAll(params.id)
      return reply.code(204).send(null)
    }
  )
}
export default routes
