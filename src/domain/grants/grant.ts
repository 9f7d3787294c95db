import type { Caller } from '../caller.ts'
import { OAuthError } from '../errors.ts'
import type { VerifiedLogin } from '../logins.ts'
import type { Client } from '../model.ts'
import type { PresentedToken } from '../refresh-tokens.ts'

/** The parameters of a token request: each once, never empty; only `resource` may repeat (RFC 8707 §2). */
export type TokenParams = Record<string, string | string[] | undefined> & { resource?: string[] }

/**
 * A grant's answer: who the tokens are for.
 * - `client`: the client itself
 * - `login`: a user who has just proved who they are
 * - `renewal`: the session of a refresh token
 */
export type Outcome = {
  /** The scopes that the grant allows. */
  scopes: string[]
  /** The scopes of a request that names none. */
  defaultScopes: string[]
  /** The resources that were asked for (RFC 8707). */
  resources: string[]
} & (
  | { kind: 'client' }
  | { kind: 'login'; login: VerifiedLogin; refusal: string }
  | { kind: 'renewal'; token: PresentedToken; refusal: string }
)

/** One value of `grant_type`. It finds out who the tokens are for; `exchange` does everything that all grants share. */
export interface Grant {
  type: string
  /** Its own parameters with their descriptions, for the form and the documentation. */
  params: Record<string, string>
  /** Whether a request that names no client is a request of the client of /docs. */
  docsWithoutClient: boolean
  /** Returns whether a client may have this grant at all. */
  isFor: (client: Client) => boolean
  /** The rule of `isFor` in words that follow "The grant … is for": `confidential clients only`. */
  audience: string
  /**
   * Finds out who the tokens are for and what may be granted. The `refusal` of the outcome is the description of `invalid_grant`
   * when a later step finds that the user or the session is no longer valid.
   * @throws OAuthError invalid_grant, invalid_request (RFC 6749 §5.2)
   */
  authorize(caller: Caller, request: { client: Client; params: TokenParams }): Promise<Outcome>
}

/** @throws OAuthError invalid_request when the parameter is missing (RFC 6749 §5.2) */
export function required(params: TokenParams, name: string): string {
  const value = params[name]
  if (typeof value !== 'string') throw new OAuthError('invalid_request', `The parameter ${name} is missing`)
  return value
}
