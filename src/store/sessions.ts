import { type Selectable, sql } from 'kysely'
import { defined } from '../defined.ts'
import type { Millis, StoredSession } from '../domain/model.ts'
import type { SessionFilter, SessionStore } from '../domain/ports/sessions.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { appendRevocations } from './revocations.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'

/**
 * The time for which an expired session is kept. An instance whose clock is behind may still accept the session, so the session can be
 * ended within this time.
 */
export const GRACE_MS = 60_000

const toSession = (row: Selectable<Tables['sessions']>): StoredSession => ({
  id: row.id,
  userId: row.user_id,
  clientId: row.client_id,
  scopes: words(row.scopes),
  amr: words(row.amr),
  authAt: row.auth_at,
  createdAt: row.created_at,
  lastUsedAt: row.rotated_at ?? row.created_at,
  idleExpiresAt: row.idle_expires_at,
  expiresAt: row.expires_at,
  address: row.address,
  userAgent: row.user_agent,
  salt: row.salt,
  counter: row.counter,
  endedAt: row.ended_at
})

/** The columns of an ended session. They make the session expire, so the removal of expired sessions also removes ended sessions. */
const ended = (now: Millis) => ({ ended_at: now, idle_expires_at: now })

/**
 * Ends all matching sessions and returns their ids, which the caller must append to the revocation log. Locks the sessions in the order
 * of their ids, so that two such transactions cannot deadlock.
 */
export async function endSessions(
  trx: Db,
  { id, userId, clientId, except, now }: SessionFilter & { now: Millis }
): Promise<string[]> {
  const rows = await trx
    .selectFrom('sessions')
    .select('id')
    .where('ended_at', 'is', null)
    .where('idle_expires_at', '>', now - GRACE_MS)
    .$if(id !== undefined, (query) => query.where('id', '=', id as string))
    .$if(userId !== undefined, (query) => query.where('user_id', '=', userId as string))
    .$if(clientId !== undefined, (query) => query.where('client_id', '=', clientId as string))
    .$if(typeof except === 'string', (query) => query.where('id', '!=', except as string))
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forUpdate())
    .execute()
  const ids = rows.map((row) => row.id)
  for (const each of ids) await trx.updateTable('sessions').set(ended(now)).where('id', '=', each).execute()
  return ids
}

export function sessions({ db, transaction, recordCommitted }: Database): SessionStore {
  return {
    async open(caller, { session, authVersion, rev }) {
      const row = {
        id: session.id,
        user_id: session.userId,
        client_id: session.clientId,
        scopes: session.scopes.join(' '),
        amr: session.amr.join(' '),
        auth_at: session.authAt,
        created_at: session.createdAt,
        idle_expires_at: session.idleExpiresAt,
        expires_at: session.expiresAt,
        address: session.address,
        user_agent: session.userAgent,
        salt: session.salt,
        counter: 0
      }
      const columns = Object.keys(row) as (keyof typeof row)[]
      const allowed = db
        .selectFrom(['users', 'clients'])
        .where('users.id', '=', session.userId)
        .where('users.auth_version', '=', authVersion)
        .where('users.disabled_at', 'is', null)
        .where('clients.id', '=', session.clientId)
        .where('clients.disabled_at', 'is', null)
        .where('clients.revoked_seq', '<=', rev)
        .select(({ val }) => columns.map((column) => val(row[column]).as(column)))
        .$if(needsRowLocks(db), (query) => query.forShare())
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('sessions')
        .columns(columns)
        .expression(allowed)
        .executeTakeFirstOrThrow()
      if (numInsertedOrUpdatedRows !== 1n) return false
      recordCommitted({
        type: 'login.succeeded',
        caller,
        subject: { user: session.userId, client: session.clientId, session: session.id },
        reason: session.amr.join(' ')
      })
      return true
    },

    async get(id) {
      const row = await db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst()
      return row === undefined ? null : toSession(row)
    },

    async list(userId, { after, limit }, now) {
      const rows = await db
        .selectFrom('sessions')
        .selectAll()
        .where('user_id', '=', userId)
        .where('ended_at', 'is', null)
        .where('idle_expires_at', '>', now)
        .$if(after !== null, (query) => query.where('id', '>', after))
        .orderBy('id')
        .limit(limit)
        .execute()
      return rows.map(toSession)
    },

    rotate: (caller, { id, client, counter, leeway, now }) =>
      transaction(async (trx, record) => {
        const idleUntil = now + client.sessionIdleTtl * 1000
        const { numUpdatedRows } = await trx
          .updateTable('sessions')
          .set(({ eb }) => ({
            counter: eb('counter', '+', 1),
            rotated_at: now,
            idle_expires_at: sql<number>`case when expires_at < ${idleUntil} then expires_at else ${idleUntil} end`
          }))
          .where('id', '=', id)
          .where('client_id', '=', client.id)
          .where('counter', '=', counter)
          .where('ended_at', 'is', null)
          .where('idle_expires_at', '>', now)
          .executeTakeFirstOrThrow()
        if (numUpdatedRows === 1n) return 'rotated'

        // Reads without a lock, so that retries do not wait for one another.
        const row = await trx.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst()
        if (row === undefined || row.client_id !== client.id) return 'unknown'
        if (row.ended_at !== null || row.idle_expires_at <= now || counter >= row.counter) return 'unknown'
        // `now` can be before the renewal: this call may have waited for the other call, or its clock may be behind.
        const sinceRenewal = Math.max(0, now - (row.rotated_at ?? 0))
        if (counter === row.counter - 1 && sinceRenewal < leeway) return 'retried'
        // Counters only grow, so this result is still correct without a lock. Only one of concurrent calls ends the session.
        const { numUpdatedRows: endedRows } = await trx
          .updateTable('sessions')
          .set(ended(now))
          .where('id', '=', id)
          .where('ended_at', 'is', null)
          .executeTakeFirstOrThrow()
        if (endedRows === 0n) return 'unknown'
        await appendRevocations(trx, [{ kind: 'session', id }], now)
        record({
          type: 'session.replayed',
          caller,
          subject: { user: row.user_id, client: client.id, session: id },
          outcome: 'failure'
        })
        return 'reused'
      }),

    end: (caller, { now, ...filter }) =>
      transaction(async (trx, record) => {
        const ids = await endSessions(trx, { ...filter, now })
        await appendRevocations(
          trx,
          ids.map((id) => ({ kind: 'session', id })),
          now
        )
        const { id: session, userId: user, clientId: client } = filter
        const reason = ids.length === 1 ? '1 session' : `${ids.length} sessions`
        if (ids.length > 0)
          record({ type: 'session.ended', caller, subject: defined({ session, user, client }), reason })
        return ids.length
      })
  }
}
