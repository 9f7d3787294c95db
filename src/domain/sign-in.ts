import { AuthorizationError, type AuthorizationResponse } from './authorization-errors.ts'
import type { AuthorizationParams, AuthorizationRequests } from './authorization-requests.ts'
import type { Authorizations, Step } from './authorizations.ts'
import type { Caller } from './caller.ts'
import { OAuthError } from './errors.ts'
import type { Logins } from './logins.ts'
import type { Client, User } from './model.ts'
import type { PasswordProof } from './password-proof.ts'
import type { AuthorizationRequest } from './ports/authorizations.ts'
import type { Clock } from './ports/clock.ts'
import type { Login } from './ports/logins.ts'
import type { Store } from './ports/store.ts'

/** A valid authorization request with its client. */
export interface Attempt {
  client: Client
  request: AuthorizationRequest
}

/**
 * Why a sign-in was refused.
 * - `incomplete`: the name or the password is missing
 * - `wrong`: nobody has this name, the password is wrong, or the account is locked
 * - `disabled`: the password is correct, but the account is disabled
 */
export type SignInRefusal = 'incomplete' | 'wrong' | 'disabled'

/** An active login of a browser with its user. */
export interface Account {
  login: Login
  user: User
}

/**
 * What a browser gets next.
 * - `sign_in`: the form of the sign-in. `attempt` is null for a sign-in that no client asked for
 * - `choose`: the question which login to use. `attempt` is null for the pages of the account
 * - `consent`: the question for consent, about the authorization with this id
 * - `respond`: the way back to the client
 * - `account`: the pages of the account, after a sign-in that no client asked for
 */
export type Next =
  | { kind: 'sign_in'; attempt: Attempt | null; username: string; refusal: SignInRefusal | null }
  | { kind: 'choose'; attempt: Attempt | null; accounts: Account[] }
  | { kind: 'consent'; id: string }
  | { kind: 'respond'; response: AuthorizationResponse }
  | { kind: 'account' }

/** The login that a sign-in has opened: the token belongs into the cookie. `replaces` is the id of the login that ended. */
export interface Opened {
  login: Login
  token: string
  replaces: string | null
}

/** Signs users in, in their browsers, and decides what comes next. Every page of the sign-in gets its next step here. */
export function createSignIn(deps: {
  store: Store
  clock: Clock
  authorizationRequests: AuthorizationRequests
  authorizations: Authorizations
  passwordProof: PasswordProof
  logins: Logins
}) {
  const { store, clock, authorizationRequests, authorizations, passwordProof, logins: browserLogins } = deps

  /** Runs a step. A refusal that the client must get becomes the response to the client. */
  async function answering(run: () => Promise<Next>): Promise<Next> {
    try {
      return await run()
    } catch (error) {
      if (error instanceof AuthorizationError) return { kind: 'respond', response: error.response }
      throw error
    }
  }

  /** Returns the logins whose users still exist. */
  async function accountsOf(logins: Login[]): Promise<Account[]> {
    const users = await Promise.all(logins.map(({ userId }) => store.users.get(userId)))
    return logins.flatMap((login, index) => {
      const user = users[index] ?? null
      return user === null ? [] : [{ login, user }]
    })
  }

  /** Returns the form of the sign-in, with the name of the user of `id_token_hint`, else with `login_hint`, else with the name of `again`. */
  async function formOf(attempt: Attempt | null, again: Login | null): Promise<Next> {
    const { expectedUser = null, loginHint = null } = attempt?.request ?? {}
    const known = expectedUser ?? (loginHint === null ? again?.userId : null) ?? null
    const user = known === null ? null : await store.users.get(known)
    return { kind: 'sign_in', attempt, username: user?.username ?? loginHint ?? '', refusal: null }
  }

  async function nextOf(step: Step, attempt: Attempt): Promise<Next> {
    if (step.kind === 'sign_in') return formOf(attempt, step.again)
    if (step.kind === 'choose') return { kind: 'choose', attempt, accounts: await accountsOf(step.logins) }
    return step
  }

  return {
    /**
     * Returns what comes first for an authorization request.
     * @param logins the active logins of the browser, the one used last first
     * @throws NoReturn
     */
    begin: (caller: Caller, { params, logins }: { params: AuthorizationParams; logins: Login[] }): Promise<Next> =>
      answering(async () => {
        const attempt = await authorizationRequests.read(params)
        return nextOf(await authorizations.start(caller, { ...attempt, logins }), attempt)
      }),

    /**
     * Returns the form of the sign-in, also when the browser has a login that would do.
     * @param params null for a sign-in that no client asked for
     * @throws NoReturn
     */
    form: (params: AuthorizationParams | null): Promise<Next> =>
      answering(async () => formOf(params === null ? null : await authorizationRequests.read(params), null)),

    /** Returns the question which login the pages of the account use, or the form of the sign-in for a browser that has nothing to choose. */
    async another(logins: Login[]): Promise<Next> {
      const accounts = await accountsOf(logins)
      return accounts.length > 1 ? { kind: 'choose', attempt: null, accounts } : formOf(null, null)
    },

    /**
     * Verifies name and password, opens a login and returns what comes next.
     * @param params null for a sign-in that no client asked for
     * @param logins the active logins of the browser
     * @throws NoReturn; DomainError throttled, unavailable
     */
    async signIn(
      caller: Caller,
      input: { params: AuthorizationParams | null; username: string; password: string; logins: Login[] }
    ): Promise<{ next: Next; opened: Opened | null }> {
      const { params, username, password, logins } = input
      let opened: Opened | null = null
      const next = await answering(async () => {
        const attempt = params === null ? null : await authorizationRequests.read(params)
        const refused = (refusal: SignInRefusal): Next => ({ kind: 'sign_in', attempt, username, refusal })
        if (username === '' || password === '') return refused('incomplete')
        const proof = await passwordProof.verifyLogin(caller, { username, password }).catch((error: unknown) => {
          // The text cannot be a password.
          if (error instanceof OAuthError) return { kind: 'refused', reason: 'wrong' } as const
          throw error
        })
        if (proof.kind === 'refused') return refused(proof.reason)
        const { user, authVersion } = proof.credentials
        const replaces = logins.find(({ userId }) => userId === user.id)?.id ?? null
        const login = { userId: user.id, authVersion, authAt: clock.now(), amr: ['pwd'] }
        const signedIn = await browserLogins.signIn(caller, { login, replaces })
        if (signedIn === null) return refused('wrong')
        opened = { ...signedIn, replaces }
        if (attempt === null) return { kind: 'account' }
        return nextOf(await authorizations.proceed(caller, { ...attempt, login: signedIn.login }), attempt)
      })
      return { next, opened }
    },

    /**
     * Continues with the login that the user chose.
     * @param params null for the pages of the account
     * @throws NoReturn
     */
    choose: (caller: Caller, { params, login }: { params: AuthorizationParams | null; login: Login }): Promise<Next> =>
      answering(async () => {
        if (params === null) return { kind: 'account' }
        const attempt = await authorizationRequests.read(params)
        return nextOf(await authorizations.choose(caller, { ...attempt, login }), attempt)
      })
  }
}

export type SignIn = ReturnType<typeof createSignIn>
