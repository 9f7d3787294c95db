import '../guard/node.ts'
import { type Clock, systemClock } from '../guard/clock.ts'
import { type Credentials, createAuthentication } from '../guard/credentials.ts'
import { requestJson, UpstreamError } from '../guard/http.ts'
import { createMetadata } from '../guard/metadata.ts'
import { refusesToken } from './challenge.ts'
import { TokenError } from './errors.ts'
import { createTokens, type Grant } from './tokens.ts'

export { TokenError } from './errors.ts'

export type TokenClientOptions = Credentials & {
  /** As it stands in the tokens: an https URL without a slash at the end (http on a loopback host only). */
  issuer: string
  /** The scopes to ask for, with spaces between; the client's default ones, if none are named. */
  scope?: string
  /** The service that the tokens are for, by its identifier (RFC 8707). */
  resource?: string
  /**
   * The origins that `fetch` may give the token to, when they are not the one of `resource`:
   * `['http://orders.internal:3000']`. Without either it is given to whoever is called.
   */
  origins?: string[]
  /** How many milliseconds a call waits at most for a token when there is none. 10,000, if not given. */
  timeout?: number
  /** Takes the place of the global one, for the issuer and for services. */
  fetch?: typeof globalThis.fetch
  /** Says how old a token is, in milliseconds; a clock that nobody sets, if not given. */
  clock?: Clock
}

export interface TokenClient {
  /**
   * An access token of the client's own (RFC 6749 §4.4), the same one until it nears its end. However many ask, one request is
   * made. It is renewed beside the calls when 75 to 90 % of its life are over; while that fails the old one is given out for
   * as long as it is good.
   *
   * Without a good one, a failure that may pass (no answer, 429, 5xx) is tried again for up to `timeout`, after 0.1 s, 0.2 s,
   * 0.4 s and so on up to 1 s, each with up to half more by chance, and not before `Retry-After`. A refusal
   * (`invalid_client`, say) is thrown at once, also to those who ask within the next second: then it is tried again.
   * @throws TokenError
   */
  token(): Promise<string>

  /**
   * The global `fetch` with `Authorization: Bearer` (RFC 6750 §2.1), in place of a header `Authorization` of the caller's. When the
   * service answers 401 and its challenge says that the token was not good, the token is given up and the call made
   * once more with a new one, if its body can be sent again (a stream cannot, nor a Request that has a body); whatever comes
   * then is the answer. A redirect to another origin does not take the token along.
   * @throws TypeError when the URL is not at one of the origins that the token may go to
   * @throws TokenError when there is no token; the reason of the caller's signal, when that is aborted
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>

  /** Ends what is under way; whoever waits for a token and whoever asks for one later gets a TokenError. */
  close(): void
}

/** Milliseconds for one request to the issuer, and bytes of its answer. */
const REQUEST_TIMEOUT = 5000
const MAX_BYTES = 65_536
/** Seconds for which a token is taken to be good that comes without `expires_in` (RFC 6749 §5.1), and for which any is. */
const UNKNOWN_LIFETIME = 60
const LONGEST_LIFETIME = 86_400
/** RFC 6750 §2.1. */
const TOKEN = /^[\w.~+/-]+=*$/

/** RFC 6749 §5.1. @throws UpstreamError */
function readGrant(body: unknown): Grant {
  const {
    access_token: token,
    token_type: type,
    expires_in: lifetime = UNKNOWN_LIFETIME
  } = (body ?? {}) as Record<string, unknown>
  const refuse = (problem: string) => new UpstreamError(`the answer ${problem}`, { status: 200 })
  if (typeof token !== 'string' || !TOKEN.test(token)) throw refuse('has no access_token that can be sent')
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') throw refuse('has a token_type other than Bearer')
  if (typeof lifetime !== 'number' || !(lifetime >= 1)) throw refuse('has an expires_in that is no time')
  return { token, lifetime: Math.min(lifetime, LONGEST_LIFETIME) }
}

const isRequest = (input: string | URL | Request): input is Request => typeof input === 'object' && 'url' in input

function isRepeatable(input: string | URL | Request, body: unknown): boolean {
  if (body === undefined || body === null) return !isRequest(input) || input.body === null
  const kinds = [URLSearchParams, ArrayBuffer, Blob, FormData]
  return typeof body === 'string' || ArrayBuffer.isView(body) || kinds.some((kind) => body instanceof kind)
}

/** @throws TypeError */
function parseOrigins({ origins, resource }: Pick<TokenClientOptions, 'origins' | 'resource'>): string[] | null {
  for (const origin of origins ?? [])
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new TypeError('origins must be origins, like https://orders.example.com')
  if (origins !== undefined) return origins
  return resource !== undefined && /^https?:/i.test(resource) ? [new URL(resource).origin] : null
}

/**
 * Tokens for a service that calls others in its own name, and a `fetch` that sends them. Nothing is asked for before the first
 * call. It is meant to be made once for each service that is called, and kept.
 * @throws TypeError for options that cannot be used
 */
export function createTokenClient(options: TokenClientOptions): TokenClient {
  const { issuer, clientId, scope, resource, timeout = 10_000, fetch = globalThis.fetch, clock } = options
  if (!(timeout > 0 && timeout < 2 ** 31)) throw new TypeError('timeout must be a number of milliseconds')
  const metadata = createMetadata({ issuer, fetch })
  const authentication = createAuthentication({ ...options, clock: clock ?? systemClock })
  const origins = parseOrigins(options)
  const wanted = {
    grant_type: 'client_credentials',
    ...(scope === undefined ? {} : { scope }),
    ...(resource === undefined ? {} : { resource })
  }

  async function ask(signal: AbortSignal): Promise<Grant> {
    try {
      const { tokenEndpoint } = await metadata.get()
      const { headers, form } = authentication()
      const { body } = await requestJson(fetch, tokenEndpoint, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ ...wanted, ...form }).toString(),
        timeout: REQUEST_TIMEOUT,
        maxBytes: MAX_BYTES,
        signal
      })
      return readGrant(body)
    } catch (cause) {
      const { message, status, retryAfter, body } = cause as UpstreamError
      const { error } = (body ?? {}) as { error?: unknown }
      const code = typeof error === 'string' && /^[a-z][a-z_]{1,40}$/.test(error) ? error : null
      throw new TokenError(`no token for ${clientId} from ${issuer}: ${code ?? message}`, {
        error: code,
        status,
        retryAfter,
        cause
      })
    }
  }
  const tokens = createTokens({ ask, clock: clock ?? { now: () => performance.now() }, timeout })

  return {
    token: () => tokens.get(),
    close: () => tokens.close(),

    async fetch(input, init) {
      const { origin } = new URL(isRequest(input) ? input.url : input)
      if (origins !== null && !origins.includes(origin))
        throw new TypeError(`the token is not for ${origin}: name it in origins if it may go there`)
      const signal = init?.signal ?? (isRequest(input) ? input.signal : null)
      const repeatable = isRepeatable(input, init?.body)

      const call = (token: string): Promise<Response> => {
        const headers = new Headers(init?.headers ?? (isRequest(input) ? input.headers : {}))
        headers.set('authorization', `Bearer ${token}`)
        return fetch(input, { ...init, headers })
      }
      const token = await tokens.get(signal)
      const response = await call(token)
      // What another origin says, to which it was redirected without the token, says nothing of the token.
      const own = response.url === '' || new URL(response.url).origin === origin
      if (response.status !== 401 || !own || !refusesToken(response.headers.get('www-authenticate') ?? ''))
        return response
      tokens.drop(token)
      if (!repeatable) return response
      await response.body?.cancel().catch(() => {})
      return call(await tokens.get(signal))
    }
  }
}
