import type { FastifyInstance, FastifyRequest, preHandlerAsyncHookHandler, RouteOptions } from 'fastify'
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
  verify: (token: string) => Promise<Principal | null>
  /** Names of the OAuth2 security schemes of the OpenAPI document, one for each flow: those by which users get tokens, and clients. */
  flows: { user: string[]; client: string[] }
}

/** Makes a guard of a function that sees to its callers itself. */
export function selfGuarded(check: preHandlerAsyncHookHandler): Guard {
  return Object.assign(check, { [DEMAND]: null })
}

const isGuard = (hook: unknown): hook is Guard => typeof hook === 'function' && DEMAND in hook

/** The token of a request: only from the header, only once (RFC 6750 §2.1). @throws AccessError */
function bearerToken(request: FastifyRequest): string {
  const [, scheme = '', token = ''] = /^(\S*)(?: +([\s\S]*))?$/.exec(request.headers.authorization ?? '') ?? []
  if (scheme.toLowerCase() !== 'bearer') throw new AccessError(null, 'Not authenticated')
  if (!/^\S+$/.test(token)) throw new AccessError('invalid_token', 'Could not validate credentials')
  return token
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
  async (fastify, { verify, flows }) => {
    const guard = (demand: Partial<Demand>): Guard =>
      Object.assign(async () => {}, { [DEMAND]: { user: false, scopes: [], roles: [], ...demand } })

    /** Whatever status an error of `verify` holds, it is not the caller's. */
    async function verified(token: string): Promise<Principal | null> {
      try {
        return await verify(token)
      } catch (cause) {
        const { statusCode = 500, status = 500 } = (cause ?? {}) as { statusCode?: number; status?: number }
        throw statusCode < 500 || status < 500 ? new Error('the token could not be checked', { cause }) : cause
      }
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

    fastify.addHook('onRequest', async ({ raw }) => {
      const names = raw.rawHeaders.filter((_text, index) => index % 2 === 0)
      if (names.filter((name) => name.toLowerCase() === 'authorization').length > 1) {
        throw new AccessError('invalid_request', 'The request has more than one Authorization header')
      }
    })

    fastify.addHook('onRoute', function (this: FastifyInstance, route: RouteOptions) {
      const handlers = [route.preHandler ?? []].flat()
      const guards = handlers.filter(isGuard)
      if (guards.length === 0 && this.guardOfScope !== null) {
        guards.push(this.guardOfScope)
        handlers.unshift(this.guardOfScope)
      }
      if (guards.length === 0) {
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
      route.onRequest = [
        async (request: FastifyRequest) => {
          const principal = await verified(bearerToken(request))
          if (principal === null) throw new AccessError('invalid_token', 'Could not validate credentials')
          enforce(demand, principal)
          request.principal = principal
        },
        ...[route.onRequest ?? []].flat()
      ]
    })
  },
  { name: 'guard-core' }
)
