/** The error codes of RFC 6749 §5.2, RFC 6750 §3.1 and RFC 8707 §2 that this service answers with. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'

/**
 * A refusal in the protocol's own words. `message` is sent as `error_description`, so it holds only the characters
 * %x20-21 / %x23-5B / %x5D-7E (RFC 6749 §5.2) and never repeats what the caller sent.
 */
export class OAuthError extends Error {
  readonly code: OAuthErrorCode

  constructor(code: OAuthErrorCode, description: string) {
    super(description)
    this.name = 'OAuthError'
    this.code = code
  }
}

/** RFC 6749 §5.2: the same for an unknown client, a wrong secret and none. */
export const clientRefused = (): OAuthError => new OAuthError('invalid_client', 'Client authentication failed')

export type DomainErrorCode = 'invalid' | 'forbidden' | 'not_found' | 'conflict' | 'throttled' | 'unavailable'

/** A refusal that no RFC has a word for. `message` is sent to the caller. */
export class DomainError extends Error {
  readonly code: DomainErrorCode
  /** Seconds after which the same request can succeed; with `throttled` and `unavailable`. */
  readonly retryAfter: number | undefined

  constructor(code: DomainErrorCode, message: string, options: { retryAfter?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.name = 'DomainError'
    this.code = code
    this.retryAfter = options.retryAfter
  }
}

/** A state of the installation that only its operator can mend. `message` is one line that names what helps. */
export class SetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SetupError'
  }
}
