import type { FastifyRequest } from 'fastify'
import type { ClientCredentials } from '../../src/domain/client-authentication.ts'
import { clientRefused, OAuthError } from '../../src/domain/errors.ts'
import { BASIC_BYTES_MAX } from '../../src/limits.ts'

/** RFC 7523 §2.2. */
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

type SecretCredentials = Exclude<ClientCredentials, { method: 'private_key_jwt' }>

/**
 * Reads the client credentials of a request whose body is a form. Verifies nothing.
 * @returns null when the request names no client
 * @throws OAuthError invalid_request for more than one method (RFC 6749 §2.3) and for parameters that contradict each other;
 *   invalid_client for credentials that cannot be read
 */
export function readCredentials({ headers: { authorization }, body }: FastifyRequest): ClientCredentials | null {
  const form = (body ?? {}) as Record<string, string | undefined>
  const { client_id: id, client_secret: secret, client_assertion: assertion, client_assertion_type: type } = form
  const basic = authorization === undefined ? null : basicCredentials(authorization)
  const methods = [basic, secret, assertion ?? type].filter((each) => each !== null && each !== undefined)
  if (methods.length > 1) throw new OAuthError('invalid_request', 'The client authenticates by more than one method')
  if (basic !== null) {
    if (id !== undefined && !basic.ids.includes(id))
      throw new OAuthError('invalid_request', 'The client_id differs from the Authorization header')
    return basic
  }
  if (assertion !== undefined || type !== undefined) {
    if (assertion === undefined || type === undefined)
      throw new OAuthError('invalid_request', 'client_assertion and client_assertion_type must be sent together')
    if (type !== JWT_BEARER) throw clientRefused()
    return { method: 'private_key_jwt', assertion, id: id ?? null }
  }
  if (id === undefined) {
    if (secret !== undefined) throw clientRefused()
    return null
  }
  return secret === undefined
    ? { method: 'none', ids: [id], secret: null }
    : { method: 'client_secret_post', ids: [id], secret }
}

/** Reads Basic credentials (RFC 7617 §2). Returns null for `:`, which Swagger UI sends when its client fields are empty. */
function basicCredentials(header: string): SecretCredentials | null {
  if (header.length > BASIC_BYTES_MAX) throw clientRefused()
  const encoded = /^basic +([\w+/-]+=*)$/i.exec(header)?.[1]
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const ids = readings(text.slice(0, colon))
  if (colon === -1 || ids.some((id) => id.includes('\0'))) throw clientRefused()
  if (text === ':') return null
  // A secret holds no character that form-encoding changes, so only the decoded form is needed.
  const [secret] = readings(text.slice(colon + 1))
  return secret === '' ? { method: 'none', ids, secret: null } : { method: 'client_secret_basic', ids, secret }
}

/** Returns the possible values of one half of Basic credentials: form-decoded (RFC 6749 §2.3.1) and, if it differs, raw. */
function readings(half: string): [string, ...string[]] {
  try {
    const decoded = decodeURIComponent(half.replaceAll('+', ' '))
    return decoded === half ? [half] : [decoded, half]
  } catch {
    return [half]
  }
}
