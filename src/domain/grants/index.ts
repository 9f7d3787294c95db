import type { AuthenticatedClient } from '../client-auth.ts'
import { clientRefused, OAuthError } from '../errors.ts'
import type { Clients, RefreshTokens, Scopes, Sessions, Tokens, Users } from '../index.ts'
import type { Origin, Seconds } from '../model.ts'
import type { Clock, Store } from '../ports.ts'
import type { Renewable } from '../sessions.ts'
import { clientCredentials } from './client-credentials.ts'
import { type Grant, required, type TokenParams } from './grant.ts'
import { password } from './password.ts'
import { refreshToken } from './refresh-token.ts'

/** Every value of `grant_type`; form fields, metadata and documents follow from this list. */
export const grants: Grant[] = [password, refreshToken, clientCredentials]

export interface TokenRequest {
  /** The client that was authenticated; null when the request named none. */
  clientAuth: AuthenticatedClient | null
  params: TokenParams
  origin: Origin
}

export interface IssuedToken {
  accessToken: string
  expiresIn: Seconds
  scopes: string[]
  /** What renews the session; null when nothing does. */
  refreshToken: string | null
}

/** Puts together what every token request goes through. */
export function createExchange(deps: {
  store: Store
  users: Users
  clients: Clients
  scopes: Scopes
  sessions: Sessions
  tokens: Tokens
  refreshTokens: RefreshTokens
  clock: Clock
}) {
  const { store, users, clients, scopes, sessions, tokens, refreshTokens, clock } = deps

  /** The steps that every token request goes through, RFC 6749 §4 and §5. @throws OAuthError */
  return async function exchange({ clientAuth, params, origin }: TokenRequest): Promise<IssuedToken> {
    const type = required(params, 'grant_type')
    const grant = grants.find((candidate) => candidate.type === type)
    if (grant === undefined) throw new OAuthError('unsupported_grant_type', 'The grant type is not supported')

    if (clientAuth === null && !grant.docsWithoutClient) throw clientRefused()
    const { client, rev } = clientAuth ?? (await clients.docs())
    if (!client.grantTypes.includes(grant.type) || !grant.only(client))
      throw new OAuthError('unauthorized_client', 'The client may not use this grant type')

    const {
      subject,
      scopes: allowed,
      requested,
      session: login
    } = await grant.authorize(params, client, { users, refreshTokens, origin, now: clock.now() })

    const renewal = login !== null && 'counter' in login ? await sessions.renewal(login, client) : null

    const user = subject && (await store.users.scopes(subject.userId))
    if (subject !== null && user === null) throw new OAuthError('invalid_grant', 'Incorrect username or password')

    const { scopes: granted, aud } = await scopes.narrow(
      { scope: params.scope as string | undefined, otherwise: requested, resources: params.resource ?? [] },
      { grant: allowed, client, user }
    )

    let session: Renewable | null = renewal
    if (login !== null && 'authVersion' in login && subject !== null)
      session = await sessions.opening({ userId: subject.userId, ...login, rev, scopes: granted }, client, origin)

    const token = await tokens.issue({
      sub: subject?.userId ?? client.id,
      client,
      aud,
      scopes: granted,
      roles: subject?.roles ?? [],
      session,
      rev
    })
    await session?.commit()
    return { ...token, scopes: granted, refreshToken: session?.refreshToken ?? null }
  }
}
