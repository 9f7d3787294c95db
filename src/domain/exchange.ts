import type { AccessTokens } from './access-tokens.ts'
import type { Caller } from './caller.ts'
import type { ClientAuthentication } from './client-authentication.ts'
import { clientRefused, OAuthError } from './errors.ts'
import { type Grant, type Outcome, required, type TokenRequest } from './grants/grant.ts'
import type { IdTokens } from './id-tokens.ts'
import type { Logins } from './logins.ts'
import { type Client, OPENID, type Seconds, type Session } from './model.ts'
import type { Store } from './ports/store.ts'
import { wasUsed } from './refresh-tokens.ts'
import { narrowRoles, type Scopes } from './scopes.ts'
import type { Sessions, TokenSession } from './sessions.ts'

export interface IssuedToken {
  accessToken: string
  expiresIn: Seconds
  scopes: string[]
  /** Null when the client may not renew the session, and for a client's own token. */
  refreshToken: string | null
  /** Only for a session with the scope `openid` (OpenID Connect Core 1.0 §3.1.3.3, §12.2). */
  idToken: string | null
}

const invalidGrant = (description: string) => new OAuthError('invalid_grant', description)

/** Creates the function that handles token requests. */
export function createExchange(deps: {
  store: Store
  grants: Grant[]
  clientAuthentication: ClientAuthentication
  scopes: Scopes
  sessions: Sessions
  logins: Logins
  accessTokens: AccessTokens
  idTokens: IdTokens
}) {
  const { store, grants, clientAuthentication, scopes, sessions, logins, accessTokens, idTokens } = deps

  /** @throws OAuthError unsupported_grant_type, invalid_client, unauthorized_client */
  async function grantAndClient({ clientAuth, params }: TokenRequest) {
    const type = required(params, 'grant_type')
    const grant = grants.find((candidate) => candidate.type === type)
    if (grant === undefined) throw new OAuthError('unsupported_grant_type', 'The grant type is not supported')
    if (clientAuth === null && !grant.docsWithoutClient) throw clientRefused()
    const { client, registered, signing, rev } = clientAuth ?? (await clientAuthentication.docsClient())
    if (!client.grantTypes.includes(grant.type) || !grant.isFor(client))
      throw new OAuthError('unauthorized_client', 'The client may not use this grant type')
    return { grant, client, registered, signing, rev }
  }

  /** Returns the user of the tokens with the current roles and scopes; null for tokens of the client itself. */
  async function userOf(caller: Caller, outcome: Outcome) {
    if (outcome.kind === 'client') return null
    if (outcome.kind === 'renewal') {
      if (outcome.token.user.disabledAt !== null) throw invalidGrant(outcome.refusal)
      return outcome.token.user
    }
    const { userId: id } = outcome.login
    const access = await store.users.access(id)
    if (access !== null) return { id, ...access }
    logins.recordChanged(caller, outcome.login)
    throw invalidGrant(outcome.refusal)
  }

  /** Creates the session of the tokens, or the next refresh token of an existing session. Stores nothing. */
  async function sessionOf(
    caller: Caller,
    outcome: Outcome,
    { client, granted }: { client: Client; granted: string[] }
  ): Promise<{ tokenSession: TokenSession | null; draft: Session | null }> {
    switch (outcome.kind) {
      case 'client':
        return { tokenSession: null, draft: null }
      case 'renewal':
        return { tokenSession: sessions.successor(outcome.token, client), draft: null }
      case 'login': {
        const { session, refreshToken } = await sessions.draft(caller, {
          login: outcome.login,
          client,
          scopes: outcome.code?.scopes ?? granted
        })
        return { tokenSession: { sid: session.id, expiresAt: session.idleExpiresAt, refreshToken }, draft: session }
      }
    }
  }

  /** Returns the ID token of a response; null for a session without the scope `openid`, and for a client's own token. */
  async function idTokenOf(
    outcome: Outcome,
    {
      client,
      draft,
      token
    }: { client: Client; draft: Session | null; token: { accessToken: string; expiresIn: Seconds } }
  ): Promise<string | null> {
    const session = outcome.kind === 'renewal' ? outcome.token.session : draft
    if (session === null || !session.scopes.includes(OPENID)) return null
    const nonce = outcome.kind === 'login' ? (outcome.code?.nonce ?? null) : null
    return idTokens.issue(client, { session, nonce, ...token })
  }

  /** @throws OAuthError invalid_grant when the session was not renewed */
  async function renew(
    caller: Caller,
    { token, refusal }: Outcome & { kind: 'renewal' },
    client: Client
  ): Promise<void> {
    if (!(await sessions.renew(caller, token, client))) throw invalidGrant(refusal)
  }

  /**
   * Handles a token request with the steps that all grants share (RFC 6749 §4, §5). The session is opened or renewed last, so a
   * request that fails earlier does not use up its refresh token. There is one exception: a refresh token that was used before
   * is checked first. It ends its session even if the request is invalid for another reason; within the leeway the request continues.
   * @param caller the sender of the request
   * @throws OAuthError; DomainError throttled, unavailable
   */
  return async function exchange(caller: Caller, request: TokenRequest): Promise<IssuedToken> {
    const { grant, client, registered, signing, rev } = await grantAndClient(request)
    const { address, userAgent, requestId } = caller
    const asClient: Caller = { kind: 'client', id: client.id, address, userAgent, requestId }

    const outcome = await grant.authorize(asClient, { ...request, client })
    const isRepeated = outcome.kind === 'renewal' && wasUsed(outcome.token)
    if (isRepeated) await renew(asClient, outcome, client)

    const user = await userOf(asClient, outcome)
    const { scopes: granted, aud } = await scopes.narrow(
      {
        scope: request.params.scope as string | undefined,
        defaultScopes: outcome.defaultScopes,
        resources: outcome.resources
      },
      {
        grant: outcome.scopes,
        client,
        registered,
        session: outcome.kind === 'renewal' ? outcome.token.session.scopes : null,
        user: user?.scopes ?? null
      }
    )
    const { tokenSession, draft } = await sessionOf(asClient, outcome, { client, granted })
    const token = await accessTokens.issue({
      sub: user?.id ?? client.id,
      client,
      aud,
      scopes: granted,
      roles: narrowRoles(user?.roles ?? [], client),
      session: tokenSession,
      // The refresh token can have been read before the client.
      rev: outcome.kind === 'renewal' ? Math.min(rev, outcome.token.rev) : rev,
      // A login can wait for seconds until its password is verified. The key can be retired meanwhile.
      signing: outcome.kind === 'login' ? [] : signing
    })
    const idToken = await idTokenOf(outcome, { client, draft, token })

    if (outcome.kind === 'login' && draft !== null) {
      const opening = { login: outcome.login, session: draft, rev }
      const isOpen =
        outcome.code === null
          ? await logins.finish(asClient, opening)
          : await logins.redeem(asClient, { ...opening, codeHash: outcome.code.hash })
      if (!isOpen) throw invalidGrant(outcome.refusal)
    }
    if (outcome.kind === 'renewal' && !isRepeated) await renew(asClient, outcome, client)
    return { ...token, scopes: granted, refreshToken: tokenSession?.refreshToken ?? null, idToken }
  }
}
