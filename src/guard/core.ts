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
import { type Refusal, refusal } from '../token/refusal.ts'
import { type Demand, describe, lacking, merge } from './demand.ts'
import { AccessError } from './errors.ts'
import { isBelow, isForPreflights, unguardedError } from './routes.ts'
import { DEMAND, type Guard, type OpenGuard, type TokenGuard } from './types.ts'

export { AccessError } from './errors.ts'
export type { Guard, OpenGuard, TokenGuard } from './types.ts'

export interface GuardOptions {
  /** Returns the reason for every token that is not valid. An error that it throws becomes a response of 500 or above. */
  verify: (token: string, request: FastifyRequest) => Principal | Refusal | Promise<Principal | Refusal>
  /** Called once for each request that a guard refuses, after the line of the log. An error that it throws is logged. */
  onRefused?: (reason: Refusal, request: FastifyRequest) => unknown
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
export function selfGuarded(check: preHandlerAsyncHookHandler): OpenGuard {
  return Object.assign(check, { [DEMAND]: null })
}

const isGuard = (hook: unknown): hook is Guard => typeof hook === 'function' && DEMAND in hook

const NO_TOKEN = refusal('no_token', 'The request has no Bearer token')
const REPEATED_HEADER = refusal('repeated_header', 'The request has more than one Authorization header')

/** Returns the token in the Authorization header (RFC 6750 §2.1); null without a Bearer scheme. */
function bearerToken({ headers: { authorization = '' } }: FastifyRequest): string | null {
  const space = authorization.indexOf(' ')
  const scheme = space === -1 ? authorization : authorization.slice(0, space)
  if (scheme.toLowerCase() !== 'bearer') return null
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

/** Returns the error of a refusal. The caller learns which right is missing, and nothing about a token that is not valid. */
function accessError({ code, message }: Refusal, scopes: string[]): AccessError {
  if (code === 'no_token') return new AccessError(null, 'Not authenticated')
  if (code === 'repeated_header') return new AccessError('invalid_request', message)
  if (code === 'missing_scope') return new AccessError('insufficient_scope', message, scopes)
  if (code === 'missing_role' || code === 'not_a_user') return new AccessError('insufficient_scope', message)
  return new AccessError('invalid_token', 'Could not validate credentials')
}

/** Returns an error whose status is at least 500 for an error of `verify`, because the caller did not cause the error. */
function failure(cause: unknown): Error & { statusCode?: number; headers?: Record<string, string> } {
  const { statusCode = 500, status = 500 } = (cause ?? {}) as { statusCode?: number; status?: number }
  return statusCode < 500 || status < 500 || !(cause instanceof Error)
    ? new Error('the token could not be verified', { cause })
    : cause
}

/**
 * Adds guards for routes. A guard under `preHandler` runs before anything is parsed, and its demand is written into the OpenAPI
 * operation. A route without a guard stops the start. Must be registered before the routes.
 */
export default fp<GuardOptions>(
  async (fastify, { verify, flows, metadataUrl = null, onRefused, publicPaths = [], unguarded = 'refuse' }) => {
    /**
     * Makes a guard. `onRoute` replaces the guards under the `preHandler` of a route by one `onRequest` hook. A guard in any other place,
     * for example `addHook('preHandler', guard)`, runs itself.
     */
    function guard(required: Partial<Demand>): TokenGuard {
      const demand: Demand = { user: false, scopes: [], roles: [], ...required }
      const check = enforcing(demand)
      const run = (request: FastifyRequest, reply: FastifyReply) =>
        new Promise<void>((resolve, reject) =>
          check(request, reply, (error) => (error === undefined ? resolve() : reject(error)))
        )
      return Object.assign(run, { [DEMAND]: demand })
    }

    /** Sets status and headers of an error here, so that every error handler keeps them. */
    function failed<E extends Error>(reply: FastifyReply, error: E & { statusCode?: number; headers?: object }): E {
      reply
        .code(error.statusCode ?? 500)
        .headers({ ...(error.headers as Record<string, string> | undefined), 'cache-control': 'no-store' })
      return error
    }

    /** Logs and reports a refusal, and returns its error. Every refusal of a guard passes here once. */
    function refused(request: FastifyRequest, reply: FastifyReply, reason: Refusal, scopes: string[] = []): Error {
      request.log.info({ refused: reason.code }, reason.message)
      const report = async () => onRefused?.(reason, request)
      report().catch((error: unknown) => request.log.error({ err: error }, 'onRefused failed'))
      const error = accessError(reason, scopes)
      if (metadataUrl !== null) error.headers['www-authenticate'] += `, resource_metadata="${metadataUrl}"`
      return failed(reply, error)
    }

    /** Awaits nothing when `verify` returns no promise. */
    const enforcing =
      (demand: Demand) =>
      (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void => {
        function decide(verdict: Principal | Refusal): void {
          const reason = verdict.kind === 'refused' ? verdict : lacking(demand, verdict)
          if (reason === null) request.principal = verdict as Principal
          done(reason === null ? undefined : refused(request, reply, reason, demand.scopes))
        }
        const fail = (error: unknown): void => done(failed(reply, failure(error)))
        const token = bearerToken(request)
        let verdict: ReturnType<GuardOptions['verify']>
        try {
          verdict = token === null ? NO_TOKEN : verify(token, request)
        } catch (error) {
          fail(error)
          return
        }
        if (verdict instanceof Promise) verdict.then(decide, fail)
        else decide(verdict)
      }

    fastify.decorate('requireUser', () => guard({ user: true }))
    fastify.decorate('requireScope', (...scopes: string[]) => guard({ scopes }))
    fastify.decorate('requireRole', (...roles: string[]) => guard({ roles }))
    fastify.decorate(
      'publicAccess',
      selfGuarded(async () => {})
    )
    fastify.decorate('defaultGuard', null)
    fastify.decorateRequest('principal', null)

    fastify.addHook('onRequest', (request, reply, done) => {
      if (!isRepeated(request.raw.rawHeaders, 'authorization')) return done()
      done(refused(request, reply, REPEATED_HEADER))
    })

    // Forbids caches to store the response to a token (RFC 9111 §5.2.2.5). A handler can set another value.
    fastify.addHook('onSend', (request, reply, payload, done) => {
      if (request.headers.authorization !== undefined && !reply.hasHeader('cache-control'))
        reply.header('cache-control', 'no-store')
      done(null, payload)
    })

    fastify.addHook('onRoute', function (this: FastifyInstance, route: RouteOptions) {
      const handlers = [route.preHandler ?? []].flat()
      const guards = handlers.filter(isGuard)
      if (guards.length === 0 && isForPreflights(route)) return
      const otherwise = this.defaultGuard ?? (isBelow(route.url, publicPaths) ? this.publicAccess : null)
      if (guards.length === 0 && otherwise !== null) {
        guards.push(otherwise)
        handlers.unshift(otherwise)
      }
      if (guards.length === 0) {
        if (unguarded === 'allow') return
        throw unguardedError(route)
      }

      route.preHandler = handlers.filter(
        (each) => !isGuard(each) || each[DEMAND] === null
      ) as preHandlerAsyncHookHandler[]
      const demands = guards.flatMap((each) => each[DEMAND] ?? [])
      if (demands.length === 0) {
        route.schema = { ...route.schema, security: [] } as object
        return
      }

      const demand = merge(demands)
      const { description } = (route.schema ?? {}) as { description?: string }
      route.schema = {
        ...route.schema,
        security: [...flows.user, ...(demand.user ? [] : flows.client)].map((flow) => ({
          [flow]: [...demand.scopes]
        })),
        description: [description, describe(demand)].filter(Boolean).join('\n\n')
      } as object
      route.onRequest = [enforcing(demand), ...[route.onRequest ?? []].flat()]
    })
  },
  { name: 'guard-core' }
)
