import './node.ts'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createTokenClient, TokenError } from '../client/index.ts'
import { type Clock, systemClock } from './clock.ts'
import guard, { type GuardOptions } from './core.ts'
import { type Credentials, createAuthentication } from './credentials.ts'
import { documentGuards, FLOWS } from './document.ts'
import { UnavailableError } from './errors.ts'
import { createIntrospection } from './introspection.ts'
import { createKeys } from './keys.ts'
import { createMetadata } from './metadata.ts'
import { createRevocations } from './revocations.ts'
import { createVerifier, type Revoked } from './verify.ts'

export type { AccessTokenClaims } from './access-token.ts'
export type { Guard, Principal } from './core.ts'
export { AccessError, UnavailableError } from './errors.ts'

/** How a service stands to the revocation log. */
export interface GuardStatus {
  revocation: 'log' | 'introspection' | 'none'
  /** How far the log was read; null when nothing was read yet, and where there is none. */
  seq: number | null
  /** How old that is at most: milliseconds since the question that was answered last; null before the log was read to its end. */
  lag: number | null
  /** How many revocations are kept. */
  entries: number
  /** How many tokens are remembered. */
  tokens: number
}

declare module 'fastify' {
  interface FastifyInstance {
    guard: { status(): GuardStatus }
  }
}

export type LatchkeyGuardOptions = {
  /** The `iss` of tokens, as Latchkey's metadata has it. */
  issuer: string
  /** The `aud` of tokens: the URI by which Latchkey knows this service as a resource. */
  audience: string
  /** Seconds, 4 to 300, without word from the revocation log after which it is not known what was revoked. 30, if not given. */
  staleAfter?: number
  /** What becomes of good tokens then: 503 (`refuse`, if not given), or they are accepted, with an error in the log. */
  whenStale?: 'refuse' | 'accept'
  /** Paths, and all below them, whose routes anyone may call unless they name a guard: those of other plugins, as `/docs`. */
  publicPaths?: string[]
  /** What becomes of a route that names no guard: it stops the boot (`refuse`, if not given), or it is left open to anyone. */
  unguarded?: 'refuse' | 'allow'
  /** Takes the place of the global one. */
  fetch?: typeof globalThis.fetch
  /** Says whether tokens have expired; the system's clock, if not given. */
  clock?: Clock
} & (
  | ({
      /**
       * How tokens die before their time: `log` (if not given) follows Latchkey's revocation log, so that a token is refused
       * within a second; `introspection` asks about every token at every request (RFC 7662). The client that asks needs the
       * scope `revocations:read`, or `tokens:introspect` and to be one that the resource names.
       */
      revocation?: 'log' | 'introspection'
    } & Credentials)
  /** They live until they expire. */
  | { revocation: 'none' }
)

/** How long the first requests wait for the revocation log. */
const PATIENCE_MS = 3000

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

const NOTHING_REVOKED: Revoked = { version: () => 0, assertKnown: () => {}, refuses: () => false }

/** The URL of a resource's metadata (RFC 9728 §3.1); null for a resource that is no web address. */
function metadataUrl(audience: string): URL | null {
  const { protocol, origin, pathname, search } = new URL(audience)
  if (!/^https?:$/.test(protocol)) return null
  return new URL(`${origin}${WELL_KNOWN}${pathname === '/' ? '' : pathname}${search}`)
}

/** The path of a URL as the router takes it: decoded, and with no parameters in it. */
const routeOf = ({ pathname }: URL): string => decodeURI(pathname).replaceAll(':', '::')

/** @throws TypeError */
function check(options: LatchkeyGuardOptions): void {
  const { audience, revocation, staleAfter = 30, whenStale, unguarded, publicPaths = [] } = options
  const oneOf = (name: string, value: string | undefined, allowed: string[]) => {
    if (value !== undefined && !allowed.includes(value))
      throw new TypeError(`latchkey-guard: ${name} must be one of ${allowed.join(', ')}`)
  }
  if (typeof audience !== 'string' || !URL.canParse(audience) || audience.includes('#'))
    throw new TypeError('latchkey-guard: audience must be an absolute URI without fragment')
  oneOf('revocation', revocation, ['log', 'introspection', 'none'])
  if (options.revocation !== 'none' && (options.clientSecret ?? options.privateKey) === undefined)
    throw new TypeError(
      `latchkey-guard: there is no clientSecret (nor privateKey) of ${options.clientId ?? 'a client'}, by which Latchkey tells what was revoked; with revocation: "none" none is needed`
    )
  oneOf('whenStale', whenStale, ['refuse', 'accept'])
  oneOf('unguarded', unguarded, ['refuse', 'allow'])
  if (typeof staleAfter !== 'number' || !(staleAfter >= 4 && staleAfter <= 300))
    throw new TypeError('latchkey-guard: staleAfter must be from 4 to 300 seconds')
  // An empty one would open everything.
  if (!Array.isArray(publicPaths) || !publicPaths.every((path) => typeof path === 'string' && path !== ''))
    throw new TypeError('latchkey-guard: publicPaths must be a list of paths')
}

/** An error in one line: of one that only says that there was no answer, why there was none. */
function reasonOf(error: unknown): string {
  const { cause } = (error ?? {}) as { cause?: unknown }
  return cause instanceof TokenError ? cause.message : error instanceof Error ? error.message : String(error)
}

/** Routes that are there before the guard are not seen by it. */
function assertFirst(fastify: FastifyInstance): void {
  if (fastify.printRoutes() !== '(empty tree)')
    throw new Error('latchkey-guard: register it, and await that, before any route; or say unguarded: "allow"')
}

/**
 * Guards for the routes of any Fastify service: `requireScope`, `requireRole`, `requireUser`, `publicAccess` and
 * `request.principal`, as inside Latchkey. Tokens are judged here, with the issuer's keys and its revocation log. Register it
 * after @fastify/swagger and before all routes.
 */
export default fp<LatchkeyGuardOptions>(
  async (fastify, options) => {
    check(options)
    const { issuer, audience, staleAfter = 30, whenStale = 'refuse', unguarded = 'refuse' } = options
    if (fastify.prefix !== '') throw new Error('latchkey-guard: register it at the root, for its metadata stand there')
    if (unguarded === 'refuse') assertFirst(fastify)
    const { fetch = globalThis.fetch, clock = systemClock, publicPaths = [] } = options
    const elapsed = () => performance.now()
    const metadata = createMetadata({ issuer, fetch })
    const keys = createKeys({ metadata, fetch, elapsed })
    const judging = { issuer, audience, keys, clock }

    let verifier = createVerifier({ ...judging, revoked: NOTHING_REVOKED })
    let verify: GuardOptions['verify'] = verifier.verify
    let logStatus: ReturnType<typeof createRevocations>['status'] = () => ({ seq: null, lag: null, entries: 0 })

    if (options.revocation === 'introspection') {
      const introspect = createIntrospection({
        metadata,
        fetch,
        authentication: createAuthentication({ ...options, clock })
      })
      verify = async (token) => introspect(token, await verifier.verify(token))
    } else if (options.revocation !== 'none') {
      const client = createTokenClient({ ...options, scope: 'revocations:read', fetch })
      const log = createRevocations({
        metadata,
        fetch: client.fetch,
        elapsed,
        staleAfterMs: staleAfter * 1000,
        onError: (error) => fastify.log.warn(`the revocation log cannot be read: ${reasonOf(error)}`),
        onStale(error) {
          const since = log.status().lag === null ? 'yet' : `for more than ${staleAfter} s`
          const reason = error === null ? '' : `: ${reasonOf(error)}`
          fastify.log.error(`nothing was heard of the revocation log ${since}${reason}`)
        },
        onFresh: () => fastify.log.info('the revocation log is heard of')
      })
      const assertKnown = () => {
        if (!log.isFresh() && whenStale === 'refuse') throw new UnavailableError('It is not known what was revoked')
      }
      verifier = createVerifier({ ...judging, revoked: { ...log, assertKnown } })
      const { verify: judge } = verifier
      /** While nothing was heard yet. */
      let starting: Promise<void> | null = null
      verify = (token) => (starting === null ? judge(token) : starting.then(() => judge(token)))
      logStatus = log.status
      fastify.addHook('onReady', async () => {
        starting = log.start(PATIENCE_MS).then(() => {
          starting = null
        })
      })
      fastify.addHook('onClose', async () => {
        client.close()
        await log.stop()
      })
    }

    const url = metadataUrl(audience)
    await fastify.register(guard, { verify, flows: FLOWS, metadataUrl: url?.href ?? null, publicPaths, unguarded })
    fastify.decorate('guard', {
      status: () => ({ revocation: options.revocation ?? 'log', ...logStatus(), tokens: verifier.size() })
    })
    documentGuards(fastify, { issuer, audience, path: url === null ? WELL_KNOWN : routeOf(url) })
  },
  { name: 'latchkey-guard', fastify: '5.x' }
)
