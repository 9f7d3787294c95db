/** The client could not get an access token. Neither the message nor anything that a logger shows holds a secret. */
export class TokenError extends Error {
  /** The error code of the issuer (RFC 6749 §5.2), for example `invalid_client`; null without one. */
  readonly error: string | null
  /** The HTTP status of the issuer's response; null without a response. */
  readonly status: number | null
  /** Seconds from the issuer's `Retry-After`; null without one. */
  readonly retryAfter: number | null

  constructor(
    message: string,
    options: { error?: string | null; status?: number | null; retryAfter?: number | null; cause?: unknown } = {}
  ) {
    const { error = null, status = null, retryAfter = null, cause } = options
    super(message, cause === undefined ? {} : { cause })
    this.name = 'TokenError'
    this.error = error
    this.status = status
    this.retryAfter = retryAfter
  }
}
