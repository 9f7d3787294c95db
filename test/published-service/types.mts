import fastify, { type FastifyRequest } from 'fastify'
import guard, { AccessError, type LatchkeyGuardOptions, type Principal, type Refusal } from 'latchkey-guard'
import { createLoginClient, createTokenClient, type Login, TokenError } from 'latchkey-guard/client'

// This file is compiled and never run.

const options: LatchkeyGuardOptions = {
  issuer: 'https://id.example.com',
  internalUrl: 'http://latchkey:3000',
  audience: ['https://orders.example.com', 'urn:orders'],
  clientId: 'orders-api',
  clientSecret: 'x',
  onRefused(reason: Refusal, request: FastifyRequest) {
    if (reason.code === 'wrong_audience') request.log.warn(reason.message)
    // @ts-expect-error no such code
    return reason.code === 'nonsense'
  }
}
const app = fastify()
await app.register(guard, options)
const { requireUser, requireScope, requireRole, publicAccess } = app

// A route with a guard: the principal is there, and its token has the claims.
app.get('/one', { preHandler: requireScope('orders:read') }, async ({ principal }) => {
  const caller: Principal = principal
  const { exp, sid, roles } = principal.token
  // @ts-expect-error no such claim
  void principal.token.email
  return { caller, left: exp - 1, session: sid?.length, role: roles[0]?.length }
})
app.get(
  '/all',
  { preHandler: [requireUser(), requireScope('orders:write'), requireRole('clerk')] },
  async ({ principal }) => principal.sub
)
app.get('/mixed', { preHandler: [publicAccess, requireUser()] }, async ({ principal }) => principal.sub)
app.get(
  '/after',
  { preHandler: [async () => {}, requireUser(), async () => {}] },
  async ({ principal }) => principal.sub
)
app.post<{ Body: { item: string } }>('/body', { preHandler: requireUser() }, async ({ body, principal }) => {
  // @ts-expect-error the body has no such member
  void body.quantity
  return body.item + principal.sub
})
app.route({
  method: 'PUT',
  url: '/route',
  preHandler: [requireUser()],
  handler: async ({ principal }) => principal.sub
})
app.register(async (scope) => {
  scope.get('/child', { preHandler: scope.requireUser() }, async ({ principal }) => principal.sub)
})

// A public route: the principal is null.
app.get('/open', { preHandler: publicAccess }, async ({ principal }) => {
  const none: null = principal
  // @ts-expect-error nobody has called
  void principal.sub
  return none
})
app.get('/opens', { preHandler: [publicAccess] }, async ({ principal }): Promise<null> => principal)
app.route({
  method: 'GET',
  url: '/open-route',
  preHandler: publicAccess,
  // @ts-expect-error nobody has called
  handler: async ({ principal }) => principal.sub
})

// A hook, and a route without a guard of its own, may have either.
app.addHook('onResponse', async ({ principal }) => {
  // @ts-expect-error it may be null
  void principal.sub
  void principal?.sub
})
app.get('/unguarded', async ({ principal }) => {
  // @ts-expect-error it may be null
  void principal.sub
  if (principal?.kind === 'client') throw new AccessError('insufficient_scope', 'Not for clients')
  return principal?.token.jti
})
const name = ({ principal }: FastifyRequest) => principal?.sub
app.get('/helper', { preHandler: requireUser() }, async (request) => name(request))
app.get('/open-helper', { preHandler: publicAccess }, async (request) => name(request))

const logins = createLoginClient({ issuer: options.issuer, clientId: 'x', open: (url) => url.length })
export const hello = async (): Promise<string> => {
  const login: Login = await logins.login(AbortSignal.timeout(1000))
  return login.tokens.refreshToken ?? (await login.getToken())
}

const client = createTokenClient({
  issuer: options.issuer,
  internalUrl: 'http://latchkey:3000',
  clientId: 'x',
  clientSecret: 'x'
})
await client.token().catch((error: unknown) => {
  if (error instanceof TokenError) return error.description?.length
  throw error
})
