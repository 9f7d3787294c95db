/** The parts of a response that a caller can rely on. */
export interface Answer {
  status: number
  challenge: string | undefined
  type: string | undefined
  cache: string | undefined
  body: unknown
}

/** Returns the refusals of a guard. @param refusal returns a refusal in the shape of the service; `challenge` is the end of its challenge */
export const refusalsOf = (refusal: (status: number, title: string, message: string, challenge: string) => Answer) => ({
  /** The response to every token that is not valid. */
  INVALID_TOKEN: refusal(
    401,
    'Unauthorized',
    'Could not validate credentials',
    ', error="invalid_token", error_description="Could not validate credentials"'
  ),
  /** The response to a request without a token. */
  NOT_AUTHENTICATED: refusal(401, 'Unauthorized', 'Not authenticated', ''),
  /** The response to a client's own token where a user's is required. */
  NOT_A_USER: refusal(
    403,
    'Forbidden',
    'The token is not a token of a user',
    ', error="insufficient_scope", error_description="The token is not a token of a user"'
  ),
  /** The response to a valid token that lacks a scope, a role or both. */
  forbidden({ scope, role }: { scope?: string; role?: string }): Answer {
    const missing = [
      ...(scope === undefined ? [] : [`the scope ${scope}`]),
      ...(role === undefined ? [] : [`the role ${role}`])
    ]
    const message = `The token lacks ${missing.join(' and ')}`
    const challenge = `, error="insufficient_scope", error_description="${message}"`
    return refusal(403, 'Forbidden', message, scope === undefined ? challenge : `${challenge}, scope="${scope}"`)
  }
})
