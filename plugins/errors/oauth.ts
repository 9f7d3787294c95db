import type { Shape } from './failure.ts'

const OAUTH_ERROR = {
  $id: 'OAuthError',
  description: 'An error, RFC 6749 §5.2',
  type: 'object',
  required: ['error', 'error_description'],
  properties: {
    error: {
      type: 'string',
      description: 'A code of RFC 6749 §5.2 or RFC 8707 §2; with 429 and 5xx a code of RFC 6749 §4.1.2.1'
    },
    error_description: { type: 'string', description: 'The reason' }
  }
}

/** The format of errors of the OAuth endpoints (RFC 6749 §5.2). */
export const oauth: Shape = {
  mediaType: 'application/json',
  accepts: 'application/x-www-form-urlencoded',
  schema: OAUTH_ERROR,
  body: ({ code, detail }) => ({ error: code, error_description: detail })
}
