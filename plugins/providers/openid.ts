import * as openid from 'openid-client'
import type { Millis } from '../../src/domain/model.ts'
import {
  type Identity,
  type OpenIdProvider,
  type OpenIdRegistration,
  ProviderError
} from '../../src/domain/ports/providers.ts'
import { PROVIDER_RESPONSE_BYTES } from '../../src/limits.ts'
import { isLoopback } from '../../src/loopback.ts'
import { ResponseTooLong, type SendOutgoing } from '../../src/outgoing.ts'
import type { Clock } from '../../src/token/clock.ts'

/** How long the metadata of a provider is used before it is read again. */
const METADATA_MS = 3_600_000
/** OpenID Connect Core 1.0 §2: at most 255 ASCII characters. */
const SUBJECT = /^[\x20-\x7e]{1,255}$/
/** The accepted difference between the clocks of the provider and of this service, in seconds. */
const SKEW = 60
/** An ID token is issued when the code is redeemed, so an old one is not for this sign-in. In seconds. */
const AGE_MAX = 600
/** Statuses whose responses have no body. */
const BODILESS = [204, 205, 304]
/** RFC 6749 §4.1.2.1, §5.2: errors of a provider that may go away. */
const TEMPORARY = ['temporarily_unavailable', 'server_error']

/** Returns a function like `fetch` for openid-client, with the limits of this service. It throws ProviderErrors only. */
const boundedFetch =
  (send: SendOutgoing, responseMs: Millis): openid.CustomFetch =>
  async (url, { method, headers, body }) => {
    const deadline = AbortSignal.timeout(responseMs)
    const response = await send(new URL(url), {
      method,
      headers: Object.fromEntries(new Headers(headers)),
      body: body == null ? null : String(body),
      signal: deadline,
      maxBytes: PROVIDER_RESPONSE_BYTES
    }).catch((cause: Error & { code?: string }) => {
      if (cause instanceof ResponseTooLong) throw new ProviderError('invalid', cause.message, { cause })
      const reason = deadline.aborted ? `no response within ${responseMs} ms` : cause.message || cause.code
      throw new ProviderError('unavailable', `${new URL(url).origin}: ${reason}`, { cause })
    })
    const { status } = response
    if (status >= 500) throw new ProviderError('unavailable', `the status of a response is ${status}`)
    // The class Response refuses these statuses.
    if (status < 200) throw new ProviderError('invalid', `the status of a response is ${status}`)
    return new Response(BODILESS.includes(status) ? null : new Uint8Array(response.body), {
      status,
      headers: { 'content-type': response.headers['content-type'] ?? '' }
    })
  }

/** Returns the failure of a sign-in for an error of openid-client, which hides the errors of `boundedFetch` in its causes. */
function toFailure(error: unknown): ProviderError {
  const messages: string[] = []
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof ProviderError) return each
    messages.push(each.message)
  }
  const options = { cause: error }
  if (!(error instanceof openid.AuthorizationResponseError || error instanceof openid.ResponseBodyError))
    return new ProviderError('invalid', messages.join(': '), options)
  const { error: code, error_description: description = '' } = error
  const message = `the provider responded with ${code} ${description}`.trim()
  if (code === 'access_denied') return new ProviderError('cancelled', message, options)
  return new ProviderError(TEMPORARY.includes(code) ? 'unavailable' : 'refused', message, options)
}

/** Authenticates with a secret in the way that the provider supports, by default in the header (OpenID Connect Discovery 1.0 §3). */
const bySecret =
  (secret: string): openid.ClientAuth =>
  (metadata, client, body, headers) => {
    const isForm = metadata.token_endpoint_auth_methods_supported?.includes('client_secret_basic') === false
    const authenticate = isForm ? openid.ClientSecretPost(secret) : openid.ClientSecretBasic(secret)
    authenticate(metadata, client, body, headers)
  }

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)

/** Signs users in at OpenID providers with openid-client. */
export function createOpenIdProvider({
  send,
  clock,
  responseMs
}: {
  send: SendOutgoing
  clock: Clock
  /** The time that the provider may take for one response. */
  responseMs: Millis
}): OpenIdProvider {
  const known = new Map<string, { version: number; until: number; configuration: Promise<openid.Configuration> }>()

  async function discover({ issuer, clientId, clientSecret }: OpenIdRegistration): Promise<openid.Configuration> {
    const url = new URL(issuer)
    return openid.discovery(
      url,
      clientId,
      { [openid.clockTolerance]: SKEW },
      clientSecret === null ? openid.None() : bySecret(clientSecret),
      {
        [openid.customFetch]: boundedFetch(send, responseMs),
        execute: [
          // Without it the signature is not verified, because the connection shows who has sent the token.
          openid.enableNonRepudiationChecks,
          ...(isLoopback(url.hostname) ? [openid.allowInsecureRequests] : [])
        ]
      }
    )
  }

  /** Returns the metadata and keys of a provider. A failure is not kept. */
  function configurationOf(registration: OpenIdRegistration): Promise<openid.Configuration> {
    const { id, version } = registration
    const found = known.get(id)
    if (found !== undefined && found.version === version && clock.now() < found.until) return found.configuration
    const configuration = discover(registration)
    const entry = { version, until: clock.now() + METADATA_MS, configuration }
    known.set(id, entry)
    configuration.catch(() => {
      if (known.get(id) === entry) known.delete(id)
    })
    return configuration
  }

  /** Checks what openid-client leaves to its callers (OpenID Connect Core 1.0 §2, §3.1.3.7). @throws ProviderError */
  function assertClaims({ sub, iat, aud, azp }: openid.IDToken, clientId: string): void {
    const invalid = (message: string) => new ProviderError('invalid', message)
    const now = clock.now() / 1000
    if (iat > now + SKEW || iat < now - AGE_MAX)
      throw invalid(`the ID token was issued at ${iat}, it is ${Math.floor(now)}`)
    if (azp === undefined ? [aud].flat().length > 1 : azp !== clientId)
      throw invalid(`the ID token is for ${[aud].flat().join(', ')}, and its azp is ${azp}`)
    if (!SUBJECT.test(sub)) throw invalid('the sub of the ID token is empty, longer than 255 characters or not ASCII')
  }

  /** Returns the claims of the user: those of the ID token, else of the UserInfo endpoint. */
  async function claimsOf(
    configuration: openid.Configuration,
    tokens: openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers
  ): Promise<Record<string, unknown>> {
    const claims = tokens.claims()
    if (claims === undefined) throw new ProviderError('invalid', 'the response has no ID token')
    assertClaims(claims, configuration.clientMetadata().client_id)
    const { sub } = claims
    if (claims.email !== undefined || configuration.serverMetadata().userinfo_endpoint === undefined) return claims
    return { ...(await openid.fetchUserInfo(configuration, tokens.access_token, sub)), ...claims }
  }

  return {
    async begin(registration, { state, nonce, codeVerifier, redirectUri }) {
      try {
        const configuration = await configurationOf(registration)
        const url = openid.buildAuthorizationUrl(configuration, {
          redirect_uri: redirectUri,
          scope: registration.scopes.join(' '),
          state,
          nonce,
          code_challenge: await openid.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256'
        })
        if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
          throw new ProviderError('invalid', `the authorization endpoint ${url.origin} is not https`)
        return url
      } catch (error) {
        throw toFailure(error)
      }
    },

    async finish(registration, { state, nonce, codeVerifier, redirectUri }, response): Promise<Identity> {
      try {
        const configuration = await configurationOf(registration)
        const tokens = await openid.authorizationCodeGrant(configuration, new URL(`${redirectUri}?${response}`), {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
          idTokenExpected: true
        })
        const claims = await claimsOf(configuration, tokens)
        return {
          issuer: String(claims.iss),
          subject: String(claims.sub),
          email: claims.email_verified === true ? textOf(claims.email) : null,
          fullName: textOf(claims.name),
          username: textOf(claims.preferred_username),
          claims
        }
      } catch (error) {
        throw toFailure(error)
      }
    }
  }
}
