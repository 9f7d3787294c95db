/** The client could not get an access token. Neither the message nor anything that a logger shows holds a secret. */
export class TokenError extends Error {
  /** The error code of the issuer (RFC 6749 §5.2), for example `invalid_client`; null without one. */
  readonly error: string | null
  /** The issuer's reason for the developer (`error_description`), at most 300 characters; null without one. The message holds it too. */
  readonly description: string | null
  /** The HTTP status of the issuer's response; null without a response. */
  readonly status: number | null
  /** Seconds from the issuer's `Retry-After`; null without one. */
  readonly retryAfter: number | null

  constructor(
    message: string,
    options: {
      error?: string | null
      description?: string | null
      status?: number | null
      retryAfter?: number | null
      cause?: unknown
    } = {}
  ) {
    const { error = null, description = null, status = null, retryAfter = null, cause } = options
    super(message, cause === undefined ? {} : { cause })
    this.name = 'TokenError'
    this.error = error
    this.description = description
    this.status = status
    this.retryAfter = retryAfter
  }
}
