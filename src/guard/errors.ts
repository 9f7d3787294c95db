/** Refusals of a protected resource, RFC 6750 §3.1; without a code when the request held no token at all. */
export type AccessErrorCode = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

const STATUS = { invalid_request: 400, invalid_token: 401, insufficient_scope: 403 }

/** A caller that is not let in. `message` is sent; `challenge` is the value of `WWW-Authenticate`. */
export class AccessError extends Error {
  readonly status: number
  readonly challenge: string

  /** @param scopes those that the request needs, when it is scopes that are missing */
  constructor(code: AccessErrorCode | null, message: string, scopes: string[] = []) {
    super(message)
    this.name = 'AccessError'
    this.status = code === null ? 401 : STATUS[code]
    const params = ['realm="latchkey"']
    if (code !== null) params.push(`error="${code}"`, `error_description="${message}"`)
    if (scopes.length > 0) params.push(`scope="${scopes.join(' ')}"`)
    this.challenge = `Bearer ${params.join(', ')}`
  }
}
