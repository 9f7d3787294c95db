import { OAuthError } from '../errors.ts'
import type { RefreshTokens, Users } from '../index.ts'
import type { Client, Millis, Origin } from '../model.ts'
import type { PresentedToken } from '../refresh-tokens.ts'

/** The parameters of a token request: each once, never empty; only `resource` can repeat (RFC 8707 §2). */
export type TokenParams = Record<string, string | string[] | undefined> & { resource?: string[] }

export interface Granted {
  /** Who the token speaks for; null for the client itself. */
  subject: { userId: string; roles: string[] } | null
  /** What the grant allows at most. */
  scopes: string[]
  /** What is meant by a request that names no scope. */
  requested: string[]
  /** The login that a session is opened for, or the session that is renewed; null for none. */
  session: { authAt: Millis; amr: string[]; authVersion: number } | PresentedToken | null
}

/** One value of `grant_type`. It says only what is its own: client, scopes, session and token are seen to by `exchange`. */
export interface Grant {
  type: string
  /** Its own parameters and what they are, for the form and the documents. */
  params: Record<string, string>
  /** Whether a request without any client is taken as the one of /docs. */
  docsWithoutClient: boolean
  /** Which clients can have it at all, whatever is registered. */
  only: (client: Client) => boolean
  /**
   * Finds out who is asking and what may be granted at most.
   * @throws OAuthError invalid_grant, invalid_request (RFC 6749 §5.2)
   */
  authorize(
    params: TokenParams,
    client: Client,
    context: { users: Users; refreshTokens: RefreshTokens; origin: Origin; now: Millis }
  ): Promise<Granted>
}

/** @throws OAuthError invalid_request when the parameter is not there (RFC 6749 §5.2) */
export function required(params: TokenParams, name: string): string {
  const value = params[name]
  if (typeof value !== 'string') throw new OAuthError('invalid_request', `The parameter ${name} is missing`)
  return value
}
