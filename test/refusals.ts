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
  /** The response to a valid token without the required rights. @param scope the required scopes, when one is missing */
  forbidden: (scope?: string): Answer =>
    refusal(
      403,
      'Forbidden',
      'Not enough permissions',
      `, error="insufficient_scope", error_description="Not enough permissions"${scope === undefined ? '' : `, scope="${scope}"`}`
    )
})
