import type { Caller } from '../caller.ts'
import type { AuthenticatedClient } from '../client-authentication.ts'
import { OAuthError } from '../errors.ts'
import type { VerifiedLogin } from '../logins.ts'
import type { Client } from '../model.ts'
import type { PresentedToken } from '../refresh-tokens.ts'

/** The parameters of a token request, without empty and repeated parameters. Only `resource` may repeat (RFC 8707 §2). */
export type TokenParams = Record<string, string | string[] | undefined> & { resource?: string[] }

export interface TokenRequest {
  /** The client that authenticated; null when the request names no client. */
  clientAuth: AuthenticatedClient | null
  params: TokenParams
  /** The refresh token of the request, if the caller has begun to read it before it authenticated the client. */
  presented?: Promise<PresentedToken | null> | undefined
}

/** A code that is about to be redeemed. */
export interface RedeemedCode {
  hash: string
  /** The scopes of the session. The access token of this request may have fewer. */
  scopes: string[]
  /** For the ID token. */
  nonce: string | null
}

/**
 * The result of a grant: who the tokens are for.
 * - `client`: the client itself
 * - `login`: a user who has just proved who they are
 * - `renewal`: the session of a refresh token
 */
export type Outcome = {
  /** The scopes that the grant allows. */
  scopes: string[]
  /** The scopes of a request that names none. */
  defaultScopes: string[]
  /** The requested resources (RFC 8707). */
  resources: string[]
} & (
  | { kind: 'client' }
  | {
      kind: 'login'
      login: VerifiedLogin
      /** The code that the request redeems; null when the request itself proves who the user is. */
      code: RedeemedCode | null
      refusal: string
    }
  | { kind: 'renewal'; token: PresentedToken; refusal: string }
)

/** One value of `grant_type`. A grant only finds out who the tokens are for; `exchange` does everything that all grants share. */
export interface Grant {
  type: string
  /** The parameters that only this grant has, with their descriptions, for the form and the documentation. */
  params: Record<string, string>
  /** Whether a request without a client counts as a request of the client of /docs. */
  docsWithoutClient: boolean
  /** Returns whether a client may be registered with this grant. */
  isFor: (client: Client) => boolean
  /** The rule of `isFor` as the end of the sentence "The grant … is for": `confidential clients only`. */
  allowedClients: string
  /**
   * Finds out who the tokens are for and what may be granted. If a later step finds that the user or the session is no longer valid,
   * the request fails with `invalid_grant` and the `refusal` of the outcome as description.
   * @throws OAuthError invalid_grant, invalid_request (RFC 6749 §5.2); DomainError throttled
   */
  authorize(caller: Caller, request: Pick<TokenRequest, 'params' | 'presented'> & { client: Client }): Promise<Outcome>
}

/** Returns a parameter. @throws OAuthError invalid_request when it is missing (RFC 6749 §5.2) */
export function required(params: TokenParams, name: string): string {
  const value = params[name]
  if (typeof value !== 'string') throw new OAuthError('invalid_request', `The parameter ${name} is missing`)
  return value
}
