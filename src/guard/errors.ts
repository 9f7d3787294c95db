/** Error codes of a protected resource (RFC 6750 §3.1). */
export type AccessErrorCode = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

const STATUS = { invalid_request: 400, invalid_token: 401, insufficient_scope: 403 }

/** Returns a message with the characters that a challenge allows (RFC 6750 §3). */
const described = (message: string): string =>
  message
    .replaceAll('"', "'")
    .replaceAll('’', "'")
    .replace(/[^\x20-\x5b\x5d-\x7e]/g, '?')

/** The refusal of a request. The caller reads `message`. Fastify sends `statusCode` and `headers`. */
export class AccessError extends Error {
  readonly statusCode: number
  readonly headers: { 'www-authenticate': string }

  /**
   * @param code null when the request has no token (RFC 6750 §3.1)
   * @param scopes the scopes that the request needs, when one is missing
   */
  constructor(code: AccessErrorCode | null, message: string, scopes: string[] = []) {
    super(message)
    this.name = 'AccessError'
    // Omits the stack: every refusal would carry the same one.
    this.stack = `AccessError: ${message}`
    this.statusCode = code === null ? 401 : STATUS[code]
    const params = ['realm="latchkey"']
    if (code !== null) params.push(`error="${code}"`, `error_description="${described(message)}"`)
    if (scopes.length > 0) params.push(`scope="${scopes.join(' ')}"`)
    this.headers = { 'www-authenticate': `Bearer ${params.join(', ')}` }
  }
}

/** The token cannot be verified now, and the caller is not the cause. Fastify sends `statusCode` and `headers`. */
export class UnavailableError extends Error {
  readonly statusCode = 503
  readonly headers = { 'retry-after': '1' }

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'UnavailableError'
    this.stack = `UnavailableError: ${message}`
  }
}
