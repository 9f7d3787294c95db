import { postForm } from '../guard/client-request.ts'
import type { Authenticate } from '../guard/credentials.ts'
import { type Fetch, UpstreamError } from '../guard/http.ts'
import type { createMetadata } from '../guard/metadata.ts'
import type { Timer } from '../guard/timer.ts'
import { TOKEN_RESPONSE_BYTES_MAX } from '../limits.ts'
import { printableLine } from '../printable.ts'
import { TokenError } from './errors.ts'
import type { IssuedToken } from './token-cache.ts'

/** Maximum milliseconds of one request to the issuer. */
const REQUEST_TIMEOUT = 5000
/** Lifetime of a token in seconds: `default` without `expires_in` (RFC 6749 §5.1), `max` for a longer `expires_in`. */
const LIFETIME = { default: 60, max: 86_400 }
/** Number of UTF-16 units of the issuer's description of an error. */
const DESCRIPTION_MAX = 300
/** The syntax of a token (RFC 6750 §2.1). */
const TOKEN = /^[\w.~+/-]+=*$/

/** The client that requests tokens. */
interface Requester {
  issuer: string
  clientId: string
  clientSecret?: string | undefined
}

/** A valid token response: the access token, the other tokens, and the granted scopes. */
export interface TokenResponse {
  issued: IssuedToken
  refreshToken: string | null
  idToken: string | null
  /** The granted scopes; null when they are the requested ones. */
  scope: string | null
}

/** Reads a token response (RFC 6749 §5.1, OpenID Connect Core 1.0 §3.1.3.3). @throws UpstreamError */
function readResponse(body: unknown): TokenResponse {
  const members = (body ?? {}) as Record<string, unknown>
  const { access_token: token, token_type: type, expires_in: lifetime = LIFETIME.default } = members
  const invalid = (problem: string) => new UpstreamError(`the response ${problem}`, { status: 200 })
  if (typeof token !== 'string' || !TOKEN.test(token)) throw invalid('has no valid access_token')
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') throw invalid('has a token_type other than Bearer')
  if (typeof lifetime !== 'number' || !(lifetime >= 1))
    throw invalid('has an expires_in that is not a number of at least 1')
  const optional = (name: string): string | null => {
    const value = members[name]
    if (value === undefined) return null
    if (typeof value !== 'string') throw invalid(`has a ${name} that is not a text`)
    return value
  }
  return {
    issued: { token, lifetime: Math.min(lifetime, LIFETIME.max) },
    refreshToken: optional('refresh_token'),
    idToken: optional('id_token'),
    scope: optional('scope')
  }
}

/** Returns whether a value is a text that cannot hold the credentials that were sent: neither the secret nor a long word. */
const isDescription = (value: unknown, secret: string | undefined): value is string =>
  typeof value === 'string' && !(secret !== undefined && value.includes(secret)) && !/[^\s]{64}/.test(value)

/**
 * Creates the error of a client that gets no token.
 * @param failure `fields` are those of an error response (RFC 6749 §4.1.2.1, §5.2); `message` is the reason when there are none
 */
export function tokenError(
  { issuer, clientId, clientSecret }: Requester,
  failure: { message: string; fields?: unknown; status?: number | null; retryAfter?: number | null; cause?: unknown }
): TokenError {
  const { message, fields, ...others } = failure
  const { error, error_description: text } = (fields ?? {}) as Record<string, unknown>
  const code = typeof error === 'string' && /^[a-z][a-z_]{1,40}$/.test(error) ? error : null
  const description = code !== null && isDescription(text, clientSecret) ? text.slice(0, DESCRIPTION_MAX) : null
  const reason = [
    `no token for ${clientId} from ${issuer}`,
    code ?? message,
    ...(description === null ? [] : [description])
  ]
  return new TokenError(printableLine(reason.join(': ')), { ...others, error: code, description })
}

/** Returns a function that sends one form to the token endpoint. The function throws TokenError. */
export function createTokenRequest(
  deps: Requester & {
    metadata: ReturnType<typeof createMetadata>
    authenticate: Authenticate
    fetch: Fetch
    timer: Timer
  }
) {
  const { metadata, authenticate, fetch, timer } = deps
  return async (form: Record<string, string>, signal: AbortSignal): Promise<TokenResponse> => {
    try {
      const { tokenEndpoint } = await metadata.get()
      const limits = { timeout: REQUEST_TIMEOUT, timer, maxBytes: TOKEN_RESPONSE_BYTES_MAX, signal }
      const { body } = await postForm(fetch, tokenEndpoint, { form, authenticate, ...limits })
      return readResponse(body)
    } catch (cause) {
      const { message, status, retryAfter, body: fields } = cause as UpstreamError
      throw tokenError(deps, { message, status, retryAfter, fields, cause })
    }
  }
}
