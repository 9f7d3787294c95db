import type { Millis } from '../domain/model.ts'
import type { LogoutNoticeStore } from '../domain/ports/logouts.ts'
import type { Db } from './columns.ts'
import type { Database } from './transaction.ts'

/** Milliseconds for which Latchkey tries to deliver a notice. */
const DELIVERY_MS = 24 * 3_600_000

/**
 * Adds notices for clients that want to hear of logouts: for these sessions, which have ended; or for the active sessions of logins, or all.
 * A session that waits for its notice already gets no other one.
 */
export async function addLogoutNotices(
  trx: Db,
  { sessionIds, loginIds, now }: { sessionIds?: string[]; loginIds?: string[]; now: Millis }
): Promise<void> {
  const notices = trx
    .selectFrom('sessions')
    .innerJoin('clients', 'clients.id', 'client_id')
    .where('backchannel_logout_uri', 'is not', null)
    .$if(sessionIds !== undefined, (query) => query.where('sessions.id', 'in', sessionIds as string[]))
    .$if(sessionIds === undefined, (query) => query.where('ended_at', 'is', null).where('idle_expires_at', '>', now))
    .$if(loginIds !== undefined, (query) => query.where('login_id', 'in', loginIds as string[]))
    .select(({ val }) => [
      'sessions.id as session_id',
      'client_id',
      'user_id',
      val(0).as('attempts'),
      val(now).as('next_at'),
      val(now + DELIVERY_MS).as('expires_at')
    ])
    // In one order, so that two transactions that add the same notices cannot deadlock.
    .orderBy('sessions.id')
  await trx
    .insertInto('logout_notices')
    .columns(['session_id', 'client_id', 'user_id', 'attempts', 'next_at', 'expires_at'])
    .expression(notices)
    .onConflict((conflict) => conflict.column('session_id').doNothing())
    .execute()
}

/** The notices of logouts, and the attempts to deliver them. */
export const logoutNotices = ({ db }: Database): LogoutNoticeStore => ({
  async due(now, limit) {
    const rows = await db
      .selectFrom('logout_notices')
      .selectAll()
      .where('next_at', '<=', now)
      .where('expires_at', '>', now)
      .orderBy('next_at')
      .orderBy('session_id')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      sessionId: row.session_id,
      clientId: row.client_id,
      userId: row.user_id,
      attempts: row.attempts
    }))
  },

  async claim({ sessionId, attempts }, nextAt) {
    const { numUpdatedRows } = await db
      .updateTable('logout_notices')
      .set({ attempts: attempts + 1, next_at: nextAt })
      .where('session_id', '=', sessionId)
      .where('attempts', '=', attempts)
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  },

  async postpone(clientId, until) {
    await db
      .updateTable('logout_notices')
      .set({ next_at: until })
      .where('client_id', '=', clientId)
      .where('next_at', '<', until)
      .execute()
  },

  async remove(sessionId) {
    await db.deleteFrom('logout_notices').where('session_id', '=', sessionId).execute()
  }
})
