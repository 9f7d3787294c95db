import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { IssuedToken } from '../../src/domain/exchange.ts'
import type { Auth } from '../../src/domain/index.ts'
import { type Domain, openDomain, PASSWORD } from './open.ts'

/** The tokens of a session, with a refresh token. */
export type Tokens = IssuedToken & { refreshToken: string }

type Request = Parameters<Auth['exchange']>[1]
type Params = Request['params']

export interface SessionDomain extends Domain {
  /** Sends a token request of an authenticated client. */
  request: (clientId: string, params: Params, presented?: Request['presented']) => Promise<IssuedToken>
  /** Logs a user in. */
  enter: (login?: { username?: string; scope?: string; clientId?: string }) => Promise<Tokens>
  /** Uses a refresh token. */
  refresh: (refreshToken: string, request?: { scope?: string; clientId?: string }) => Promise<Tokens>
  /** Returns whether an access token is valid. */
  isValid: (accessToken: string) => Promise<boolean>
}

/** Opens the domain with the users `alice` (role `user`) and `admin`. */
export async function openSessions(
  t: Test,
  settings: Record<string, string> = {},
  beside?: Domain
): Promise<SessionDomain> {
  const domain = await openDomain(t, { settings, ...(beside === undefined ? {} : { beside }) })
  const { auth, store, createUser } = domain
  if (beside === undefined) {
    await createUser('alice')
    await createUser('admin', ['admin'])
  }
  const request = async (clientId: string, params: Params, presented?: Request['presented']) => {
    const client = await auth.clients.get(clientId)
    const clientAuth = {
      client,
      method: 'none' as const,
      registered: [],
      signing: [],
      rev: await store.revocations.seq()
    }
    return (await auth.exchange(OPERATOR, { clientAuth, params, presented })) as Tokens
  }
  return {
    ...domain,
    request,
    enter: ({ username = 'alice', scope = 'profile', clientId = 'docs' } = {}) =>
      request(clientId, { grant_type: 'password', username, password: PASSWORD, scope }),
    refresh: (refresh_token, { clientId = 'docs', ...scope } = {}) =>
      request(clientId, { grant_type: 'refresh_token', refresh_token, ...scope }),
    isValid: async (accessToken) => (await auth.accessTokens.verify(accessToken)).kind !== 'refused'
  }
}
