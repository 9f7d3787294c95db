import { Type } from '@sinclair/typebox'
import type { Logout } from '../domain/logouts.ts'
import { redirectTo } from './authorizations.ts'

const REQUEST = Object.fromEntries(
  Object.entries({
    id_token_hint: 'An ID token of the user who signs out',
    client_id: 'The client; needed without an `id_token_hint`',
    post_logout_redirect_uri:
      'Where the browser goes afterwards: a URI that the client has registered, character by character',
    state: 'Comes back to the URI as it is',
    logout_hint: 'Ignored',
    ui_locales: 'Languages of the page, separated by spaces'
  }).map(([name, description]) => [name, Type.Optional(Type.String({ description }))])
)

/** The parameters of a request for a logout, for the document only. */
export const LogoutQuery = Type.Object(REQUEST)
export const LogoutForm = Type.Object(REQUEST, {
  $id: 'LogoutRequest',
  description: 'OpenID Connect RP-Initiated Logout 1.0 §2',
  examples: [{ client_id: 'spa', post_logout_redirect_uri: 'https://app.example/goodbye', state: 'af0ifjsldkj' }]
})

/** The form of the page that asks for a confirmation. Its guard has checked its token. */
export const SignOutForm = Type.Object({ form_token: Type.String() })

const [CLIENT_ID, REDIRECT_URI] = ['client_id', 'post_logout_redirect_uri']

/** Says that the browser stays here, although the request names another place. */
const STAYS = 'stays'
const stays = (refusal: Logout['refusal']) => (refusal === null ? null : '1')

/** Returns the target of the form that ends a login. It carries where the browser goes, and no ID token. */
export function signOutTarget({ client, redirectUri, refusal, state }: Logout): string {
  return targetOf('/sign-out', {
    [CLIENT_ID]: client?.id,
    [REDIRECT_URI]: redirectUri,
    state: redirectUri === null ? null : state,
    [STAYS]: stays(refusal)
  })
}

/** Returns the target of the page that says that the user is signed out. */
export const signedOutTarget = ({ client, refusal }: Pick<Logout, 'client' | 'refusal'>, query: unknown): string =>
  targetOf('/signed-out', { [CLIENT_ID]: client?.id, [STAYS]: stays(refusal) ?? (staysFromWire(query) ? '1' : null) })

/** Returns whether the query of a page says that the browser stays here. */
export const staysFromWire = (query: unknown): boolean => (query as Record<string, unknown>)[STAYS] === '1'

/** Returns the target of a page with parameters in its query. Leaves out parameters without a value. */
export function targetOf(path: string, params: Record<string, unknown>): string {
  const pairs = Object.entries(params).filter((each): each is [string, string] => typeof each[1] === 'string')
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`
}

/** Returns the URL of the client with the state (OpenID Connect RP-Initiated Logout 1.0 §3); null when the browser stays here. */
export function returnTo({ redirectUri, state }: Logout): string | null {
  if (redirectUri === null || state === null) return redirectUri
  return redirectTo({ redirectUri, responseMode: 'query', state }, { state })
}
