import { LOGINS_MAX, SESSIONS_MAX } from '../limits.ts'
import type { Client, Session } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Login } from './ports/logins.ts'
import type { Store } from './ports/store.ts'

/** Where a user is signed in: in browsers, and at clients. */
export interface Places {
  logins: Login[]
  sessions: (Session & { client: Client })[]
}

/** Lists where users are signed in. */
export function createPlaces({ store, clock }: { store: Store; clock: Clock }) {
  const lastUsedFirst = (one: { lastUsedAt: number }, other: { lastUsedAt: number }) =>
    other.lastUsedAt - one.lastUsedAt

  return {
    /** Returns all active logins and sessions of a user, the one used last first. The store limits their numbers. */
    async list(userId: string): Promise<Places> {
      const now = clock.now()
      const [logins, sessions] = await Promise.all([
        store.logins.list(userId, { after: null, limit: LOGINS_MAX }, now),
        store.sessions.list(userId, { after: null, limit: SESSIONS_MAX }, now)
      ])
      const ids = [...new Set(sessions.map(({ clientId }) => clientId))]
      const clients = new Map(await Promise.all(ids.map(async (id) => [id, await store.clients.get(id)] as const)))
      const named = sessions.flatMap((session) => {
        const client = clients.get(session.clientId) ?? null
        return client === null ? [] : [{ ...session, client }]
      })
      return { logins: logins.toSorted(lastUsedFirst), sessions: named.toSorted(lastUsedFirst) }
    }
  }
}
