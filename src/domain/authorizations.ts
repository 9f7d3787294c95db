import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { CODE_MS, CONSENT_MS } from '../limits.ts'
import {
  AuthorizationError,
  type AuthorizationErrorCode,
  type AuthorizationResponse,
  NoReturn
} from './authorization-errors.ts'
import { asLogin, type Caller } from './caller.ts'
import { sha256 } from './client-authentication.ts'
import type { Clients } from './clients.ts'
import { OAuthError } from './errors.ts'
import type { Client, Scope, User } from './model.ts'
import { OPENID } from './model.ts'
import type { Authorization, AuthorizationRequest, AuthorizationState } from './ports/authorizations.ts'
import type { Clock } from './ports/clock.ts'
import type { Login } from './ports/logins.ts'
import type { Store } from './ports/store.ts'
import { intersect, type Scopes } from './scopes.ts'
import { usernameKey } from './usernames.ts'

/**
 * What comes next for an authorization request.
 * - `sign_in`: the user must prove who they are; `again` is the login whose user must do so again, if any
 * - `choose`: the user has several logins in this browser, or the client asks for a choice
 * - `consent`: the user must allow the client something; the authorization is stored under this id
 * - `respond`: the browser goes back to the client
 */
export type Step =
  | { kind: 'sign_in'; again: Login | null }
  | { kind: 'choose'; logins: Login[] }
  | { kind: 'consent'; id: string }
  | { kind: 'respond'; response: AuthorizationResponse }

/** What the user is asked before the client gets a code. */
export interface ConsentQuestion {
  authorization: Authorization
  client: Client
  user: User
  scopes: Pick<Scope, 'name' | 'description'>[]
}

/** Decides the steps of authorization requests, from the sign-in to the code (RFC 6749 §4.1, OpenID Connect Core 1.0 §3.1). */
export function createAuthorizations(deps: { store: Store; clients: Clients; scopes: Scopes; clock: Clock }) {
  const { store, clients, scopes, clock } = deps

  /** Returns the scopes that the client can get for the user. @throws AuthorizationError invalid_scope, invalid_target */
  async function grantable(request: AuthorizationRequest, client: Client, user: string[]): Promise<string[]> {
    try {
      return await scopes.grantable(
        { scope: request.scope ?? undefined, resources: request.resources },
        { client, user }
      )
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error
      throw new AuthorizationError(error.code as AuthorizationErrorCode, error.message, request)
    }
  }

  /**
   * Returns whether the user must be asked. Nobody can know that a public client without an https redirect URI is the one that the user
   * allowed before, so its users are asked each time (RFC 8252 §8.6).
   */
  async function needsConsent(
    client: Client,
    { request, userId, granted }: { request: AuthorizationRequest; userId: string; granted: string[] }
  ): Promise<boolean> {
    if (client.firstParty || !client.requireConsent) return false
    if (request.prompts.includes('consent')) return true
    if (client.kind === 'public' && !request.redirectUri.startsWith('https:')) return true
    const consent = await store.consents.get(userId, client.id)
    return consent === null || intersect(granted, consent.scopes).length < granted.length
  }

  const newCode = () => {
    const code = randomBytes(32).toString('base64url')
    return { code, codeHash: sha256(code) }
  }

  /** Continues with a login that fulfils the request: asks for consent, or responds with a code. */
  async function proceed(
    caller: Caller,
    { client, request, login }: { client: Client; request: AuthorizationRequest; login: Login }
  ): Promise<Step> {
    const refuse = (code: AuthorizationErrorCode, description: string): never => {
      throw new AuthorizationError(code, description, request)
    }
    if (request.expectedUser !== null && request.expectedUser !== login.userId)
      refuse('login_required', 'Another user has signed in than the one of the id_token_hint')
    const access = await store.users.access(login.userId)
    if (access === null) return { kind: 'sign_in', again: null }
    const granted = await grantable(request, client, access.scopes)
    const asks = await needsConsent(client, { request, userId: login.userId, granted })
    if (asks && request.prompts.includes('none')) refuse('consent_required', 'The user must be asked for consent')

    const now = clock.now()
    const id = randomUUIDv7()
    const issued = asks ? null : newCode()
    const isStored = await store.authorizations.add(asLogin(caller, login), {
      id,
      loginId: login.id,
      request,
      scopes: granted,
      codeHash: issued?.codeHash ?? null,
      createdAt: now,
      expiresAt: now + (asks ? CONSENT_MS : CODE_MS)
    })
    if (!isStored) return { kind: 'sign_in', again: null }
    return issued === null
      ? { kind: 'consent', id }
      : { kind: 'respond', response: { returnAddress: request, code: issued.code } }
  }

  /** Returns an authorization of one of these logins. @throws NoReturn attempt_over when it is in another state */
  async function find(id: string, logins: Login[], states: AuthorizationState[]): Promise<Authorization> {
    const now = clock.now()
    const found = await Promise.all(logins.map((login) => store.authorizations.get(id, { loginId: login.id, now })))
    const authorization = found.find((each) => each !== null && states.includes(each.state)) ?? null
    if (authorization === null) throw new NoReturn('attempt_over')
    return authorization
  }

  /** Returns the logins of the user that `id_token_hint` names, else of the one that `login_hint` names if there are any, else all. */
  async function meantBy({ expectedUser, loginHint }: AuthorizationRequest, logins: Login[]): Promise<Login[]> {
    if (expectedUser !== null) return logins.filter(({ userId }) => userId === expectedUser)
    if (loginHint === null) return logins
    const users = await Promise.all(logins.map(({ userId }) => store.users.get(userId)))
    const keys = users.map((user) => user && usernameKey(user.username))
    const named = logins.filter((_, index) => keys[index] === usernameKey(loginHint))
    return named.length > 0 ? named : logins
  }

  /**
   * Returns the next step of a request that arrives.
   * @param logins the active logins of the browser, the last used first
   * @throws AuthorizationError
   */
  async function start(
    caller: Caller,
    { client, request, logins }: { client: Client; request: AuthorizationRequest; logins: Login[] }
  ): Promise<Step> {
    const { prompts, maxAge } = request
    const isSilent = prompts.includes('none')
    const loginRequired = () => new AuthorizationError('login_required', 'The user must sign in', request)
    if (prompts.includes('select_account') && logins.length > 0) return { kind: 'choose', logins }
    const meant = await meantBy(request, logins)
    const [login, ...others] = meant
    if (login === undefined) {
      if (isSilent) throw loginRequired()
      return { kind: 'sign_in', again: null }
    }
    const isOld = maxAge !== null && clock.now() - login.authAt > maxAge * 1000
    if (isOld || prompts.includes('login')) {
      if (isSilent) throw loginRequired()
      return { kind: 'sign_in', again: login }
    }
    if (others.length > 0 && !isSilent) return { kind: 'choose', logins: meant }
    const step = await proceed(caller, { client, request, login })
    if (isSilent && step.kind === 'sign_in') throw loginRequired()
    return step
  }

  return {
    proceed,
    start,

    /**
     * Continues a request with the login that the user chose. The login must fulfil the request like any other.
     * @throws AuthorizationError
     */
    choose: (
      caller: Caller,
      { client, request, login }: { client: Client; request: AuthorizationRequest; login: Login }
    ): Promise<Step> => {
      const prompts = request.prompts.filter((prompt) => prompt !== 'select_account')
      return start(caller, { client, request: { ...request, prompts }, logins: [login] })
    },

    /**
     * Returns what the consent page asks: who asks whom, and each scope with its description.
     * @param logins the active logins of the browser
     * @throws NoReturn attempt_over
     */
    async consentQuestion(id: string, logins: Login[]): Promise<ConsentQuestion> {
      const authorization = await find(id, logins, ['signed_in'])
      const [client, user, scopes] = await Promise.all([
        clients.enabled(authorization.request.clientId),
        store.users.get(authorization.login.userId),
        store.scopes.find(authorization.scopes)
      ])
      if (client === null) throw new NoReturn('client_unknown')
      if (user === null) throw new NoReturn('attempt_over')
      return { authorization, client, user, scopes }
    },

    /**
     * Ends the question for consent. A form that was sent twice gets a response each time, because browsers show only the last one: only
     * its code is valid, for the scopes that all forms allow.
     * @param allowed the scopes that the user allows; null when the user refuses. `openid` cannot be refused alone
     * @throws NoReturn attempt_over when the code was redeemed, the user has refused before, the user refuses after they have allowed (then the
     *   code stays valid), the attempt has expired, or the login has ended
     */
    async decide(
      caller: Caller,
      { id, login, allowed }: { id: string; login: Login; allowed: string[] | null }
    ): Promise<AuthorizationResponse> {
      const user = asLogin(caller, login)
      const states: AuthorizationState[] = allowed === null ? ['signed_in'] : ['signed_in', 'code']
      const { request, scopes: granted } = await find(id, [login], states)
      const chosen = intersect(granted, [...(allowed ?? []), OPENID])
      const now = clock.now()
      if (allowed === null || chosen.length === 0) {
        if (!(await store.authorizations.deny(user, { id, now }))) throw new NoReturn('attempt_over')
        return { returnAddress: request, error: 'access_denied', description: 'The user refused' }
      }
      const { code, codeHash } = newCode()
      const allowing = { id, codeHash, scopes: chosen, now, expiresAt: now + CODE_MS }
      const isAllowed =
        (await store.authorizations.allow(user, allowing)) ||
        (await store.authorizations.replaceCode(user, { id, codeHash, from: granted, scopes: chosen, now }))
      if (!isAllowed) throw new NoReturn('attempt_over')
      return { returnAddress: request, code }
    }
  }
}

export type Authorizations = ReturnType<typeof createAuthorizations>
