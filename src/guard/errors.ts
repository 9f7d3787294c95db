/** Refusals of a protected resource, RFC 6750 §3.1; without a code when the request held no token at all. */
export type AccessErrorCode = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

const STATUS = { invalid_request: 400, invalid_token: 401, insufficient_scope: 403 }

/** A caller that is not let in. `message` is sent; status and headers are those that Fastify takes from an error. */
export class AccessError extends Error {
  readonly statusCode: number
  readonly headers: { 'www-authenticate': string }

  /** @param scopes those that the request needs, when it is scopes that are missing */
  constructor(code: AccessErrorCode | null, message: string, scopes: string[] = []) {
    super(message)
    this.name = 'AccessError'
    // It is the caller's doing, so where it was thrown tells nobody anything, at every request in the log.
    this.stack = `AccessError: ${message}`
    this.statusCode = code === null ? 401 : STATUS[code]
    const params = ['realm="latchkey"']
    if (code !== null) params.push(`error="${code}"`, `error_description="${message}"`)
    if (scopes.length > 0) params.push(`scope="${scopes.join(' ')}"`)
    this.headers = { 'www-authenticate': `Bearer ${params.join(', ')}` }
  }
}

/** The token could not be judged: a failure of ours and not of the caller. Its status and headers are those that Fastify takes from an error. */
export class UnavailableError extends Error {
  readonly statusCode = 503
  readonly headers = { 'retry-after': '1' }

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'UnavailableError'
    this.stack = `UnavailableError: ${message}`
  }
}
