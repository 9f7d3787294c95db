import { type Kysely, type Selectable, sql } from 'kysely'
import type { StoredSession } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'
import { words } from './users.ts'

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

/** For instances whose clocks are behind: for so long what has expired is kept, and can be ended. */
export const GRACE_MS = 60_000

/** What ends a session; then it is also swept away like one that was idle too long. */
const ended = (now: number) => ({ ended_at: now, idle_expires_at: now })

/**
 * Ends the living sessions for which all that is given is true, in the caller's transaction and in one order for everyone,
 * so that nobody waits in a circle. Gives their ids, which the caller logs.
 */
export async function endSessions(
  trx: Kysely<Tables>,
  { id, userId, clientId, except }: Parameters<Store['sessions']['end']>[0],
  now: number,
  locksRows: boolean
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
    .$if(locksRows, (query) => query.forUpdate())
    .execute()
  const ids = rows.map((row) => row.id)
  for (const each of ids) await trx.updateTable('sessions').set(ended(now)).where('id', '=', each).execute()
  return ids
}

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function sessions(db: Kysely<Tables>, locksRows: boolean): Store['sessions'] {
  return {
    async open(session, authVersion, rev) {
      const allowed = db
        .selectFrom(['users', 'clients'])
        .where('users.id', '=', session.userId)
        .where('users.auth_version', '=', authVersion)
        .where('users.disabled_at', 'is', null)
        .where('clients.id', '=', session.clientId)
        .where('clients.disabled_at', 'is', null)
        .where('clients.revoked_seq', '<=', rev)
        .select(({ val, ref }) => [
          val(session.id).as('id'),
          ref('users.id').as('user_id'),
          ref('clients.id').as('client_id'),
          val(session.scopes.join(' ')).as('scopes'),
          val(session.amr.join(' ')).as('amr'),
          val(session.authAt).as('auth_at'),
          val(session.createdAt).as('created_at'),
          val(session.idleExpiresAt).as('idle_expires_at'),
          val(session.expiresAt).as('expires_at'),
          val(session.address).as('address'),
          val(session.userAgent).as('user_agent'),
          val(session.salt).as('salt')
        ])
        .$if(locksRows, (query) => query.forShare())
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('sessions')
        .columns([
          'id',
          'user_id',
          'client_id',
          'scopes',
          'amr',
          'auth_at',
          'created_at',
          'idle_expires_at',
          'expires_at',
          'address',
          'user_agent',
          'salt'
        ])
        .expression(allowed)
        .executeTakeFirstOrThrow()
      return numInsertedOrUpdatedRows === 1n
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

    rotate: (id, client, counter, leeway, now) =>
      db.transaction().execute(async (trx) => {
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

        // No lock: those who retry need not wait for one another.
        const row = await trx.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst()
        if (row === undefined || row.client_id !== client.id) return 'unknown'
        if (row.ended_at !== null || row.idle_expires_at <= now || counter >= row.counter) return 'unknown'
        // Whoever waited for the other, or has a clock that is behind, asks from before the renewal.
        const sinceRenewal = Math.max(0, now - (row.rotated_at ?? 0))
        if (counter === row.counter - 1 && sinceRenewal < leeway) return 'retried'
        // Counters only grow, so it stays reused; of many at once one ends the session.
        const { numUpdatedRows: ends } = await trx
          .updateTable('sessions')
          .set(ended(now))
          .where('id', '=', id)
          .where('ended_at', 'is', null)
          .executeTakeFirstOrThrow()
        if (ends === 0n) return 'unknown'
        await log(trx, [{ kind: 'session', id }], now)
        return 'reused'
      }),

    end: (which, now) =>
      db.transaction().execute(async (trx) => {
        const ids = await endSessions(trx, which, now, locksRows)
        await log(
          trx,
          ids.map((id) => ({ kind: 'session', id })),
          now
        )
        return ids.length
      })
  }
}
