/** How Latchkey is registered at an OpenID provider. */
export interface OpenIdRegistration {
  /** The id of the provider at Latchkey. */
  id: string
  /** Its issuer identifier (OpenID Connect Discovery 1.0 §3). */
  issuer: string
  clientId: string
  /** Null for a public client. */
  clientSecret: string | null
  /** Scopes of the authorization request, `openid` among them. */
  scopes: string[]
  /** Changes with every change of the registration. */
  version: number
}

/** The secrets of one sign-in, which the browser brings back. Each is used for one authorization request only. */
export interface ProviderAttempt {
  state: string
  nonce: string
  codeVerifier: string
  /** Differs for each provider, so that no provider can pass its response off as one of another (RFC 9700 §4.4). */
  redirectUri: string
}

/** The user as the provider describes them. Issuer and subject identify the user; nothing else does. */
export interface Identity {
  issuer: string
  /** At most 255 characters. */
  subject: string
  /** Null when the provider gives none, or does not say that it has verified it. */
  email: string | null
  fullName: string | null
  /** A name that the user could have at Latchkey. It is not checked. */
  username: string | null
  /** All claims. */
  claims: Record<string, unknown>
}

/**
 * Why a sign-in through a provider failed.
 * - `cancelled`: the user refused at the provider
 * - `unavailable`: the provider does not respond in time, or says that it cannot respond now
 * - `refused`: the provider refuses the request: the registration is wrong there or here
 * - `invalid`: the provider sent something that is not valid
 */
export type ProviderFailure = 'cancelled' | 'unavailable' | 'refused' | 'invalid'

/** A sign-in through a provider that failed. */
export class ProviderError extends Error {
  readonly failure: ProviderFailure

  /** @param message for the operator: what the provider did */
  constructor(failure: ProviderFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ProviderError'
    this.failure = failure
  }
}

/** Signs users in at an OpenID provider (OpenID Connect Core 1.0 §3.1). */
export interface OpenIdProvider {
  /** Returns the authorization request, where the browser of the user goes. @throws ProviderError */
  begin(registration: OpenIdRegistration, attempt: ProviderAttempt): Promise<URL>
  /**
   * Redeems the code of an authorization response, and returns who the user is.
   * @param response the parameters of the response
   * @throws ProviderError
   */
  finish(registration: OpenIdRegistration, attempt: ProviderAttempt, response: URLSearchParams): Promise<Identity>
}
