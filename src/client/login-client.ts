import { createHash, randomBytes } from 'node:crypto'
import { isAbsoluteUri } from '../absolute-uri.ts'
import { createMetadata } from '../guard/metadata.ts'
import { type Timer, untilAborted } from '../guard/timer.ts'
import { type Clock, systemClock } from '../token/clock.ts'
import { TokenError } from './errors.ts'
import { openLoopback } from './loopback.ts'
import { createTokenCache, type IssuedToken } from './token-cache.ts'
import { createTokenRequest, type TokenResponse, tokenError } from './token-request.ts'

export interface LoginClientOptions {
  /** An https URL without a trailing slash (http on a loopback host, or with `insecureHttp`). */
  issuer: string
  /** Whether an `issuer` with plain http may be on another host than loopback. Everyone on the network can then read tokens. Default: false. */
  insecureHttp?: boolean
  /** A public client with `application_type: native` and the redirect URI `http://127.0.0.1/callback`. */
  clientId: string
  /** Shows the sign-in page: opens this URL in the user's browser. */
  open: (url: string) => unknown
  /** The scopes to request, separated by spaces. Default: the default scopes of the client. */
  scope?: string
  /** The identifier of the service that the tokens are for (RFC 8707). */
  resource?: string
  /** Maximum milliseconds that the user has for the sign-in. Default: 300,000. */
  timeout?: number
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch
  /** Replaces the clock that measures the age of tokens. */
  clock?: Clock
}

/** The latest tokens of a login. */
export interface Tokens {
  readonly accessToken: string
  /** Seconds from the token's issue to its expiry. */
  readonly expiresIn: number
  /** Null when the client may not use the grant `refresh_token`. */
  readonly refreshToken: string | null
  /** The ID token of the sign-in, with verified `iss`, `aud`, `exp` and `nonce`; null without the scope `openid`. */
  readonly idToken: string | null
  /** The granted scopes, separated by spaces. */
  readonly scope: string
}

export interface Login {
  readonly tokens: Tokens
  /**
   * Returns a valid access token. Renews it with the refresh token, early and in the background; concurrent calls share one request.
   * Retries temporary failures for up to 10 s.
   * @throws TokenError; its `error` is `invalid_grant` when the session has ended and the user must sign in again
   */
  getToken(): Promise<string>
  /** Aborts the current renewal. Every later call of `getToken` throws a TokenError. Does not end the session at the issuer. */
  close(): void
}

export interface LoginClient {
  /**
   * Signs a user in, in the user's browser (RFC 8252): authorization code with PKCE, and a redirect to a free port of 127.0.0.1.
   * @throws TokenError when the user or the issuer refuses, or after `timeout`; the reason of `signal` when that aborts
   */
  login(signal?: AbortSignal): Promise<Login>
}

/** Milliseconds that a call of `getToken` waits at most. */
const RENEWAL_TIMEOUT = 10_000

const random = (): string => randomBytes(32).toString('base64url')

/**
 * Checks the claims of an ID token that came from the token endpoint, where TLS replaces the check of the signature (OpenID Connect
 * Core 1.0 §3.1.3.7). Returns what is wrong, or null.
 */
function faultOfIdToken(
  idToken: string,
  expected: { issuer: string; clientId: string; nonce: string; now: number }
): string | null {
  let claims: Record<string, unknown>
  try {
    claims = JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString())
  } catch {
    return 'is not a JWT'
  }
  const { iss, aud, exp, nonce } = claims ?? {}
  if (iss !== expected.issuer) return 'is of another issuer'
  const audiences = [aud].flat()
  if (audiences.length !== 1 || audiences[0] !== expected.clientId) return 'is for another client'
  if (typeof exp !== 'number' || exp * 1000 <= expected.now) return 'has expired'
  return nonce === expected.nonce ? null : 'belongs to another sign-in'
}

/** Creates a login client. @param timer measures time limits and, without `clock`, the age of a token */
export function createLogins(options: LoginClientOptions, timer: Timer): LoginClient {
  const { issuer, insecureHttp, clientId, open, scope, resource, clock } = options
  const { timeout = 300_000, fetch = globalThis.fetch } = options
  if (typeof clientId !== 'string' || clientId === '') throw new TypeError('clientId must be the id of the client')
  if (typeof open !== 'function') throw new TypeError('open must be a function that opens a URL in a browser')
  if (!(timeout > 0 && timeout < 2 ** 31))
    throw new TypeError('timeout must be a number of milliseconds from 1 to 2147483647')
  if (resource !== undefined && !isAbsoluteUri(resource))
    throw new TypeError('resource must be an absolute URI without fragment, for example https://orders.example.com')
  const metadata = createMetadata({ issuer, insecureHttp, fetch, timer })
  const authenticate = () => ({ headers: {}, form: { client_id: clientId } })
  const requestTokens = createTokenRequest({ issuer, clientId, metadata, authenticate, fetch, timer })
  const forResource: Record<string, string> = resource === undefined ? {} : { resource }
  const refused = (message: string, cause?: unknown) => tokenError({ issuer, clientId }, { message, cause })

  /** Sends the user to the issuer and returns the code of the response. @throws TokenError */
  async function requestCode(request: Record<string, string>, signal: AbortSignal) {
    const endpoint = await metadata
      .endpoint('authorizationEndpoint')
      .catch((cause: Error) => Promise.reject(refused(cause.message, cause)))
    const state = random()
    const loopback = await openLoopback(state)
    const { redirectUri } = loopback
    try {
      const url = new URL(endpoint)
      const params = { response_type: 'code', client_id: clientId, redirect_uri: redirectUri, state, ...request }
      for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
      signal.throwIfAborted()
      // Calls `open` after `untilAborted`, which would miss an abort by `open`. The response may arrive before `open` returns.
      const opened = Promise.resolve(url.href)
        .then(open)
        .then(
          () => loopback.response,
          (cause: unknown) => Promise.reject(refused('the browser could not be opened', cause))
        )
      const response = await untilAborted(Promise.race([loopback.response, opened]), signal)
      // RFC 9207 §2.4
      if (response.getAll('iss').join() !== issuer) throw refused('the authorization response is of another issuer')
      const fields = Object.fromEntries(response)
      if (fields.error !== undefined)
        throw tokenError({ issuer, clientId }, { message: 'the authorization was refused', fields })
      const [code, ...more] = response.getAll('code')
      if (code === undefined || more.length > 0) throw refused('the authorization response has no code')
      return { code, redirectUri }
    } finally {
      loopback.close()
    }
  }

  /** Returns the login of a token response. */
  function createLogin(first: TokenResponse): Login {
    let latest = first
    let isFirst = true

    async function request(signal: AbortSignal): Promise<IssuedToken> {
      if (isFirst) {
        isFirst = false
        return first.issued
      }
      const { refreshToken } = latest
      if (refreshToken === null)
        throw new TokenError(`the access token has expired and ${clientId} got no refresh token: sign in again`, {
          error: 'invalid_grant'
        })
      const form = { grant_type: 'refresh_token', refresh_token: refreshToken, ...forResource }
      const renewed = await requestTokens(form, signal)
      latest = {
        ...renewed,
        refreshToken: renewed.refreshToken ?? refreshToken,
        idToken: renewed.idToken ?? latest.idToken,
        scope: renewed.scope ?? latest.scope
      }
      return renewed.issued
    }
    const cache = createTokenCache({
      request,
      now: clock === undefined ? timer.elapsed : () => clock.now(),
      timer,
      timeout: RENEWAL_TIMEOUT
    })

    return {
      get tokens() {
        const { issued, refreshToken, idToken, scope: granted } = latest
        const { token: accessToken, lifetime: expiresIn } = issued
        return { accessToken, expiresIn, refreshToken, idToken, scope: granted ?? scope ?? '' }
      },
      getToken: () => cache.get(),
      close: () => cache.close()
    }
  }

  async function login(signal: AbortSignal): Promise<Login> {
    const [verifier, nonce] = [random(), random()]
    const challenge = createHash('sha256').update(verifier).digest('base64url')
    const { code, redirectUri } = await requestCode(
      {
        ...(scope === undefined ? {} : { scope }),
        nonce,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        ...forResource
      },
      signal
    )
    const form = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier }
    const response = await requestTokens({ ...form, ...forResource }, signal)
    const now = (clock ?? systemClock).now()
    const fault = response.idToken === null ? null : faultOfIdToken(response.idToken, { issuer, clientId, nonce, now })
    if (fault !== null) throw refused(`the ID token ${fault}`)
    const created = createLogin(response)
    // Takes the first token into the cache, so that its age counts from now.
    await created.getToken()
    return created
  }

  return {
    async login(signal) {
      signal?.throwIfAborted()
      const timedOut = new AbortController()
      const finished = new AbortController()
      timer.sleep(timeout, finished.signal).then(
        () => timedOut.abort(refused(`nobody signed in within ${timeout / 1000} s`)),
        () => {}
      )
      const stop = AbortSignal.any([timedOut.signal, ...(signal === undefined ? [] : [signal])])
      try {
        return await login(stop)
      } catch (error) {
        throw stop.aborted ? stop.reason : error
      } finally {
        finished.abort()
      }
    }
  }
}
