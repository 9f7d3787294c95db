import { randomUUID } from 'node:crypto'
import type { Millis } from '../domain/model.ts'
import type { LogoutNoticeStore } from '../domain/ports/logouts.ts'
import type { Db } from './columns.ts'
import type { Database } from './transaction.ts'

/** Milliseconds for which Latchkey tries to deliver a notice. */
const DELIVERY_MS = 24 * 3_600_000

/** Adds a notice for each active session of the logins whose client wants to hear of logouts. */
export async function addLogoutNotices(trx: Db, { loginIds, now }: { loginIds: string[]; now: Millis }): Promise<void> {
  const rows = await trx
    .selectFrom('sessions')
    .innerJoin('clients', 'clients.id', 'sessions.client_id')
    .select(['sessions.id', 'sessions.user_id', 'sessions.client_id'])
    .where('login_id', 'in', loginIds)
    .where('ended_at', 'is', null)
    .where('sessions.idle_expires_at', '>', now)
    .where('backchannel_logout_uri', 'is not', null)
    .execute()
  if (rows.length === 0) return
  await trx
    .insertInto('logout_notices')
    .values(
      rows.map((row) => ({
        id: randomUUID(),
        client_id: row.client_id,
        user_id: row.user_id,
        session_id: row.id,
        attempts: 0,
        next_at: now,
        expires_at: now + DELIVERY_MS
      }))
    )
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
      .orderBy('id')
      .limit(limit)
      .execute()
    return rows.map((row) => ({
      id: row.id,
      clientId: row.client_id,
      userId: row.user_id,
      sessionId: row.session_id,
      attempts: row.attempts
    }))
  },

  async claim({ id, attempts }, nextAt) {
    const { numUpdatedRows } = await db
      .updateTable('logout_notices')
      .set({ attempts: attempts + 1, next_at: nextAt })
      .where('id', '=', id)
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

  async remove(id) {
    await db.deleteFrom('logout_notices').where('id', '=', id).execute()
  }
})
