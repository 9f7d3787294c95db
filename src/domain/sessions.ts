import { randomUUIDv7 } from 'node:crypto'
import { OAuthError } from './errors.ts'
import type { Client, Millis, Origin, Session } from './model.ts'
import type { Clock, Store } from './ports.ts'

/** Logins of users at clients. */
export function createSessions({ store, clock }: { store: Store; clock: Clock }) {
  return {
    /**
     * Opens the session of a login.
     * @param login `authVersion` is what the credentials had when they were checked
     * @throws OAuthError invalid_grant when the user was disabled or got a new password since
     */
    async open(
      login: { userId: string; authVersion: number; scopes: string[]; authAt: Millis; amr: string[] },
      client: Client,
      origin: Origin
    ): Promise<Session> {
      const { authVersion, ...rest } = login
      const now = clock.now()
      const session: Session = {
        ...rest,
        ...origin,
        id: randomUUIDv7(),
        clientId: client.id,
        createdAt: now,
        idleExpiresAt: now + client.sessionIdleTtl * 1000,
        expiresAt: now + client.sessionAbsoluteTtl * 1000
      }
      if (!(await store.sessions.open(session, authVersion))) {
        throw new OAuthError('invalid_grant', 'Incorrect username or password')
      }
      return session
    }
  }
}
