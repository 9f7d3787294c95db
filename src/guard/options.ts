import type { FastifyRequest } from 'fastify'
import { isAbsoluteUri } from '../absolute-uri.ts'
import { LOG_AUDIENCES_MAX } from '../limits.ts'
import { didYouMean } from '../similar.ts'
import type { Clock } from '../token/clock.ts'
import type { Refusal } from '../token/refusal.ts'
import type { Credentials } from './credentials.ts'

export type LatchkeyGuardOptions = {
  /** The `iss` of tokens, as in Latchkey's metadata. */
  issuer: string
  /** Whether an `issuer` with plain http may be on another host than loopback. Everyone on the network can then read tokens. Default: false. */
  insecureHttp?: boolean
  /**
   * The URL at which this process reaches the issuer, when that is not the issuer's own: `http://latchkey:3000` in a network of
   * containers. Requests go there; the `iss` of tokens stays the issuer. Over plain http everyone on this network can read the secret of
   * the client, and can forge keys.
   */
  internalUrl?: string
  /**
   * The `aud` of tokens: the identifier of this service among the resources of Latchkey. With several identifiers, the metadata that the
   * service publishes (RFC 9728) names the first.
   */
  audience: string | string[]
  /** The state of the revocation log is unknown after this many seconds without a response, 4 to 300. Default: 30. */
  staleAfter?: number
  /**
   * For valid tokens while the state of the revocation log is unknown: `refuse` responds with 503, `accept` accepts them and logs an
   * error. Default: `refuse`.
   */
  whenStale?: 'refuse' | 'accept'
  /** Paths of other plugins, such as `/docs`. A route at or below one of these paths is public unless it names a guard. */
  publicPaths?: string[]
  /** For a route that names no guard: `refuse` stops the start, `allow` leaves the route public. Default: `refuse`. */
  unguarded?: 'refuse' | 'allow'
  /**
   * Called once for each request that the guard refuses. The log has the same reason, at the level `info`. The response holds it only
   * for a missing right and for a repeated `Authorization` header.
   */
  onRefused?: (reason: Refusal, request: FastifyRequest) => unknown
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch
  /** Replaces the system clock, by which tokens expire. */
  clock?: Clock
} & (
  | ({
      /**
       * How the service learns of revoked tokens. `log` follows Latchkey's revocation log: a revoked token is refused within a second.
       * `introspection` sends every token to Latchkey at every request (RFC 7662). The resource must name the client (`--introspect`), and
       * the client needs the scope `revocations:read` for the log, or `tokens:introspect` for introspection. Default: `log`.
       */
      revocation?: 'log' | 'introspection'
    } & Credentials)
  /** Tokens are accepted until they expire. */
  | { revocation: 'none' }
)

/** Seconds for `staleAfter`, when it is not given. */
export const STALE_AFTER = 30

/** The names of all members of a union. */
type NameOf<Options> = Options extends unknown ? keyof Options : never
/** The names of all options. The type checker finds a missing one. */
const NAMES = Object.keys({
  issuer: 1,
  insecureHttp: 1,
  internalUrl: 1,
  audience: 1,
  staleAfter: 1,
  whenStale: 1,
  publicPaths: 1,
  unguarded: 1,
  onRefused: 1,
  fetch: 1,
  clock: 1,
  revocation: 1,
  clientId: 1,
  clientSecret: 1,
  privateKey: 1,
  kid: 1
} satisfies Record<NameOf<LatchkeyGuardOptions>, 1>)

/** Refuses a misspelt name. Accepts every other unknown name, because Fastify has options of its own, such as `logLevel`. */
function assertNames(options: object): void {
  for (const name of Object.keys(options)) {
    const suggestion = NAMES.includes(name) ? '' : didYouMean(name, NAMES)
    if (suggestion !== '') throw new TypeError(`latchkey-guard: ${JSON.stringify(name)} is not an option${suggestion}`)
  }
}

/** @throws TypeError for options that are not valid */
export function assertOptions(options: LatchkeyGuardOptions): void {
  assertNames(options)
  const { revocation, staleAfter = STALE_AFTER, whenStale, unguarded, onRefused, publicPaths = [] } = options
  const audiences = [options.audience].flat()
  const oneOf = (name: string, value: string | undefined, allowed: string[]) => {
    if (value !== undefined && !allowed.includes(value))
      throw new TypeError(`latchkey-guard: ${name} must be one of ${allowed.join(', ')}`)
  }
  const isUri = (value: unknown) => typeof value === 'string' && isAbsoluteUri(value)
  if (audiences.length === 0 || audiences.length > LOG_AUDIENCES_MAX || !audiences.every(isUri))
    throw new TypeError(
      `latchkey-guard: audience must be an absolute URI without fragment, or a list of at most ${LOG_AUDIENCES_MAX} such URIs`
    )
  oneOf('revocation', revocation, ['log', 'introspection', 'none'])
  if (options.revocation !== 'none' && (options.clientSecret ?? options.privateKey) === undefined)
    throw new TypeError(
      `latchkey-guard: clientSecret or privateKey of ${options.clientId ?? 'a client'} is missing; Latchkey needs it to say which tokens are revoked. With revocation: "none" no client is needed`
    )
  oneOf('whenStale', whenStale, ['refuse', 'accept'])
  oneOf('unguarded', unguarded, ['refuse', 'allow'])
  if (onRefused !== undefined && typeof onRefused !== 'function')
    throw new TypeError('latchkey-guard: onRefused must be a function')
  if (typeof staleAfter !== 'number' || !(staleAfter >= 4 && staleAfter <= 300))
    throw new TypeError('latchkey-guard: staleAfter must be from 4 to 300 seconds')
  // An empty path would make every route public.
  if (!Array.isArray(publicPaths) || !publicPaths.every((path) => typeof path === 'string' && path !== ''))
    throw new TypeError('latchkey-guard: publicPaths must be a list of paths')
}
