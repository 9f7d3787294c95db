import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as wire from '../src/wire/authorizations.ts'
import { page, redirect, unchecked } from '../src/wire/responses.ts'

const PAGE = { errors: 'page', popup: true } as const

/** The sign-in of browsers: authorization requests of clients, and the pages on the way to their response. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, publicAccess, browserForm, loginForm, foreignForm } = fastify
  const { issuer, signIn, authorizations } = auth
  fastify.addSchema(wire.AuthorizationForm)
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  type Next = Awaited<ReturnType<typeof signIn.begin>>
  type Response = Extract<Next, { kind: 'respond' }>['response']
  type Params = ReturnType<typeof wire.attemptFromWire>
  type Refusal =
    | Parameters<Exclude<FastifyRequest['keepForm'], null>>[0]
    | { kind: 'incomplete' | 'wrong' | 'disabled' | 'form_over' }

  /** Sends the browser back to the client. */
  async function respond(reply: FastifyReply, response: Response): Promise<FastifyReply> {
    const fields = wire.toWire(response, issuer)
    const { redirectUri, responseMode } = response.returnAddress
    // Leaves out the refusal by the user, which is an event already.
    if ('error' in response && response.error !== 'access_denied')
      reply.log.info({ refused: response.error }, `The app at ${redirectUri} gets an error: ${response.description}`)
    if (responseMode === 'form_post') return reply.page('form-post', { redirectUri, fields })
    return reply.leave(wire.redirectTo(response.returnAddress, fields))
  }

  /** Shows the form of the sign-in. */
  async function showSignIn(
    { browser }: FastifyRequest,
    reply: FastifyReply,
    {
      step,
      params,
      refusal
    }: {
      step: Extract<Next, { kind: 'sign_in' }>
      params: Params
      refusal: Refusal | null
    }
  ): Promise<FastifyReply> {
    const { attempt, username } = step
    return reply.page('sign-in', {
      client: attempt?.client ?? null,
      form: await browser.form(wire.targetOf('/sign-in', params), null),
      username,
      isSameUser: (attempt?.request.expectedUser ?? null) !== null,
      refusal,
      returnsTo: attempt?.request.redirectUri ?? null,
      uiLocales: attempt?.request.uiLocales ?? []
    })
  }

  /** Shows or redirects to what comes next. */
  async function proceed(
    request: FastifyRequest,
    reply: FastifyReply,
    { next, params }: { next: Next; params: Params }
  ): Promise<FastifyReply> {
    if (next.kind === 'respond') return respond(reply, next.response)
    if (next.kind === 'consent') return reply.redirect(`${path}/consent?id=${next.id}`, 303)
    if (next.kind === 'account') return reply.redirect(`${path}/account`, 303)
    if (next.kind === 'sign_in') {
      if (next.refusal !== null) reply.code(400)
      const refusal = next.refusal === null ? null : { kind: next.refusal }
      return showSignIn(request, reply, { step: next, params, refusal })
    }
    const { attempt, accounts } = next
    const [first] = accounts
    return reply.page('choose-account', {
      client: attempt?.client ?? null,
      form: await request.browser.form(wire.targetOf('/sign-in/choose', params), first?.login ?? null),
      accounts: accounts.map(({ login, user }) => ({
        loginId: login.id,
        username: user.username,
        fullName: user.fullName
      })),
      other: path + wire.targetOf('/sign-in', params),
      returnsTo: attempt?.request.redirectUri ?? null,
      uiLocales: attempt?.request.uiLocales ?? []
    })
  }

  /** Answers an authorization request. */
  async function authorize(request: FastifyRequest, reply: FastifyReply, input: unknown): Promise<FastifyReply> {
    const params = wire.paramsFromWire(input)
    const logins = await request.browser.logins()
    return proceed(request, reply, { next: await signIn.begin(request.caller, { params, logins }), params })
  }

  const documentation = {
    tags: ['sign-in'],
    security: [],
    response: {
      200: page('A page: the sign-in, the choice of an account, or the way back to the client'),
      303: redirect('The redirect URI with `code` or `error`, `state` and `iss`, or another page of Latchkey')
    }
  }

  fastify.get(
    '/authorize',
    {
      preHandler: publicAccess,
      config: PAGE,
      exposeHeadRoute: false,
      ...unchecked,
      schema: {
        operationId: 'authorize',
        summary: 'Sign a user in for a client',
        description:
          'The client sends the browser of its user here. The browser comes back to the redirect URI, also with a refusal. Only a wrong client or redirect URI is a page with 400.',
        ...documentation,
        querystring: wire.AuthorizationQuery
      }
    },
    (request, reply) => authorize(request, reply, request.query)
  )

  // OpenID Connect Core 1.0 §3.1.2.1: clients may send the request as a form. Browsers send no cookie with a form of another site, but they
  // do with the redirect.
  fastify.post(
    '/authorize',
    {
      preHandler: foreignForm,
      config: PAGE,
      ...unchecked,
      schema: {
        operationId: 'postAuthorize',
        summary: 'Sign a user in for a client, with the request in a form',
        description:
          'The browser is redirected to the same request as a query. A request that is too long for a URL gets its response at once.',
        ...documentation,
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Ref(wire.AuthorizationForm)
      }
    },
    async (request, reply) => {
      const target = wire.targetOf('/authorize', wire.paramsFromWire(request.body))
      if (target.length <= wire.TARGET_MAX) return reply.redirect(path + target, 303)
      return authorize(request, reply, request.body)
    }
  )

  fastify.get(
    '/sign-in',
    { preHandler: publicAccess, config: PAGE, schema: { hide: true } },
    async (request, reply) => {
      const params = wire.attemptFromWire(request.query)
      return proceed(request, reply, { next: await signIn.form(params), params })
    }
  )

  /** Shows the form of the sign-in again, with the name that was typed. */
  async function keepSignIn(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): Promise<FastifyReply> {
    const params = wire.attemptFromWire(request.query)
    const next = await signIn.form(params)
    if (next.kind !== 'sign_in') return proceed(request, reply, { next, params })
    const step = { ...next, username: wire.usernameFromWire(request.body) }
    return showSignIn(request, reply, { step, params, refusal })
  }

  fastify.post(
    '/sign-in',
    {
      preHandler: browserForm,
      config: { ...PAGE, guessable: true },
      schema: { hide: true, body: wire.SignInForm },
      // Two tabs that are opened at once each get a cookie for their forms, and the browser keeps one. The guard has refused the form of the
      // other tab, so nothing of it is checked.
      errorHandler(error: Error & { reason?: string }, request, reply) {
        if (error.reason !== 'form_over') throw error
        request.log.info({ refused: error.reason }, error.message)
        return keepSignIn(request, reply.code(403), { kind: 'form_over' })
      }
    },
    async (request, reply) => {
      const { browser, caller, body } = request
      const params = wire.attemptFromWire(request.query)
      const { username = '', password = '' } = body
      request.keepForm = (refusal) => keepSignIn(request, reply, refusal)
      const logins = await browser.logins()
      const { next, opened } = await signIn.signIn(caller, { params, username, password, logins })
      if (opened !== null) await browser.signIn(opened, opened.replaces)
      return proceed(request, reply, { next, params })
    }
  )

  // The tab "Use another account" of the account pages.
  fastify.get(
    '/sign-in/choose',
    { preHandler: publicAccess, config: PAGE, schema: { hide: true } },
    async (request, reply) => {
      const next = await signIn.another(await request.browser.logins())
      return proceed(request, reply, { next, params: null })
    }
  )

  fastify.post(
    '/sign-in/choose',
    { preHandler: loginForm, config: PAGE, schema: { hide: true, body: wire.ChoiceForm } },
    async (request, reply) => {
      const { browser, caller, body } = request
      const params = wire.attemptFromWire(request.query)
      const logins = await browser.logins()
      const login = logins.find(({ id }) => id === body.login)
      if (login === undefined) {
        if (params !== null) return authorize(request, reply, request.query)
        return proceed(request, reply, { next: await signIn.another(logins), params })
      }
      await browser.use(login)
      return proceed(request, reply, { next: await signIn.choose(caller, { params, login }), params })
    }
  )

  const consentTarget = (id: string) => `/consent?id=${encodeURIComponent(id)}`

  fastify.get(
    '/consent',
    { preHandler: publicAccess, config: PAGE, schema: { hide: true, querystring: wire.ConsentQuery } },
    async ({ browser, query: { id } }, reply) => {
      const { authorization, client, user, scopes } = await authorizations.consentQuestion(id, await browser.logins())
      const { request, login } = authorization
      return reply.page('consent', {
        client,
        form: await browser.form(consentTarget(id), login),
        username: user.username,
        scopes,
        returnsTo: request.redirectUri,
        other: request.expectedUser === null ? path + wire.targetOf('/sign-in', wire.paramsOf(request)) : null,
        uiLocales: request.uiLocales
      })
    }
  )

  fastify.post(
    '/consent',
    {
      preHandler: loginForm,
      config: PAGE,
      schema: { hide: true, querystring: wire.ConsentQuery, body: wire.ConsentForm }
    },
    async ({ browser, caller, query: { id }, body }, reply) => {
      const login = browser.sender
      if (login === null) throw new Error('the guard loginForm has let a form without a login pass')
      return respond(reply, await authorizations.decide(caller, { id, login, allowed: wire.allowedFromWire(body) }))
    }
  )
}
export default routes
