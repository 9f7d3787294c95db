import type { AuthorizationParams } from './authorization-requests.ts'
import type { Clients } from './clients.ts'
import type { IdTokenHint, IdTokens } from './id-tokens.ts'
import type { Client } from './model.ts'
import type { Login } from './ports/logins.ts'

/** What a request for a logout means (OpenID Connect RP-Initiated Logout 1.0 §2). */
export interface Logout {
  /** The client that the user comes from; null when the request names none for certain. */
  client: Client | null
  /** Where the browser goes after the logout: a URI that the client has registered. Null for a page of this service. */
  redirectUri: string | null
  /** Why the browser does not go where the request says; null when it does, or the request does not say. */
  refusal: 'logout_client_unknown' | 'logout_uri_unknown' | null
  /** Byte for byte as it was sent. */
  state: string | null
  /** The login that can end; null when the browser has none, or none of the user that the client means. */
  login: Login | null
}

/** Reads requests for a logout. A request ends nothing: the user must confirm it on a page. */
export function createLogouts({ clients, idTokens }: { clients: Clients; idTokens: IdTokens }) {
  /** Returns the client of a request. A hint that is no ID token, or an ID token of another client, leaves no client. */
  async function clientOf(id: string | null, hint: { sent: string | null; read: IdTokenHint | null }) {
    if (hint.sent !== null && hint.read === null) return null
    const issuedTo = hint.read?.clientId ?? id
    if (issuedTo === null || (id !== null && id !== issuedTo)) return null
    return clients.enabled(issuedTo)
  }

  return {
    /**
     * Reads a request, which is never refused. The browser stays here if the client is not known for certain, or has not registered the
     * URI (§4). A repeated parameter counts as missing.
     * @param logins the active logins of the browser, the one used last first
     */
    async read(params: AuthorizationParams, logins: Login[]): Promise<Logout> {
      const text = (name: string): string | null => {
        const value = params[name]
        return typeof value === 'string' ? value : null
      }
      const sent = text('id_token_hint')
      const read = sent === null ? null : await idTokens.readHint(sent)
      const client = await clientOf(text('client_id'), { sent, read })
      const uri = text('post_logout_redirect_uri')
      const isRegistered = uri !== null && client?.postLogoutRedirectUris.includes(uri)
      const refusal = client === null ? 'logout_client_unknown' : 'logout_uri_unknown'
      const login = logins.find(({ userId }) => read === null || userId === read.userId)
      return {
        client,
        redirectUri: isRegistered ? uri : null,
        refusal: uri === null || isRegistered ? null : refusal,
        state: text('state'),
        login: login ?? null
      }
    }
  }
}

export type Logouts = ReturnType<typeof createLogouts>
