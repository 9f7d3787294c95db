import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
  preHandlerAsyncHookHandler,
  RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import { AccessError } from './errors.ts'

export { AccessError } from './errors.ts'

/** Who is calling. */
export interface Principal {
  kind: 'user' | 'client'
  /** The user's id, or the client's for its own token. */
  sub: string
  clientId: string
  /** The session; null for a client's own token. */
  sid: string | null
  scopes: string[]
  roles: string[]
  /** The claims as they were signed. */
  token: object
}

/** What one guard asks for; those of a route are merged into one. */
interface Demand {
  user: boolean
  scopes: string[]
  roles: string[]
}

const DEMAND = Symbol('demand')

/** A preHandler that carries its meaning: `null` for a route that anyone may call or that sees to its callers itself. */
export type Guard = preHandlerAsyncHookHandler & { [DEMAND]: Demand | null }

declare module 'fastify' {
  interface FastifyInstance {
    /** A user must be calling, not a client in its own name. */
    requireUser(): Guard
    /** The token must hold all of these scopes. */
    requireScope(...scopes: string[]): Guard
    /** The user must have all of these roles. */
    requireRole(...roles: string[]): Guard
    /** Anyone may call. */
    publicAccess: Guard
    /** In a child scope: the guard of its routes that name none, for plugins that bring routes of their own. */
    guardOfScope: Guard | null
  }
  interface FastifyRequest {
    /** Set on every route with a guard that asks for a token. */
    principal: Principal
  }
}

export interface GuardOptions {
  /** Null for every token that is not good; what it throws is a failure of ours. */
  verify: (token: string) => Principal | null | Promise<Principal | null>
  /** Names of the OAuth2 security schemes of the OpenAPI document, one for each flow: those by which users get tokens, and clients. */
  flows: { user: string[]; client: string[] }
  /** Where one reads what the resource wants (RFC 9728 §5.1); a part of every challenge. */
  metadataUrl?: string | null
  /** Paths, and all below them, whose routes anyone may call unless they name a guard. */
  publicPaths?: string[]
  /** What becomes of a route that names no guard: it stops the boot, or it is left as it is. */
  unguarded?: 'refuse' | 'allow'
}

/** Makes a guard of a function that sees to its callers itself. */
export function selfGuarded(check: preHandlerAsyncHookHandler): Guard {
  return Object.assign(check, { [DEMAND]: null })
}

const isGuard = (hook: unknown): hook is Guard => typeof hook === 'function' && DEMAND in hook

/** The token of a request: only from the header, only once (RFC 6750 §2.1). @throws AccessError */
function bearerToken({ headers: { authorization = '' } }: FastifyRequest): string {
  const space = authorization.indexOf(' ')
  const scheme = space === -1 ? authorization : authorization.slice(0, space)
  if (scheme.toLowerCase() !== 'bearer') throw new AccessError(null, 'Not authenticated')
  let start = scheme.length
  while (authorization[start] === ' ') start++
  return authorization.slice(start)
}

/** Whether a header came more than once; Node.js shows the first of them only. */
function isRepeated(rawHeaders: string[], header: string): boolean {
  let times = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (name.length === header.length && name.toLowerCase() === header) times++
  }
  return times > 1
}

function enforce({ user, scopes, roles }: Demand, principal: Principal): void {
  if (user && principal.kind !== 'user') throw new AccessError('insufficient_scope', 'Not enough permissions')
  if (!scopes.every((scope) => principal.scopes.includes(scope))) {
    throw new AccessError('insufficient_scope', 'Not enough permissions', scopes)
  }
  if (!roles.every((role) => principal.roles.includes(role)))
    throw new AccessError('insufficient_scope', 'Not enough permissions')
}

const quoted = (names: string[]): string => names.map((name) => `\`${name}\``).join(', ')

function inWords({ user, scopes, roles }: Demand): string {
  const needs = [
    ...(scopes.length > 0 ? [`the scope ${quoted(scopes)}`] : []),
    ...(roles.length > 0 ? [`the role ${quoted(roles)}`] : [])
  ]
  return `Needs ${user ? 'a user’s token' : 'a token'}${needs.length > 0 ? ` with ${needs.join(' and ')}` : ''}.`
}

/**
 * Guards for routes. What a route declares under `preHandler` is enforced before anything is parsed, and written into its
 * OpenAPI operation; a route that declares nothing stops the boot. Register it before the routes.
 */
export default fp<GuardOptions>(
  async (fastify, { verify, flows, metadataUrl = null, publicPaths = [], unguarded = 'refuse' }) => {
    /** Under `preHandler` of a route it is known by its demand; wherever else it is put, as a hook of a scope, it is run. */
    function guard(asked: Partial<Demand>): Guard {
      const demand: Demand = { user: false, scopes: [], roles: [], ...asked }
      const check = enforcing(demand)
      const run = (request: FastifyRequest, reply: FastifyReply) =>
        new Promise<void>((resolve, reject) =>
          check(request, reply, (error) => (error === undefined ? resolve() : reject(error)))
        )
      return Object.assign(run, { [DEMAND]: demand })
    }

    /** Status and headers of an error are on the answer whatever the error handler makes of it. */
    function refused(reply: FastifyReply, error: Error & { statusCode?: number; headers?: Record<string, string> }) {
      if (error instanceof AccessError && metadataUrl !== null)
        error.headers['www-authenticate'] += `, resource_metadata="${metadataUrl}"`
      reply.code(error.statusCode ?? 500).headers(error.headers ?? {})
      return error
    }

    /** Whatever status an error of `verify` holds, it is not the caller's. */
    function failure(cause: unknown): Error {
      const { statusCode = 500, status = 500 } = (cause ?? {}) as { statusCode?: number; status?: number }
      return statusCode < 500 || status < 500 || !(cause instanceof Error)
        ? new Error('the token could not be checked', { cause })
        : cause
    }

    /** Nothing is awaited for a token that can be judged at once. */
    const enforcing =
      (demand: Demand) =>
      (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
        const admit = (principal: Principal | null) => {
          if (principal === null) throw new AccessError('invalid_token', 'Could not validate credentials')
          enforce(demand, principal)
          request.principal = principal
        }
        const refuse = (error: unknown) => done(refused(reply, error instanceof AccessError ? error : failure(error)))
        try {
          const verdict = verify(bearerToken(request))
          if (verdict instanceof Promise) {
            verdict.then(admit).then(() => done(), refuse)
            return
          }
          admit(verdict)
        } catch (error) {
          refuse(error)
          return
        }
        done()
      }

    fastify.decorate('requireUser', () => guard({ user: true }))
    fastify.decorate('requireScope', (...scopes: string[]) => guard({ scopes }))
    fastify.decorate('requireRole', (...roles: string[]) => guard({ roles }))
    fastify.decorate(
      'publicAccess',
      selfGuarded(async () => {})
    )
    fastify.decorate('guardOfScope', null)
    fastify.decorateRequest('principal', null as unknown as Principal)

    fastify.addHook('onRequest', (request, reply, done) => {
      if (!isRepeated(request.raw.rawHeaders, 'authorization')) return done()
      done(refused(reply, new AccessError('invalid_request', 'The request has more than one Authorization header')))
    })

    const isPublic = (url: string): boolean => publicPaths.some((path) => url === path || url.startsWith(`${path}/`))

    fastify.addHook('onRoute', function (this: FastifyInstance, route: RouteOptions) {
      const handlers = [route.preHandler ?? []].flat()
      const guards = handlers.filter(isGuard)
      const otherwise = this.guardOfScope ?? (isPublic(route.url) ? this.publicAccess : null)
      if (guards.length === 0 && otherwise !== null) {
        guards.push(otherwise)
        handlers.unshift(otherwise)
      }
      if (guards.length === 0) {
        if (unguarded === 'allow') return
        const name = `${[route.method].flat().join(', ')} ${route.url}`
        throw new Error(
          `${name} names no guard: put requireUser(), requireScope(…), requireRole(…) or publicAccess into its preHandler`
        )
      }

      route.preHandler = handlers.filter(
        (each) => !isGuard(each) || each[DEMAND] === null
      ) as preHandlerAsyncHookHandler[]
      const demands = guards.flatMap((each) => each[DEMAND] ?? [])
      if (demands.length === 0) {
        route.schema = { ...route.schema, security: [] } as object
        return
      }

      const demand: Demand = {
        user: demands.some((each) => each.user),
        scopes: [...new Set(demands.flatMap((each) => each.scopes))],
        roles: [...new Set(demands.flatMap((each) => each.roles))]
      }
      const { description } = (route.schema ?? {}) as { description?: string }
      route.schema = {
        ...route.schema,
        security: [...flows.user, ...(demand.user ? [] : flows.client)].map((flow) => ({ [flow]: demand.scopes })),
        description: [description, inWords(demand)].filter(Boolean).join('\n\n')
      } as object
      route.onRequest = [enforcing(demand), ...[route.onRequest ?? []].flat()]
    })
  },
  { name: 'guard-core' }
)
