import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import type { TestApp } from '../helper.ts'
import { problem } from '../http.ts'

/** All scopes of an admin. */
export const ALL_SCOPES = BUILT_IN_SCOPES.map(({ name }) => name)
/** When the tests begin. */
export const AT = '2026-01-01T12:00:00.000Z'
const DAY = 86_400

export const conflict = (detail: string) => [409, problem(409, detail)]
export const invalid = (detail: string) => [400, problem(400, detail)]
export const notFound = (detail: string) => [404, problem(404, detail)]

/** The members that a client has by default. */
export const CLIENT_DEFAULTS = {
  grant_types: [],
  scope: '',
  default_scope: '',
  roles: null,
  resources: [],
  redirect_uris: [],
  post_logout_redirect_uris: [],
  application_type: 'web',
  client_uri: null,
  logo_uri: null,
  policy_uri: null,
  tos_uri: null,
  require_pkce: true,
  require_consent: true,
  id_token_signed_response_alg: null,
  backchannel_logout_uri: null,
  token_endpoint_auth_method: 'client_secret_basic',
  first_party: false,
  access_token_ttl: null,
  session_idle_ttl: 14 * DAY,
  session_absolute_ttl: 90 * DAY,
  disabled: false
}
/** The members of a client that was registered with a name only. */
export const PLAIN = {
  client_name: 'Worker',
  ...CLIENT_DEFAULTS,
  client_id_issued_at: Date.parse(AT) / 1000,
  updated_at: AT
}
/** A client that gets tokens in its own name. */
export const SERVICE = { grant_types: ['client_credentials'], scope: 'profile users:read', default_scope: 'users:read' }

/** Returns the path of a client. */
export const path = (id: string): string => `/clients/${encodeURIComponent(id)}`

/** Returns status and body. */
export const outcome = ({ statusCode, body }: { statusCode: number; body: string }) => [
  statusCode,
  body === '' ? '' : JSON.parse(body)
]

/** Returns the places in a request that have an error. */
export const pointers = (response: { json: () => { errors?: { pointer: string }[] } }) =>
  response.json().errors?.map(({ pointer }) => pointer)

/** Returns functions that send requests as an admin with all scopes. */
export async function asAdmin({ login, send, token }: TestApp) {
  const bearer = await login('admin', ALL_SCOPES.join(' '))
  const api = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, body?: object) =>
    send(bearer, method, url, body)
  return {
    api,
    /** Registers a client and returns its secret. */
    add: async (body: object): Promise<string> =>
      (await api('POST', '/clients', { client_name: 'Worker', ...body })).json().client_secret,
    /** Requests a token in the name of a client. */
    requestToken: async (client_id: string, client_secret: string) =>
      outcome(await token({ grant_type: 'client_credentials', client_id, client_secret }))
  }
}
