import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { preHandlerHookHandler } from 'fastify'
import * as pages from '../src/wire/pages.ts'
import { empty, json, problem } from '../src/wire/responses.ts'
import { NoQuery } from '../src/wire/schema.ts'
import * as wire from '../src/wire/sessions.ts'
import { USER_PATH, UserParams } from '../src/wire/users.ts'

/** Refuses a path that ends with a slash: a missing session id must not end all sessions. */
const refuseTrailingSlash: preHandlerHookHandler = (request, reply, done) => {
  if (/\/(\?|$)/.test(request.url)) reply.callNotFound()
  else done()
}

/** The sessions of the caller, and for admins the sessions of every user. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireAdmin } = fastify
  const { SessionView, SessionPage, SessionsQuery, SessionParams, OwnSessionParams } = wire
  const { PageQuery } = pages
  for (const schema of [SessionView, SessionPage]) fastify.addSchema(schema)

  const own = [requireUser(), requireScope('account')]
  const onePage = json('A page of sessions', SessionPage)
  const missing = problem(404, 'There is no such session')
  const noUser = problem(404, 'There is no such user')
  const ended = empty('The session was ended')
  const allEnded = empty('The sessions were ended')

  fastify.get(
    '/users/me/sessions',
    {
      preHandler: own,
      schema: {
        operationId: 'listMySessions',
        summary: 'List your own sessions, oldest first',
        tags: ['sessions'],
        querystring: PageQuery,
        response: { 200: onePage }
      }
    },
    async ({ principal, query }) => {
      const page = await auth.sessions.list(principal.sub, pages.fromWire(query))
      return pages.toWire(page, (session) => wire.toWire(session, principal.sid))
    }
  )

  fastify.delete(
    `/users/me/sessions${wire.SESSION_PATH}`,
    {
      preHandler: own,
      schema: {
        operationId: 'endMySession',
        summary: 'End one of your own sessions',
        description: 'Its tokens become invalid.',
        tags: ['sessions'],
        params: OwnSessionParams,
        response: { 204: ended, 404: missing }
      }
    },
    async ({ caller, principal, params }, reply) => {
      await auth.sessions.end(caller, { userId: principal.sub, id: params.session })
      return reply.code(204).send(null)
    }
  )

  fastify.delete(
    '/users/me/sessions',
    {
      preHandler: [requireUser(), requireScope('account'), refuseTrailingSlash],
      schema: {
        operationId: 'endMySessions',
        summary: 'End all of your own sessions, or all except the current session',
        description:
          'Signs you out in all browsers too; with `except=current` not in the one to which the current session belongs.',
        tags: ['sessions'],
        querystring: SessionsQuery,
        response: { 204: allEnded }
      }
    },
    async ({ caller, principal, query }, reply) => {
      const except = query.except === 'current' ? principal.sid : null
      await auth.sessions.endAll(caller, { userId: principal.sub, except })
      return reply.code(204).send(null)
    }
  )

  fastify.get(
    `${USER_PATH}/sessions`,
    {
      preHandler: requireAdmin('users:read'),
      schema: {
        operationId: 'listSessions',
        summary: 'List the sessions of a user, oldest first',
        tags: ['sessions'],
        params: UserParams,
        querystring: PageQuery,
        response: { 200: onePage, 404: noUser }
      }
    },
    async ({ principal, params, query }) => {
      await auth.users.get(params.id)
      const page = await auth.sessions.list(params.id, pages.fromWire(query))
      return pages.toWire(page, (session) => wire.toWire(session, principal.sid))
    }
  )

  fastify.delete(
    `${USER_PATH}/sessions${wire.SESSION_PATH}`,
    {
      preHandler: requireAdmin('users:write'),
      schema: {
        operationId: 'endSession',
        summary: 'End one session of a user',
        description: 'Its tokens become invalid.',
        tags: ['sessions'],
        params: SessionParams,
        response: { 204: ended, 404: missing }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.sessions.end(caller, { userId: params.id, id: params.session })
      return reply.code(204).send(null)
    }
  )

  fastify.delete(
    `${USER_PATH}/sessions`,
    {
      preHandler: [...requireAdmin('users:write'), refuseTrailingSlash],
      schema: {
        operationId: 'endSessions',
        summary: 'End all sessions of a user',
        description: 'Signs the user out in all browsers too. The user can log in again.',
        tags: ['sessions'],
        params: UserParams,
        querystring: NoQuery,
        response: { 204: allEnded, 404: noUser }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.users.get(params.id)
      await auth.sessions.endAll(caller, { userId: params.id })
      return reply.code(204).send(null)
    }
  )
}
export default routes
