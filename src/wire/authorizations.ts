import { type Static, Type } from '@sinclair/typebox'
import type { AuthorizationResponse, ReturnAddress } from '../domain/authorization-errors.ts'
import type { AuthorizationParams } from '../domain/authorization-requests.ts'
import type { AuthorizationRequest } from '../domain/ports/authorizations.ts'
import { AUTHORIZATION_REQUEST_BYTES_MAX } from '../limits.ts'

const text = (description: string) => Type.Optional(Type.String({ description }))

/** What the parameters of an authorization request are. */
const PARAMETERS = {
  response_type: 'Always `code`',
  client_id: 'The client',
  redirect_uri:
    'A redirect URI of the client, character by character; for a native app the port of a loopback address is free',
  scope: 'Scopes, separated by spaces; without it the default scopes of the client',
  state: 'Comes back in the response as it is',
  nonce: 'Comes back in the ID token as it is',
  code_challenge: 'The SHA-256 hash of the verifier in base64url (RFC 7636)',
  code_challenge_method: 'Always `S256`',
  response_mode: '`query` or `form_post`',
  prompt: '`none`, or of `login`, `consent` and `select_account`, separated by spaces',
  max_age: 'Seconds since the last sign-in, after which the user must sign in again',
  login_hint: 'The name of the user',
  id_token_hint: 'An ID token of the user who is expected',
  ui_locales: 'Languages of the pages, separated by spaces',
  display: 'Ignored',
  acr_values: 'Ignored'
}

const [CLIENT_ID, RESOURCE] = ['client_id', 'resource']
/** Parameters that are refused by their own error code. */
const REFUSED = ['request', 'request_uri', 'registration']
const NAMES = [...Object.keys(PARAMETERS), RESOURCE, ...REFUSED]

/** Characters of the target of an authorization request. The domain refuses a longer request. */
export const TARGET_MAX = AUTHORIZATION_REQUEST_BYTES_MAX

const REQUIRED = ['response_type', CLIENT_ID]
const REQUEST = {
  ...Object.fromEntries(
    Object.entries(PARAMETERS).map(([name, description]) => [
      name,
      REQUIRED.includes(name) ? Type.String({ description }) : text(description)
    ])
  ),
  [RESOURCE]: Type.Optional(
    Type.Array(Type.String(), { description: 'The services that tokens are for (RFC 8707): one parameter for each' })
  )
}

/** The parameters of an authorization request, for the document only. */
export const AuthorizationQuery = Type.Object(REQUEST)
export const AuthorizationForm = Type.Object(REQUEST, {
  $id: 'AuthorizationRequest',
  description: 'OpenID Connect Core 1.0 §3.1.2.1',
  examples: [
    {
      response_type: 'code',
      client_id: 'spa',
      redirect_uri: 'https://app.example/callback',
      scope: 'openid profile',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
      state: 'af0ifjsldkj'
    }
  ]
})

/** The token of a form of a page. Its guard has checked it. */
const token = { form_token: Type.String() }

export const SignInForm = Type.Object({ ...token, username: text('Username'), password: text('Password') })
export const ChoiceForm = Type.Object({ ...token, login: Type.String() })
export const ConsentForm = Type.Object({
  ...token,
  decision: Type.Union([Type.Literal('allow'), Type.Literal('deny')])
})
export const ConsentQuery = Type.Object({ id: Type.String() })

/** Returns the username of a form that may not be valid. */
export function usernameFromWire(form: unknown): string {
  const { username } = (form ?? {}) as Record<string, unknown>
  return typeof username === 'string' ? username : ''
}

const ALLOWED = 'scope:'

/** Returns the scopes that the user allows; null when the user refuses. A form has one field for each scope. */
export const allowedFromWire = (form: Static<typeof ConsentForm>): string[] | null =>
  form.decision === 'deny'
    ? null
    : Object.keys(form).flatMap((name) => (name.startsWith(ALLOWED) ? name.slice(ALLOWED.length) : []))

/** Reads the parameters of an authorization request. An empty parameter counts as missing (RFC 6749 §3.1). */
export function paramsFromWire(input: unknown): AuthorizationParams {
  const params: AuthorizationParams = Object.create(null)
  for (const [name, value] of Object.entries((input ?? {}) as Record<string, unknown>)) {
    const [first, ...more] = [value].flat().filter((each): each is string => typeof each === 'string' && each !== '')
    if (first !== undefined) params[name] = more.length === 0 ? first : [first, ...more]
  }
  return params
}

/**
 * Returns the parameters of the authorization request that a URL of the sign-in carries; null for a URL that carries none, because no client
 * asked for the sign-in. All other parameters are ignored then, so the URL cannot say where the browser goes.
 */
export function attemptFromWire(query: unknown): AuthorizationParams | null {
  const params = paramsFromWire(query)
  return params[CLIENT_ID] === undefined ? null : params
}

/** Returns the parameters of a request that another account may continue. `max_age` and most prompts are fulfilled by its sign-in. */
export const paramsOf = (request: AuthorizationRequest): AuthorizationParams =>
  paramsFromWire({
    response_type: 'code',
    client_id: request.clientId,
    redirect_uri: request.hasRedirectUri ? request.redirectUri : null,
    response_mode: request.responseMode === 'query' ? null : request.responseMode,
    state: request.state,
    nonce: request.nonce,
    scope: request.scope,
    resource: request.resources,
    code_challenge: request.codeChallenge,
    code_challenge_method: request.codeChallenge === null ? null : 'S256',
    prompt: request.prompts.includes('consent') ? 'consent' : null,
    ui_locales: request.uiLocales.join(' ')
  })

/** Returns the target of a form or a link of the sign-in: it carries the authorization request in its query. */
export function targetOf(path: string, params: AuthorizationParams | null): string {
  if (params === null) return path
  const pairs = NAMES.flatMap((name) => [params[name] ?? []].flat().map((value) => [name, value] as [string, string]))
  return `${path}?${new URLSearchParams(pairs)}`
}

/** Returns the parameters of an authorization response (RFC 6749 §4.1.2, RFC 9207). */
export function toWire(response: AuthorizationResponse, issuer: string): Record<string, string> {
  const { state } = response.returnAddress
  return {
    ...('code' in response
      ? { code: response.code }
      : { error: response.error, error_description: response.description }),
    ...(state === null ? {} : { state }),
    iss: issuer
  }
}

/**
 * Returns the URL to which a response redirects: the redirect URI with the parameters added to its query (RFC 6749 §3.1.2). A space
 * becomes `%20`, because not every client decodes `+`.
 */
export function redirectTo({ redirectUri }: ReturnAddress, fields: Record<string, string>): string {
  const query = Object.entries(fields).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  const separator = !redirectUri.includes('?') ? '?' : /[?&]$/.test(redirectUri) ? '' : '&'
  return redirectUri + separator + query.join('&')
}
