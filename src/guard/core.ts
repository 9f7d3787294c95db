import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
  preHandlerAsyncHookHandler,
  RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import type { Principal } from '../token/principal.ts'
import { AccessError } from './errors.ts'

export { AccessError } from './errors.ts'

/** The requirements of a guard. The guards of a route are merged into one demand. */
interface Demand {
  user: boolean
  scopes: string[]
  roles: string[]
}

const DEMAND = Symbol('demand')

/** A preHandler with its demand; null when the route is public or checks its callers itself. */
export type Guard = preHandlerAsyncHookHandler & { [DEMAND]: Demand | null }

declare module 'fastify' {
  interface FastifyInstance {
    /** Requires a user's token, not a client's own. */
    requireUser(): Guard
    /** Requires a token with all of these scopes. */
    requireScope(...scopes: string[]): Guard
    /** Requires a user with all of these roles. */
    requireRole(...roles: string[]): Guard
    /** Accepts every request. */
    publicAccess: Guard
    /** The guard of the routes in this scope that name none: for plugins that add routes of their own. */
    guardOfScope: Guard | null
  }
  interface FastifyRequest {
    /** Set on every route with a guard that requires a token. */
    principal: Principal
  }
}

export interface GuardOptions {
  /** Returns null for every token that is not valid. An error that it throws becomes a response of 500 or above. */
  verify: (token: string) => Principal | null | Promise<Principal | null>
  /** Names of the OAuth2 security schemes in the OpenAPI document, one for each flow, by who gets tokens from it. */
  flows: { user: string[]; client: string[] }
  /** URL of the protected resource metadata (RFC 9728 §5.1). Part of every challenge. */
  metadataUrl?: string | null
  /** Paths whose routes, and all routes below them, are public unless they name a guard. */
  publicPaths?: string[]
  /** For a route that names no guard: `refuse` stops the start, `allow` leaves the route as it is. */
  unguarded?: 'refuse' | 'allow'
}

/** Makes a guard of a function that checks its callers itself. */
export function selfGuarded(check: preHandlerAsyncHookHandler): Guard {
  return Object.assign(check, { [DEMAND]: null })
}

const isGuard = (hook: unknown): hook is Guard => typeof hook === 'function' && DEMAND in hook

/** Returns the token in the Authorization header (RFC 6750 §2.1). @throws AccessError without a Bearer scheme */
function bearerToken({ headers: { authorization = '' } }: FastifyRequest): string {
  const space = authorization.indexOf(' ')
  const scheme = space === -1 ? authorization : authorization.slice(0, space)
  if (scheme.toLowerCase() !== 'bearer') throw new AccessError(null, 'Not authenticated')
  let start = scheme.length
  while (authorization[start] === ' ') start++
  return authorization.slice(start)
}

/** Returns whether a header occurs more than once; `request.headers` holds only the first. */
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

function describe({ user, scopes, roles }: Demand): string {
  const needs = [
    ...(scopes.length > 0 ? [`the scope ${quoted(scopes)}`] : []),
    ...(roles.length > 0 ? [`the role ${quoted(roles)}`] : [])
  ]
  return `Needs ${user ? 'a user’s token' : 'a token'}${needs.length > 0 ? ` with ${needs.join(' and ')}` : ''}.`
}

/**
 * Adds guards for routes. A guard under `preHandler` runs before anything is parsed, and its demand is written into the OpenAPI
 * operation. A route without a guard stops the start. Must be registered before the routes.
 */
export default fp<GuardOptions>(
  async (fastify, { verify, flows, metadataUrl = null, publicPaths = [], unguarded = 'refuse' }) => {
    /** Makes a guard. `onRoute` takes the demand of one under `preHandler`; anywhere else, as a hook of a scope, the guard runs itself. */
    function guard(required: Partial<Demand>): Guard {
      const demand: Demand = { user: false, scopes: [], roles: [], ...required }
      const check = enforcing(demand)
      const run = (request: FastifyRequest, reply: FastifyReply) =>
        new Promise<void>((resolve, reject) =>
          check(request, reply, (error) => (error === undefined ? resolve() : reject(error)))
        )
      return Object.assign(run, { [DEMAND]: demand })
    }

    /** Sets status and headers of the error here, so that every error handler keeps them. */
    function refused(reply: FastifyReply, error: Error & { statusCode?: number; headers?: Record<string, string> }) {
      if (error instanceof AccessError && metadataUrl !== null)
        error.headers['www-authenticate'] += `, resource_metadata="${metadataUrl}"`
      reply.code(error.statusCode ?? 500).headers(error.headers ?? {})
      return error
    }

    /** Replaces an error of `verify` with a status below 500: the caller did not cause it. */
    function failure(cause: unknown): Error {
      const { statusCode = 500, status = 500 } = (cause ?? {}) as { statusCode?: number; status?: number }
      return statusCode < 500 || status < 500 || !(cause instanceof Error)
        ? new Error('the token could not be verified', { cause })
        : cause
    }

    /** Awaits nothing when `verify` returns no promise. */
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
        description: [description, describe(demand)].filter(Boolean).join('\n\n')
      } as object
      route.onRequest = [enforcing(demand), ...[route.onRequest ?? []].flat()]
    })
  },
  { name: 'guard-core' }
)
