import type { Caller } from '../caller.ts'
import type { Millis, Seconds, Session } from '../model.ts'
import type { Login } from './logins.ts'
import type { Page } from './page.ts'

/** Values of `prompt` (OpenID Connect Core 1.0 §3.1.2.1). */
export type Prompt = 'none' | 'login' | 'consent' | 'select_account'

/** How a response gets to the client: in the query of the redirect URI, or in a form that the browser posts there. */
export type ResponseMode = 'query' | 'form_post'

/** A valid authorization request (RFC 6749 §4.1.1, OpenID Connect Core 1.0 §3.1.2.1): its client, redirect URI and parameters were checked. */
export interface AuthorizationRequest {
  clientId: string
  /**
   * As it was sent; the only registered URI when none was sent. `hasRedirectUri` says whether it was sent, so whether the token request must
   * repeat it (RFC 6749 §4.1.3).
   */
  redirectUri: string
  hasRedirectUri: boolean
  responseMode: ResponseMode
  /** Byte for byte as it was sent. */
  state: string | null
  nonce: string | null
  /** The `scope` parameter; null for the default scopes of the client. */
  scope: string | null
  resources: string[]
  /** S256 (RFC 7636 §4.2); null only for a client without `requirePkce`. */
  codeChallenge: string | null
  prompts: Prompt[]
  maxAge: Seconds | null
  loginHint: string | null
  /** The user that the app expects, from `id_token_hint`. */
  expectedUser: string | null
  uiLocales: string[]
}

/**
 * - `signed_in`: the user has signed in, and is asked for consent
 * - `code`: the code is on its way to the client
 * - `redeemed`: the code was exchanged for tokens
 * - `ended`: can give no tokens: the user refused, its code was burnt, or its login, client or consent ended or changed
 */
export type AuthorizationState = 'signed_in' | 'code' | 'redeemed' | 'ended'

/** An authorization request of a user who has signed in. */
export interface Authorization {
  /** UUIDv7. */
  id: string
  login: Login
  request: AuthorizationRequest
  state: AuthorizationState
  /** The scopes that the client gets, of all requested resources. */
  scopes: string[]
  createdAt: Millis
  expiresAt: Millis
}

/** What a user has allowed a client. */
export interface Consent {
  userId: string
  clientId: string
  scopes: string[]
  createdAt: Millis
  updatedAt: Millis
}

/** The code of an authorization and what it was issued for. */
export interface PresentedCode {
  authorization: Authorization
  /** The session that the code has opened; null when it has opened none. */
  sessionId: string | null
}

/** Authorization requests of users who have signed in. */
export interface AuthorizationStore {
  /**
   * Stores an authorization if its login is active. Otherwise returns false. A login has at most `AUTHORIZATIONS_MAX`; a new one
   * removes the oldest.
   * @param codeHash the SHA-256 of its code, base64url, when the state is `code`; null in the state `signed_in`
   */
  add(
    caller: Caller,
    authorization: {
      id: string
      loginId: string
      request: AuthorizationRequest
      scopes: string[]
      codeHash: string | null
      createdAt: Millis
      expiresAt: Millis
    }
  ): Promise<boolean>
  /** Returns an authorization of a login with that id; null when there is none, or it has expired. */
  get(id: string, of: { loginId: string; now: Millis }): Promise<Authorization | null>
  /**
   * Stores the code of an authorization in the state `signed_in`, and the consent of the user, in one conditional write. Returns false in
   * every other state, and when it has expired or its login has ended: exactly one of concurrent calls returns true. The stored consent
   * keeps the scopes of the user's earlier consent.
   */
  allow(
    caller: Caller,
    allowing: { id: string; codeHash: string; scopes: string[]; now: Millis; expiresAt: Millis }
  ): Promise<boolean>
  /**
   * Replaces the code of an authorization in the state `code` by another one that expires at the same instant, and its scopes. The earlier
   * code is unknown from then on. Returns false in every other state, when the code has expired, and when the scopes have changed to others
   * than `scopes`.
   * @param from the scopes of the authorization when it was read
   */
  replaceCode(
    caller: Caller,
    replacing: { id: string; codeHash: string; from: string[]; scopes: string[]; now: Millis }
  ): Promise<boolean>
  /** Ends an authorization in the state `signed_in`. Returns false in every other state. */
  deny(caller: Caller, denial: { id: string; now: Millis }): Promise<boolean>
  /** Returns what a code was issued for, also after its redemption or expiry; null for an unknown code. */
  find(codeHash: string): Promise<PresentedCode | null>
  /**
   * Redeems a code and opens its session, in one transaction with conditional writes. The session belongs to the login that the
   * authorization has now. Returns `opened` for exactly one of concurrent calls.
   * - `replayed`: the code was redeemed before; the session that it opened ends
   * - `refused`: the code has expired or was burnt, or the login has ended, or user or client do not allow the session any more
   */
  redeem(
    caller: Caller,
    redemption: { codeHash: string; session: Session; authVersion: number; rev: number; now: Millis }
  ): Promise<'opened' | 'replayed' | 'refused'>
  /**
   * Makes a code invalid after a wrong redemption: an unused code is burnt; the session of a redeemed one ends. Returns whether
   * anything changed.
   */
  burn(caller: Caller, code: { codeHash: string; now: Millis }): Promise<boolean>
}

export interface ConsentStore {
  /** Returns what a user has allowed a client; null for nothing. */
  get(userId: string, clientId: string): Promise<Consent | null>
  /** Returns the consents of a user in the order of the clients' ids. */
  list(userId: string, page: Page): Promise<Consent[]>
  /** Removes a consent and ends the user's sessions at the client, and its codes. Returns false when there is none. */
  remove(caller: Caller, consent: { userId: string; clientId: string; now: Millis }): Promise<boolean>
}
