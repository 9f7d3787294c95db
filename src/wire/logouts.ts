import { Type } from '@sinclair/typebox'
import type { Logout } from '../domain/logouts.ts'
import { redirectTo } from './authorizations.ts'

/** The parameters of a request for a logout. Has no types: a repeated parameter is a list, which the domain ignores. */
export const LogoutForm = Type.Object(
  Object.fromEntries(
    ['id_token_hint', 'client_id', 'post_logout_redirect_uri', 'state', 'logout_hint', 'ui_locales'].map((name) => [
      name,
      Type.Optional(Type.Unknown())
    ])
  )
)

/** The form of the page that asks for a confirmation. Its guard has checked its token. */
export const SignOutForm = Type.Object({ form_token: Type.String() })

const [CLIENT_ID, REDIRECT_URI] = ['client_id', 'post_logout_redirect_uri']

/** Says that the browser stays here, although the request names another place. */
const STAYS = 'stays'
const stays = (refusal: Logout['refusal']) => (refusal === null ? null : '1')

/** Returns the target of the form that ends a login. It carries where the browser goes, and no ID token. */
export function signOutTarget({ client, redirectUri, refusal, state }: Logout): string {
  const pairs: [string, string | null | undefined][] = [
    [CLIENT_ID, client?.id],
    [REDIRECT_URI, redirectUri],
    ['state', redirectUri === null ? null : state],
    [STAYS, stays(refusal)]
  ]
  return targetOf('/sign-out', Object.fromEntries(pairs.filter(([, value]) => typeof value === 'string')))
}

/** Returns the target of the page that says that the user is signed out. */
export const signedOutTarget = ({ client, refusal }: Pick<Logout, 'client' | 'refusal'>, query: unknown): string =>
  targetOf('/signed-out', { [CLIENT_ID]: client?.id, [STAYS]: stays(refusal) ?? (staysFromWire(query) ? '1' : null) })

/** Returns whether the query of a page says that the browser stays here. */
export const staysFromWire = (query: unknown): boolean => (query as Record<string, unknown>)[STAYS] === '1'

/** Returns the target of a page with parameters in its query. */
export function targetOf(path: string, params: Record<string, unknown>): string {
  const pairs = Object.entries(params).filter((each): each is [string, string] => typeof each[1] === 'string')
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`
}

/** Returns the URL of the client with the state (OpenID Connect RP-Initiated Logout 1.0 §3); null when the browser stays here. */
export function returnTo({ redirectUri, state }: Logout): string | null {
  if (redirectUri === null || state === null) return redirectUri
  return redirectTo({ redirectUri, responseMode: 'query', state }, { state })
}
