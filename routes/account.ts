import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as wire from '../src/wire/account.ts'

const [PROFILE, PASSWORD, SESSIONS, APPS] = ['/account', '/account/password', '/account/sessions', '/account/apps']
/** Number of apps on one page. */
const APPS_SHOWN = 20

/** Ignores that the object of a form does not exist any more: the form was sent twice. */
function ignoreMissing(error: Error & { code?: string }): void {
  if (error.code !== 'not_found') throw error
}

/** The pages on which users see and change their own account. GET shows, POST changes. */
const routes: FastifyPluginAsyncTypebox<{ path: string }> = async (fastify, { path }) => {
  const { auth, publicAccess, loginForm } = fastify
  const { AccountQuery, ProfileForm, PasswordForm, EndForm, RemoveForm } = wire
  const page = { preHandler: publicAccess, config: { errors: 'page' as const } }
  const form = { preHandler: [publicAccess, loginForm], config: { errors: 'page' as const } }

  const saved = (reply: FastifyReply, target: string) => reply.redirect(`${path}${target}?saved=1`, 303)
  const signIn = (reply: FastifyReply) => reply.redirect(`${path}/sign-in`, 303)

  type Login = Awaited<ReturnType<FastifyRequest['browser']['logins']>>[number]
  type Refusal = ReturnType<typeof fastify.refusalOf>

  /** Returns what all pages of the account of a login show. */
  async function shared({ browser, query }: FastifyRequest, login: Login, target: string) {
    const user = await auth.users.get(login.userId)
    const isSaved = (query as { saved?: string }).saved !== undefined
    return { user, form: await browser.form(target, login), isSaved, refusal: null }
  }

  /** Runs the change of a form. Shows the form again when a field is refused, after too many attempts, and under overload. */
  async function change(
    request: FastifyRequest,
    reply: FastifyReply,
    {
      run,
      show,
      target
    }: { run: () => Promise<unknown>; show: (refusal: Refusal) => Promise<FastifyReply>; target: string }
  ): Promise<FastifyReply> {
    request.keepForm = show
    try {
      await run()
    } catch (error) {
      const refusal = fastify.refusalOf(error)
      reply.code(400)
      return show(refusal)
    }
    return saved(reply, target)
  }

  fastify.get(PROFILE, { ...page, schema: { hide: true, querystring: AccountQuery } }, async (request, reply) => {
    const [login] = await request.browser.logins()
    if (login === undefined) return signIn(reply)
    const account = await shared(request, login, PROFILE)
    return reply.page('account', { ...account, values: wire.valuesOf(account.user) })
  })

  fastify.post(
    PROFILE,
    { ...form, schema: { hide: true, querystring: AccountQuery, body: ProfileForm } },
    async (request, reply) => {
      const { caller, browser, body } = request
      const login = browser.sender as Login
      return change(request, reply, {
        target: PROFILE,
        run: () => auth.users.change(caller, login.userId, wire.profileFromWire(body)),
        show: async (refusal) => {
          const account = await shared(request, login, PROFILE)
          return reply.page('account', { ...account, refusal, values: wire.valuesFromWire(body) })
        }
      })
    }
  )

  const { passwordMinLength: minLength } = auth.users

  fastify.get(PASSWORD, { ...page, schema: { hide: true, querystring: AccountQuery } }, async (request, reply) => {
    const [login] = await request.browser.logins()
    if (login === undefined) return signIn(reply)
    return reply.page('account-password', { ...(await shared(request, login, PASSWORD)), minLength })
  })

  fastify.post(
    PASSWORD,
    {
      ...form,
      config: { ...form.config, guessable: true },
      schema: { hide: true, querystring: AccountQuery, body: PasswordForm }
    },
    async (request, reply) => {
      const { caller, browser, body } = request
      const login = browser.sender as Login
      return change(request, reply, {
        target: PASSWORD,
        run: async () => {
          const token = await auth.users.changePassword(caller, wire.passwordsFromWire(body))
          if (token !== null) await browser.signIn({ login, token }, login.id)
        },
        show: async (refusal) => {
          const account = await shared(request, login, PASSWORD)
          return reply.page('account-password', { ...account, refusal, minLength })
        }
      })
    }
  )

  fastify.get(SESSIONS, { ...page, schema: { hide: true, querystring: AccountQuery } }, async (request, reply) => {
    const [login] = await request.browser.logins()
    if (login === undefined) return signIn(reply)
    const places = wire.placesToPage(await auth.places.list(login.userId), login)
    return reply.page('account-sessions', { ...(await shared(request, login, SESSIONS)), ...places })
  })

  fastify.post(
    SESSIONS,
    { ...form, schema: { hide: true, querystring: AccountQuery, body: EndForm } },
    async ({ browser, caller, body }, reply) => {
      const own = browser.sender as Login
      const { userId } = own
      const { login, session } = body
      if (session !== undefined) await auth.sessions.end(caller, { userId, id: session }).catch(ignoreMissing)
      if (login !== undefined) await auth.logins.end(caller, { userId, id: login }).catch(ignoreMissing)
      if (login !== own.id) return saved(reply, SESSIONS)
      await browser.signOut(own)
      return reply.redirect(`${path}/`, 303)
    }
  )

  fastify.get(APPS, { ...page, schema: { hide: true, querystring: AccountQuery } }, async (request, reply) => {
    const [login] = await request.browser.logins()
    if (login === undefined) return signIn(reply)
    const after = request.query.cursor ?? null
    const { items, next } = await auth.consents.list(login.userId, { after, limit: APPS_SHOWN })
    return reply.page('account-apps', {
      ...(await shared(request, login, APPS)),
      apps: wire.consentsToPage(items),
      next: next === null ? null : `${path}${APPS}?cursor=${encodeURIComponent(next)}`
    })
  })

  fastify.post(
    APPS,
    { ...form, schema: { hide: true, querystring: AccountQuery, body: RemoveForm } },
    async ({ browser, caller, body }, reply) => {
      const { userId } = browser.sender as Login
      await auth.consents.remove(caller, { userId, clientId: body.client_id }).catch(ignoreMissing)
      return saved(reply, APPS)
    }
  )
}
export default routes
