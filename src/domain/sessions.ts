import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { createKeyedQueue } from '../queue.ts'
import type { Config } from '../settings.ts'
import type { Caller } from './caller.ts'
import { noSuch, throttled } from './errors.ts'
import type { VerifiedLogin } from './logins.ts'
import { type Client, type Millis, REFRESH_GRANT, type Session } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'
import { type PresentedToken, type RefreshTokens, wasUsed } from './refresh-tokens.ts'

/** Maximum number of renewals of one session that wait in this process. */
const MAX_WAITING = 500

/** The session that an access token belongs to, and the refresh token that renews it. */
export interface TokenSession {
  sid: string
  /** The instant at which the session ends unless it is renewed. No access token may outlive it. */
  expiresAt: Millis
  /** Null when the client may not renew sessions. */
  refreshToken: string | null
}

/** Opens, renews and ends sessions. A session is one login of a user at a client. */
export function createSessions(deps: { store: Store; clock: Clock; refreshTokens: RefreshTokens; settings: Config }) {
  const { store, clock, refreshTokens, settings } = deps
  /** Renewals of one session run one after the other, so that a renewal that waits does not hold a database connection. */
  const queue = createKeyedQueue({
    concurrency: 1,
    maxWaiting: MAX_WAITING,
    refuse: () => throttled(1000, 'Too many requests for one session')
  })

  return {
    /** Creates the session of a login and its first refresh token. Stores nothing: `Logins.finish` or `Logins.redeem` opens the session. */
    async draft(
      caller: Caller,
      {
        login,
        client,
        scopes
      }: {
        login: VerifiedLogin
        client: Client
        scopes: string[]
      }
    ): Promise<{ session: Session; refreshToken: string | null }> {
      const now = clock.now()
      const expiresAt = now + client.sessionAbsoluteTtl * 1000
      const isRenewable = client.grantTypes.includes(REFRESH_GRANT)
      // Without a refresh token the session outlives its access token only for the logout token.
      const isKept = isRenewable || client.backchannelLogoutUri !== null
      const idleTtl = isKept ? client.sessionIdleTtl : (client.accessTokenTtl ?? settings.accessTokenTtl)
      const session: Session = {
        id: randomUUIDv7(),
        userId: login.userId,
        clientId: client.id,
        scopes,
        amr: login.amr,
        authAt: login.authAt,
        address: caller.address,
        userAgent: caller.userAgent,
        createdAt: now,
        lastUsedAt: now,
        idleExpiresAt: Math.min(now + idleTtl * 1000, expiresAt),
        expiresAt,
        salt: randomBytes(16).toString('base64url'),
        loginId: null
      }
      const refreshToken = isRenewable ? refreshTokens.create(session, 0, await refreshTokens.current()) : null
      return { session, refreshToken }
    },

    /** Creates the next refresh token of a session. Stores nothing: `renew` makes the token valid. */
    successor(token: PresentedToken, client: Client): TokenSession {
      const { session, counter, key } = token
      const renewedUntil = Math.min(clock.now() + client.sessionIdleTtl * 1000, session.expiresAt)
      return {
        sid: session.id,
        // A repeated renewal does not extend the session.
        expiresAt: wasUsed(token) ? session.idleExpiresAt : renewedUntil,
        refreshToken: refreshTokens.create(session, counter + 1, key)
      }
    },

    /**
     * Renews a session (RFC 6749 §6, RFC 9700 §4.14.2). A refresh token that was used before ends the session, unless it is the last
     * used token and its first use was within the leeway.
     * @returns false when the session was not renewed
     */
    async renew(caller: Caller, { session, counter }: PresentedToken, client: Client): Promise<boolean> {
      const leave = await queue.enter(session.id)
      try {
        const leeway = settings.refreshLeeway * 1000
        const renewal = { id: session.id, client, counter, leeway, now: clock.now() }
        const rotation = await store.sessions.rotate(caller, renewal)
        return rotation === 'rotated' || rotation === 'retried'
      } finally {
        leave()
      }
    },

    /** Returns one page of the active sessions of a user, oldest first. */
    list: (userId: string, page: Page): Promise<Paged<Session>> =>
      paged(
        page,
        (session) => session.id,
        (rows) => store.sessions.list(userId, rows, clock.now())
      ),

    /** Ends one session of a user with its tokens. @throws DomainError not_found, also for a session of another user */
    async end(caller: Caller, { userId, id }: { userId: string; id: string }): Promise<void> {
      if ((await store.sessions.end(caller, { userId, id, now: clock.now() })) === 0) throw noSuch('session', id)
    },

    /** Ends all sessions and all logins in browsers of a user, except one session and its login. Returns how many sessions it ended. */
    endAll: (caller: Caller, { userId, except = null }: { userId: string; except?: string | null }): Promise<number> =>
      store.sessions.end(caller, { userId, except, now: clock.now() })
  }
}

export type Sessions = ReturnType<typeof createSessions>
