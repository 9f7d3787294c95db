/** Why there is no token. Neither the message nor anything that a log shows of it holds a secret. */
export class TokenError extends Error {
  /** The issuer's word for it (RFC 6749 §5.2), like `invalid_client`; null when it gave none. */
  readonly error: string | null
  /** The HTTP status of the issuer's answer; null when there was none. */
  readonly status: number | null
  /** Seconds after which one may ask again, if the issuer said so. */
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
