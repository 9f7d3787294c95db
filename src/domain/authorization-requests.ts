import { AUTHORIZATION_REQUEST_BYTES_MAX, AUTHORIZATION_RESOURCES_MAX, SCOPE_PARAMETER_MAX } from '../limits.ts'
import { quoted } from '../token/refusal.ts'
import {
  AuthorizationError,
  type AuthorizationErrorCode,
  NoReturn,
  type ReturnAddress
} from './authorization-errors.ts'
import type { Clients } from './clients.ts'
import { AUTHORIZATION_CODE_GRANT, type Client } from './model.ts'
import type { AuthorizationRequest, Prompt, ResponseMode } from './ports/authorizations.ts'
import { isRegistered } from './redirect-uris.ts'

/** The parameters of a request as they were sent, without empty ones. A repeated parameter is a list. */
export type AuthorizationParams = Record<string, string | string[] | undefined>

/** S256: the SHA-256 of the verifier in base64url (RFC 7636 §4.2). */
const CHALLENGE = /^[A-Za-z0-9_-]{43}$/
/** Parameters that this service refuses by their own error code (OpenID Connect Core 1.0 §3.1.2.6). */
const REFUSED: [string, AuthorizationErrorCode][] = [
  ['request', 'request_not_supported'],
  ['request_uri', 'request_uri_not_supported'],
  ['registration', 'registration_not_supported']
]

const [CLIENT_ID, REDIRECT_URI] = ['client_id', 'redirect_uri']
const PROMPTS: readonly Prompt[] = ['none', 'login', 'consent', 'select_account']
const RESPONSE_MODES: readonly ResponseMode[] = ['query', 'form_post']

const isOneOf = <T extends string>(values: readonly T[], text: string): text is T =>
  (values as readonly string[]).includes(text)

/** Returns a redirect URI for the log: quoted, and without credentials, query and fragment, which may hold a secret. */
const shown = (uri: string | string[]): string =>
  typeof uri === 'string'
    ? quoted(uri.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//'))
    : 'several redirect URIs at once'

/** Returns the bytes of the parameters in a query. */
const sizeOf = (params: AuthorizationParams): number =>
  Object.entries(params)
    .flatMap(([name, value]) => [value ?? []].flat().map((text) => name.length + encodeURIComponent(text).length + 2))
    .reduce((sum, size) => sum + size, 0)

/** Reads and checks authorization requests (RFC 6749 §4.1.1, RFC 7636, RFC 8707, OpenID Connect Core 1.0 §3.1.2.1). */
export function createAuthorizationRequests(deps: {
  clients: Clients
  /** Returns the user of an ID token of this service; null when it is not one. */
  userOfIdToken: (idToken: string) => Promise<string | null>
}) {
  const { clients, userOfIdToken } = deps

  /** @throws NoReturn when the request names no enabled client */
  async function clientOf(id: string | string[] | undefined): Promise<Client> {
    if (typeof id !== 'string') throw new NoReturn('client_missing')
    const client = await clients.enabled(id)
    if (client === null) throw new NoReturn('client_unknown')
    return client
  }

  /** @throws NoReturn when the request names no redirect URI of the client, or none and the client has several */
  function redirectUriOf(uri: string | string[] | undefined, client: Client): string {
    const [only, ...more] = client.redirectUris
    if (uri === undefined) {
      if (only === undefined || more.length > 0)
        throw new NoReturn(
          'redirect_uri_missing',
          `it has no redirect URI, and the client ${client.id} has not exactly one`
        )
      return only
    }
    if (typeof uri !== 'string' || !isRegistered(uri, client))
      throw new NoReturn('redirect_uri_unknown', `the client ${client.id} has not registered ${shown(uri)}`)
    return uri
  }

  return {
    /** The values of `prompt`. */
    prompts: [...PROMPTS],

    /**
     * Reads a request.
     * @throws NoReturn when client or redirect URI are not correct; AuthorizationError for every other fault, which the client gets
     */
    async read(params: AuthorizationParams): Promise<{ client: Client; request: AuthorizationRequest }> {
      const client = await clientOf(params[CLIENT_ID])
      const redirectUri = redirectUriOf(params[REDIRECT_URI], client)
      const text = (name: string): string | null => {
        const value = params[name]
        return typeof value === 'string' ? value : null
      }
      const mode = text('response_mode')
      const returnAddress: ReturnAddress = {
        redirectUri,
        responseMode: mode !== null && isOneOf(RESPONSE_MODES, mode) ? mode : 'query',
        state: text('state')
      }
      const refuse = (code: AuthorizationErrorCode, description: string): never => {
        throw new AuthorizationError(code, description, returnAddress)
      }

      if (Object.entries(params).some(([name, value]) => Array.isArray(value) && name !== 'resource'))
        refuse('invalid_request', 'A parameter is repeated')
      if (sizeOf(params) > AUTHORIZATION_REQUEST_BYTES_MAX)
        refuse('invalid_request', `The request is longer than ${AUTHORIZATION_REQUEST_BYTES_MAX} bytes`)
      for (const [name, code] of REFUSED)
        if (params[name] !== undefined) refuse(code, `The parameter ${name} is not supported`)
      if (text('response_type') === null) refuse('invalid_request', 'The parameter response_type is missing')
      if (text('response_type') !== 'code')
        refuse('unsupported_response_type', 'The only supported response type is code')
      if (mode !== null && mode !== returnAddress.responseMode)
        refuse('invalid_request', 'The response modes are query and form_post')
      if (!client.grantTypes.includes(AUTHORIZATION_CODE_GRANT))
        refuse('unauthorized_client', 'The client may not use the authorization code grant')

      const [challenge, method] = [text('code_challenge'), text('code_challenge_method')]
      if (challenge === null && (client.requirePkce || method !== null))
        refuse('invalid_request', 'The parameter code_challenge is missing: every request needs PKCE (RFC 7636)')
      if (challenge !== null && (method !== 'S256' || !CHALLENGE.test(challenge)))
        refuse('invalid_request', 'The code challenge must be 43 characters of base64url with the method S256')

      const prompts = [...new Set((text('prompt') ?? '').split(' ').filter((name) => name !== ''))]
      const known = prompts.filter((name) => isOneOf(PROMPTS, name))
      if (known.length < prompts.length || (known.includes('none') && known.length > 1))
        refuse('invalid_request', 'A prompt is none, or of login, consent and select_account')
      const maxAge = text('max_age')
      if (maxAge !== null && !/^\d{1,9}$/.test(maxAge)) refuse('invalid_request', 'The max_age is a number of seconds')
      const scope = text('scope')
      if (scope !== null && scope.length > SCOPE_PARAMETER_MAX)
        refuse('invalid_scope', `The scope is longer than ${SCOPE_PARAMETER_MAX} characters`)
      const resources = [...new Set([params.resource ?? []].flat())]
      if (resources.length > AUTHORIZATION_RESOURCES_MAX)
        refuse('invalid_target', `A request names at most ${AUTHORIZATION_RESOURCES_MAX} resources`)
      const hint = text('id_token_hint')
      const expectedUser = hint === null ? null : await userOfIdToken(hint)
      if (hint !== null && expectedUser === null)
        refuse('invalid_request', 'The id_token_hint is not an ID token of this service')

      return {
        client,
        request: {
          clientId: client.id,
          ...returnAddress,
          hasRedirectUri: params[REDIRECT_URI] !== undefined,
          nonce: text('nonce'),
          scope,
          resources,
          codeChallenge: challenge,
          prompts: known,
          maxAge: maxAge === null ? null : Number(maxAge),
          loginHint: text('login_hint'),
          expectedUser,
          uiLocales: (text('ui_locales') ?? '').split(' ').filter((tag) => tag !== '')
        }
      }
    }
  }
}

export type AuthorizationRequests = ReturnType<typeof createAuthorizationRequests>
