import { randomUUID } from 'node:crypto'
import type { Millis } from '../domain/model.ts'
import type { Db } from './columns.ts'

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
