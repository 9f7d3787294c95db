import { AUDIENCE } from '../fake-issuer.ts'
import { type Answer, refusalsOf } from '../refusals.ts'

/** The response of the guard of `AUDIENCE` in a service without an error handler. */
function refusal(status: number, error: string, message: string, challenge: string): Answer {
  const metadata = `resource_metadata="${AUDIENCE}/.well-known/oauth-protected-resource"`
  return {
    status,
    challenge: `Bearer realm="latchkey"${challenge}, ${metadata}`,
    type: 'application/json; charset=utf-8',
    cache: 'no-store',
    body: { statusCode: status, error, message }
  }
}

/** The response while the token cannot be verified. */
export const unavailable = (message: string): Answer => ({
  ...refusal(503, 'Service Unavailable', message, ''),
  challenge: undefined
})

export const { INVALID_TOKEN, NOT_A_USER, NOT_AUTHENTICATED, forbidden } = refusalsOf(refusal)
export const TWO_HEADERS = refusal(
  400,
  'Bad Request',
  'The request has more than one Authorization header',
  ', error="invalid_request", error_description="The request has more than one Authorization header"'
)
