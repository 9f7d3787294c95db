import type { AuthorizationRequest } from './ports/authorizations.ts'

/** The error codes of RFC 6749 §4.1.2.1, RFC 8707 §2 and OpenID Connect Core 1.0 §3.1.2.6 that this service sends. */
export type AuthorizationErrorCode =
  | 'invalid_request'
  | 'unauthorized_client'
  | 'access_denied'
  | 'unsupported_response_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'temporarily_unavailable'
  | 'server_error'
  | 'login_required'
  | 'consent_required'
  | 'request_not_supported'
  | 'request_uri_not_supported'
  | 'registration_not_supported'

/** Where a response to an authorization request goes, and how. */
export type ReturnAddress = Pick<AuthorizationRequest, 'redirectUri' | 'responseMode' | 'state'>

/** A response to an authorization request: the browser takes it to the client. */
export type AuthorizationResponse = { returnAddress: ReturnAddress } & (
  | { code: string }
  | { error: AuthorizationErrorCode; description: string }
)

/** A refusal that the client gets. `message` has only the characters that RFC 6749 §4.1.2.1 allows, and repeats no input. */
export class AuthorizationError extends Error {
  readonly code: AuthorizationErrorCode
  readonly returnAddress: ReturnAddress

  constructor(code: AuthorizationErrorCode, description: string, returnAddress: ReturnAddress) {
    super(description)
    this.name = 'AuthorizationError'
    this.code = code
    this.returnAddress = returnAddress
  }

  /** The response that the client gets. */
  get response(): AuthorizationResponse {
    return { returnAddress: this.returnAddress, error: this.code, description: this.message }
  }
}

/**
 * Why a request of a browser was refused without a response to a client. The page for it has a text for each. `cookies_off`: a form came without the cookie of
 * its page; `form_over`: its token belongs to another cookie; `cross_site`: it was sent by a page of another site.
 */
export type NoReturnReason =
  | 'client_missing'
  | 'client_unknown'
  | 'redirect_uri_missing'
  | 'redirect_uri_unknown'
  | 'attempt_over'
  | 'cookies_off'
  | 'form_over'
  | 'cross_site'

/**
 * A refusal that only the user may see, because the client or its redirect URI is not known to be correct (RFC 6749 §4.1.2.1): never a
 * redirect.
 */
export class NoReturn extends Error {
  readonly reason: NoReturnReason

  /** @param why a text for the log, in place of the reason; what a stranger has chosen is quoted in it */
  constructor(reason: NoReturnReason, why: string = reason) {
    super(`The request of a browser was refused: ${why}`)
    this.name = 'NoReturn'
    this.reason = reason
  }
}
