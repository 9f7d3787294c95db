import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { paramsFromWire, TARGET_MAX } from '../src/wire/authorizations.ts'
import * as wire from '../src/wire/logouts.ts'
import { page, redirect, unchecked } from '../src/wire/responses.ts'

const PAGE = { errors: 'page' as const }

/** The sign-out of browsers (OpenID Connect RP-Initiated Logout 1.0). A request of a client only asks: the user confirms it by a form. */
const routes: FastifyPluginAsyncTypebox<{ path: string }> = async (fastify, { path }) => {
  const { auth, publicAccess, loginForm, foreignForm } = fastify
  fastify.addSchema(wire.LogoutForm)
  type Logout = Awaited<ReturnType<typeof auth.logouts.read>>

  /** Sends the browser back to the client, else to the page that says that the user is signed out. */
  async function leave({ query }: FastifyRequest, reply: FastifyReply, logout: Logout): Promise<FastifyReply> {
    const uri = wire.returnTo(logout)
    if (uri !== null) return reply.leave(uri)
    return reply.redirect(path + wire.signedOutTarget(logout, query), 303)
  }

  const documentation = { tags: ['sign-in'], security: [] }
  const query = {
    operationId: 'logout',
    summary: 'Sign a user out',
    description:
      'The client sends the browser of its user here, and the user confirms it. An invalid parameter is ignored: then the browser stays here.',
    ...documentation,
    querystring: wire.LogoutQuery,
    response: {
      200: page('The page that asks the user'),
      303: redirect('The browser has no login of the user: the URI of the client, or the page that says so')
    }
  }

  fastify.get(
    '/logout',
    { preHandler: publicAccess, config: PAGE, ...unchecked, schema: query },
    async (request, reply) => {
      const { browser, query } = request
      const logout = await auth.logouts.read(paramsFromWire(query), await browser.logins())
      const { login, redirectUri, refusal, client } = logout
      if (refusal !== null)
        request.log.info(
          { refused: refusal, ...(client && { client: client.id }) },
          'the browser stays here after the logout'
        )
      if (login === null) return leave(request, reply, logout)
      const { username } = await auth.users.get(login.userId)
      const form = await browser.form(wire.signOutTarget(logout), login)
      return reply.page('sign-out', { form, username, returnsTo: redirectUri })
    }
  )

  // Clients may send the request as a form (§2). Browsers send no cookie with a form of another site, but they do with the redirect.
  fastify.post(
    '/logout',
    {
      preHandler: foreignForm,
      config: { ...PAGE, standalone: true },
      ...unchecked,
      schema: {
        operationId: 'postLogout',
        summary: 'Sign a user out, with the request in a form',
        description: 'The browser is redirected to the same request as a query.',
        ...documentation,
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Ref(wire.LogoutForm),
        response: { 303: redirect('The same request as a query') }
      }
    },
    async ({ body }, reply) => {
      const target = wire.targetOf('/logout', paramsFromWire(body))
      return reply.redirect(path + (target.length <= TARGET_MAX ? target : '/logout'), 303)
    }
  )

  fastify.post(
    '/sign-out',
    { preHandler: loginForm, config: PAGE, schema: { hide: true, body: wire.SignOutForm } },
    async (request, reply) => {
      const { browser, caller, query } = request
      const { sender } = browser
      if (sender === null) throw new Error('the guard loginForm has let a form without a login pass')
      await auth.logins.end(caller, sender)
      await browser.signOut(sender)
      return leave(request, reply, await auth.logouts.read(paramsFromWire(query), []))
    }
  )

  fastify.get(
    '/signed-out',
    { preHandler: publicAccess, config: PAGE, schema: { hide: true } },
    async ({ query }, reply) => {
      const { client } = await auth.logouts.read(paramsFromWire(query), [])
      return reply.page('signed-out', {
        client,
        returnsTo: client?.clientUri ?? null,
        stays: wire.staysFromWire(query)
      })
    }
  )
}
export default routes
