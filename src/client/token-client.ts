import { isAbsoluteUri } from '../absolute-uri.ts'
import { type Credentials, createAuthentication } from '../guard/credentials.ts'
import { createMetadata } from '../guard/metadata.ts'
import type { Timer } from '../guard/timer.ts'
import { type Clock, systemClock } from '../token/clock.ts'
import { refusesToken } from './challenge.ts'
import { createTokenCache } from './token-cache.ts'
import { createTokenRequest } from './token-request.ts'

export type TokenClientOptions = Credentials & {
  /** The `iss` of tokens: an https URL without a trailing slash (http on a loopback host, or with `insecureHttp`). */
  issuer: string
  /** Whether an `issuer` with plain http may be on another host than loopback. Everyone on the network can then read tokens. Default: false. */
  insecureHttp?: boolean
  /**
   * The URL at which this process reaches the issuer, when that is not the issuer's own: `http://latchkey:3000` in a network of
   * containers. Requests go there; the `iss` of tokens stays the issuer. Over plain http everyone on this network can read the secret of
   * the client, and can forge keys.
   */
  internalUrl?: string
  /** The scopes to request, separated by spaces. Default: the default scopes of the client. */
  scope?: string
  /** The identifier of the service that the tokens are for (RFC 8707). */
  resource?: string
  /**
   * The origins to which `fetch` may send the token, for example `['http://orders.internal:3000']`. Default: the origin of
   * `resource`; without `resource`, every origin.
   */
  origins?: string[]
  /** Maximum milliseconds that a call waits for a token. Default: 10,000. */
  timeout?: number
  /** Replaces the global `fetch`, for the issuer and for services. */
  fetch?: typeof globalThis.fetch
  /** Replaces the clock that measures the age of a token, and that dates the assertions of `privateKey`. */
  clock?: Clock
}

export interface TokenClient {
  /**
   * Returns an access token for the client itself (RFC 6749 §4.4). Calls share one token. After 75 to 90 % of its lifetime it is
   * renewed in the background. Until the renewal succeeds, the previous token is returned while it is valid. Concurrent
   * calls share one request.
   *
   * Without a valid token, a call retries temporary failures (no response, 429, 5xx) for up to `timeout`. The pauses are 0.1 s, 0.2 s,
   * 0.4 s and so on up to 1 s. Each pause is lengthened at random by at most a half, and lasts at least as long as `Retry-After`
   * says, but at most a minute. A refusal, such as `invalid_client`, is thrown at once. Calls within the next second throw the same refusal.
   * @throws TokenError
   */
  token(): Promise<string>

  /**
   * Calls `fetch` with `Authorization: Bearer` (RFC 6750 §2.1), which replaces an `Authorization` header of the caller. If the
   * service responds with 401 and its challenge refuses the token, the client drops the token, sends the request once more with a
   * new token and returns the second response. A request whose body is a stream, and a Request with a body, cannot be sent twice:
   * then the 401 is returned. A redirect to another origin does not carry the token.
   * @throws TypeError when the token must not be sent to the origin of the URL
   * @throws TokenError when there is no token; the reason of the caller's signal when that aborts
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>

  /** Aborts the current request. Every call that waits for a token, and every later call, throws a TokenError. */
  close(): void
}

const isRequest = (input: string | URL | Request): input is Request => typeof input === 'object' && 'url' in input

/** Returns whether the body can be sent a second time. */
function isRepeatable(input: string | URL | Request, body: unknown): boolean {
  if (body === undefined || body === null) return !isRequest(input) || input.body === null
  const kinds = [URLSearchParams, ArrayBuffer, Blob, FormData]
  return typeof body === 'string' || ArrayBuffer.isView(body) || kinds.some((kind) => body instanceof kind)
}

/** Returns the origins that may get the token; null for every origin. @throws TypeError */
function parseOrigins({ origins, resource }: Pick<TokenClientOptions, 'origins' | 'resource'>): string[] | null {
  if (resource !== undefined && !isAbsoluteUri(resource))
    throw new TypeError('resource must be an absolute URI without fragment, for example https://orders.example.com')
  for (const origin of origins ?? [])
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new TypeError('origins must be a list of origins without path, for example https://orders.example.com')
  if (origins !== undefined) return origins
  return resource !== undefined && /^https?:/i.test(resource) ? [new URL(resource).origin] : null
}

/** Creates a token client. @param timer measures pauses, time limits and, without `clock`, the age of a token */
export function createClient(options: TokenClientOptions, timer: Timer): TokenClient {
  const { issuer, insecureHttp, internalUrl, scope, resource, clock } = options
  const { timeout = 10_000, fetch = globalThis.fetch } = options
  if (!(timeout > 0 && timeout < 2 ** 31))
    throw new TypeError('timeout must be a number of milliseconds from 1 to 2147483647')
  const metadata = createMetadata({ issuer, insecureHttp, internalUrl, fetch, timer })
  const authenticate = createAuthentication({ ...options, clock: clock ?? systemClock })
  const origins = parseOrigins(options)
  const form = {
    grant_type: 'client_credentials',
    ...(scope === undefined ? {} : { scope }),
    ...(resource === undefined ? {} : { resource })
  }

  const requestToken = createTokenRequest({ ...options, metadata, authenticate, fetch, timer })
  const request = async (signal: AbortSignal) => (await requestToken(form, signal)).issued
  const tokens = createTokenCache({
    request,
    now: clock === undefined ? timer.elapsed : () => clock.now(),
    timer,
    timeout
  })

  return {
    token: () => tokens.get(),
    close: () => tokens.close(),

    async fetch(input, init) {
      const { origin } = new URL(isRequest(input) ? input.url : input)
      if (origins !== null && !origins.includes(origin))
        throw new TypeError(`the token must not be sent to ${origin}; add it to origins to allow this`)
      const signal = init?.signal ?? (isRequest(input) ? input.signal : null)
      // Decided before the first request consumes the body.
      const repeatable = isRepeatable(input, init?.body)

      const send = (token: string): Promise<Response> => {
        const headers = new Headers(init?.headers ?? (isRequest(input) ? input.headers : {}))
        headers.set('authorization', `Bearer ${token}`)
        return fetch(input, { ...init, headers })
      }
      const token = await tokens.get(signal)
      const response = await send(token)
      // After a redirect to another origin the response says nothing about the token, which was not sent there.
      const isFromOrigin = response.url === '' || new URL(response.url).origin === origin
      const isRefused =
        response.status === 401 && isFromOrigin && refusesToken(response.headers.get('www-authenticate') ?? '')
      if (!isRefused) return response
      tokens.drop(token)
      if (!repeatable) return response
      await response.body?.cancel().catch(() => {})
      return send(await tokens.get(signal))
    }
  }
}
