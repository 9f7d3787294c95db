import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { DomainError, OAuthError } from './errors.ts'
import type { RefreshTokens } from './index.ts'
import type { Client, Millis, Origin, Seconds, Session } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock, Page, Store } from './ports.ts'
import type { PresentedToken } from './refresh-tokens.ts'
import { createTurns } from './turns.ts'

/** The grant by which a client renews its sessions; one without it gets no refresh tokens. */
export const REFRESH_GRANT = 'refresh_token'

/** How many renewals of one session may wait for their turn here. */
const QUEUE = 500

/** What a token is issued for: the session, and what renews it, if anything does. */
export interface Renewable {
  sid: string
  /** When the session ends in any case. */
  expiresAt: Millis
  refreshToken: string | null
  /**
   * Opens or renews the session, as the last thing of all: what fails before it has used nothing up.
   * @throws OAuthError invalid_grant
   */
  commit(): Promise<void>
}

/** A session in the names of the wire. @param current the session of whoever asks */
export const view = (session: Session, current: string | null = null) => ({
  id: session.id,
  client_id: session.clientId,
  scope: session.scopes.join(' '),
  amr: session.amr,
  address: session.address,
  user_agent: session.userAgent,
  current: session.id === current,
  authenticated_at: new Date(session.authAt).toISOString(),
  created_at: new Date(session.createdAt).toISOString(),
  last_used_at: new Date(session.lastUsedAt).toISOString(),
  expires_at: new Date(session.idleExpiresAt).toISOString()
})

/** Logins of users at clients. */
export function createSessions(deps: {
  store: Store
  clock: Clock
  refreshTokens: RefreshTokens
  /** How long a refresh token that was just used gets the same successor again; 0 for never. */
  refreshLeeway: Seconds
  accessTokenTtl: Seconds
}) {
  const { store, clock, refreshTokens, refreshLeeway, accessTokenTtl } = deps
  const inTurn = createTurns(QUEUE, 'Too many requests for one session')

  return {
    view,

    /**
     * The session of a login. It is refused when the user was disabled or got a new password since, or something was taken
     * from the client.
     * @param login `authVersion` is what the credentials had when they were checked, `rev` how far the log had come when the
     *   client was read
     */
    async opening(
      login: { userId: string; authVersion: number; rev: number; scopes: string[]; authAt: Millis; amr: string[] },
      client: Client,
      origin: Origin
    ): Promise<Renewable> {
      const { authVersion, rev, ...rest } = login
      const now = clock.now()
      const expiresAt = now + client.sessionAbsoluteTtl * 1000
      const renewable = client.grantTypes.includes(REFRESH_GRANT)
      const idleTtl = renewable ? client.sessionIdleTtl : (client.accessTokenTtl ?? accessTokenTtl)
      const salt = randomBytes(16).toString('base64url')
      const session = {
        ...rest,
        ...origin,
        id: randomUUIDv7(),
        clientId: client.id,
        createdAt: now,
        lastUsedAt: now,
        idleExpiresAt: Math.min(now + idleTtl * 1000, expiresAt),
        expiresAt,
        salt
      }
      return {
        sid: session.id,
        expiresAt,
        refreshToken: renewable ? refreshTokens.make(session, 0, await refreshTokens.current()) : null,
        async commit() {
          if (!(await store.sessions.open(session, authVersion, rev)))
            throw new OAuthError('invalid_grant', 'Incorrect username or password')
        }
      }
    },

    /**
     * A session that is renewed by a token of it (RFC 6749 §6, RFC 9700 §4.14.2). A token that was used before ends the
     * session, unless that was just now; it does so at once, whatever else is wrong with the request.
     * @throws OAuthError invalid_grant for a session that cannot be renewed
     */
    async renewal({ session, counter, key }: PresentedToken, client: Client): Promise<Renewable> {
      const { id, salt } = session
      const refused = () => new OAuthError('invalid_grant', 'The refresh token is not valid')
      if (salt === null) throw refused()
      async function rotate() {
        const rotation = await inTurn(id, () =>
          store.sessions.rotate(id, client, counter, refreshLeeway * 1000, clock.now())
        )
        if (rotation === 'reused' || rotation === 'unknown') throw refused()
      }
      const used = counter < session.counter
      if (used) await rotate()
      return {
        sid: id,
        expiresAt: session.expiresAt,
        refreshToken: refreshTokens.make({ id, salt }, counter + 1, key),
        commit: used ? async () => {} : rotate
      }
    },

    /** One page of a user's living sessions, by age. */
    list: (userId: string, page: Page): Promise<Paged<Session>> =>
      paged(
        page,
        (session) => session.id,
        (rows) => store.sessions.list(userId, rows, clock.now())
      ),

    /** Ends one session of a user; its tokens are good no more. @throws DomainError not_found, also for another user's */
    async end(userId: string, id: string): Promise<void> {
      if ((await store.sessions.end({ userId, id }, clock.now())) === 0)
        throw new DomainError('not_found', 'There is no such session')
    },

    /** Ends all sessions of a user, but the one that is excepted; how many those were. */
    endAll: (userId: string, except: string | null = null): Promise<number> =>
      store.sessions.end({ userId, except }, clock.now())
  }
}
