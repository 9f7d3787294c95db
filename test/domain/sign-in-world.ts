import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import type { AuthorizationResponse } from '../../src/domain/authorization-errors.ts'
import type { AuthorizationParams } from '../../src/domain/authorization-requests.ts'
import type { Step } from '../../src/domain/authorizations.ts'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import type { Login } from '../../src/domain/ports/logins.ts'
import { openDomain, PASSWORD } from './open.ts'

export const CALLBACK = 'https://app.example/callback'
export const VERIFIER = 'v'.repeat(43)
export const challengeOf = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url')

/** The sender of every request of these tests. */
const CALLER: Caller = { kind: 'anonymous', address: '192.0.2.1', userAgent: 'test/1', requestId: null }

/** A request of the client `app`, with other parameters. Undefined leaves a parameter out. */
export const requestOf = (more: AuthorizationParams = {}): AuthorizationParams => ({
  client_id: 'app',
  redirect_uri: CALLBACK,
  response_type: 'code',
  scope: 'profile',
  state: 'a state',
  code_challenge: challengeOf(VERIFIER),
  code_challenge_method: 'S256',
  ...more
})

/** Opens the domain with the user `alice` and with the confidential client `app`, which is not first-party. */
export async function openSignIn(t: Test, settings: Record<string, string> = {}) {
  const domain = await openDomain(t, { settings })
  const { auth } = domain
  const alice = await domain.createUser('alice')
  const register = (id: string, more: Partial<NewClient> = {}) =>
    auth.clients.create(OPERATOR, {
      id,
      name: id,
      grantTypes: ['authorization_code', 'refresh_token'],
      scopes: ['profile'],
      redirectUris: [CALLBACK],
      ...more
    })
  await register('app')

  /** Signs a user in, in a browser without a login. Returns the login with the token of its cookie. */
  async function signInWithToken(username = 'alice', replaces: string | null = null) {
    const proved = await auth.passwordProof.verifyLogin(CALLER, { username, password: PASSWORD })
    if (proved.kind === 'refused') throw new Error(`${username} could not sign in`)
    const { user, authVersion } = proved.credentials
    const login = { userId: user.id, authVersion, authAt: domain.clock.now(), amr: ['pwd'] }
    const signedIn = await auth.logins.signIn(CALLER, { login, replaces })
    if (signedIn === null) throw new Error(`${username} was changed during the login`)
    return signedIn
  }
  const signIn = async (username = 'alice', replaces: string | null = null): Promise<Login> =>
    (await signInWithToken(username, replaces)).login

  /** Sends a request from a browser with these logins. */
  const ask = async (logins: Login[], more: AuthorizationParams = {}): Promise<Step> =>
    auth.authorizations.start(CALLER, { ...(await auth.authorizationRequests.read(requestOf(more))), logins })

  const codeIn = (response: AuthorizationResponse): string => {
    if ('error' in response) throw new Error(response.description)
    return response.code
  }

  return {
    ...domain,
    alice,
    register,
    signIn,
    signInWithToken,
    ask,
    /** Answers the question for consent. */
    decide: (step: Step, login: Login, allowed: string[] | null) => {
      if (step.kind !== 'consent') throw new Error(`no question, but ${step.kind}`)
      return auth.authorizations.decide(CALLER, { id: step.id, login, allowed })
    },
    /** Returns the code of a request that needs no consent, or whose consent is given. */
    async codeOf(login: Login, more: AuthorizationParams = {}): Promise<string> {
      const step = await ask([login], more)
      if (step.kind === 'respond') return codeIn(step.response)
      if (step.kind !== 'consent') throw new Error(`no code, but ${step.kind}`)
      return codeIn(await auth.authorizations.decide(CALLER, { id: step.id, login, allowed: ['profile'] }))
    },
    /** Redeems a code as a client. Undefined leaves a parameter out. */
    async redeem(code: string, more: Record<string, string | string[] | undefined> = {}, clientId = 'app') {
      const client = await auth.clients.get(clientId)
      const rev = await domain.store.revocations.seq()
      const params = { code, redirect_uri: CALLBACK, code_verifier: VERIFIER, ...more }
      return auth.exchange(CALLER, {
        clientAuth: {
          client,
          method: client.kind === 'public' ? 'none' : 'client_secret_basic',
          registered: [],
          signing: [],
          rev
        },
        params: { grant_type: 'authorization_code', ...params }
      })
    }
  }
}
