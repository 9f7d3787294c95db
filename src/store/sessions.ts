import { type Selectable, type SelectQueryBuilder, sql } from 'kysely'
import { defined } from '../defined.ts'
import type { Caller } from '../domain/caller.ts'
import type { Millis, Session, StoredSession } from '../domain/model.ts'
import type { SessionFilter, SessionStore } from '../domain/ports/sessions.ts'
import { SESSION_ENTRIES_MAX, SESSIONS_MAX } from '../limits.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { appendRevocations, type NewRevocation, resourcesOf } from './revocations.ts'
import type { Tables } from './schema.ts'
import type { Database, RecordEvent } from './transaction.ts'

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
  endedAt: row.ended_at,
  loginId: row.login_id
})

/** The columns of an ended session. They make the session expire, so the removal of expired sessions also removes ended sessions. */
export const endedAt = (now: Millis) => ({ ended_at: now, idle_expires_at: now })

/** The row of an ended session with the members that its entry in the revocation log needs. */
type EndedRow = Pick<Tables['sessions'], 'id' | 'user_id' | 'scopes'>

/**
 * Ends all matching sessions in one statement and returns them. The caller must append an entry that revokes their tokens to the
 * revocation log. Locks the sessions in the order of their ids, so that two such transactions cannot deadlock.
 */
export function endSessions(
  trx: Db,
  { id, userId, clientId, except, now }: SessionFilter & { now: Millis }
): Promise<EndedRow[]> {
  const matching = trx
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
  return endRows(trx, matching, now)
}

/** Ends the active sessions that the logins of browsers have opened at first-party clients. */
export function endSessionsOfLogins(
  trx: Db,
  { loginIds, now }: { loginIds: string[]; now: Millis }
): Promise<EndedRow[]> {
  const matching = trx
    .selectFrom('sessions')
    .select('id')
    .where('login_id', 'in', loginIds)
    .where('ended_at', 'is', null)
    .where('idle_expires_at', '>', now - GRACE_MS)
    .where('client_id', 'in', trx.selectFrom('clients').select('clients.id').where('first_party', '=', 1))
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forUpdate())
  return endRows(trx, matching, now)
}

const endRows = (trx: Db, ids: SelectQueryBuilder<Tables, 'sessions', { id: string }>, now: Millis) =>
  trx
    .with('matching', () => ids)
    .updateTable('sessions')
    .from('matching')
    .set(endedAt(now))
    .whereRef('sessions.id', '=', 'matching.id')
    .returning(['sessions.id', 'sessions.user_id', 'sessions.scopes'])
    .execute()

/**
 * Returns the entries that revoke the tokens of ended sessions: one for each session, or one for the user of many sessions. An entry
 * for the user also revokes the access tokens of sessions that continue, which must then be renewed.
 */
export async function entriesOf(trx: Db, rows: EndedRow[]): Promise<NewRevocation[]> {
  const byUser = Map.groupBy(rows, ({ user_id }) => user_id)
  const few = [...byUser.values()].filter((ofUser) => ofUser.length <= SESSION_ENTRIES_MAX).flat()
  const many = [...byUser].filter(([, ofUser]) => ofUser.length > SESSION_ENTRIES_MAX)
  const resources = await resourcesOf(trx, [...new Set(few.flatMap(({ scopes }) => words(scopes)))])
  return [
    ...few
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, user_id, scopes }) => ({
        kind: 'session' as const,
        id,
        userId: user_id,
        sid: id,
        resources: [...new Set(words(scopes).flatMap((scope) => resources.get(scope) ?? []))]
      })),
    ...many.map(([id]) => ({ kind: 'user' as const, id, userId: id }))
  ]
}

/** The reason of the event of a session that a login has ended. */
const TOO_MANY = `the user has more than ${SESSIONS_MAX} sessions`

/**
 * Inserts a session if user and client still allow it. Locks the user, so that concurrent logins of one user insert their
 * sessions one after the other. Returns whether it inserted the session.
 */
export async function insertSession(
  trx: Db,
  session: Session,
  { authVersion, rev }: { authVersion: number; rev: number }
): Promise<boolean> {
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
    login_id: session.loginId,
    counter: 0
  }
  const columns = Object.keys(row) as (keyof typeof row)[]
  const allowed = trx
    .selectFrom(['users', 'clients'])
    .where('users.id', '=', session.userId)
    .where('users.auth_version', '=', authVersion)
    .where('users.disabled_at', 'is', null)
    .where('clients.id', '=', session.clientId)
    .where('clients.disabled_at', 'is', null)
    .where('clients.revoked_seq', '<=', rev)
    .select(({ val }) => columns.map((column) => val(row[column]).as(column)))
    .$if(needsRowLocks(trx), (query) => query.forNoKeyUpdate('users').forShare('clients'))
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('sessions')
    .columns(columns)
    .expression(allowed)
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

/**
 * Ends the sessions by which the user has more than `SESSIONS_MAX`: those that were not used for the longest time. Ends at most
 * `SESSION_ENTRIES_MAX`, so that each has an entry of its own in the revocation log. An entry for the user would revoke the tokens of this
 * login.
 */
async function endSurplus(trx: Db, { id, userId, createdAt: now }: Session): Promise<EndedRow[]> {
  const rows = await trx
    .selectFrom('sessions')
    .select('id')
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .where('idle_expires_at', '>', now)
    .where('id', '!=', id)
    .orderBy(sql`coalesce(rotated_at, created_at)`, 'desc')
    .orderBy('id', 'desc')
    // SQLite accepts an offset only after a limit.
    .limit(1_000_000)
    .offset(SESSIONS_MAX - 1)
    .execute()
  const ids = rows.slice(-SESSION_ENTRIES_MAX).map((row) => row.id)
  if (ids.length === 0) return []
  const surplus = trx
    .selectFrom('sessions')
    .select('id')
    .where('id', 'in', ids)
    .where('ended_at', 'is', null)
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forUpdate())
  return endRows(trx, surplus, now)
}

/** Ends the surplus of sessions after a new one, and records an event for each. */
export async function recordSurplus(
  trx: Db,
  session: Session,
  { caller, record }: { caller: Caller; record: RecordEvent }
): Promise<void> {
  const { userId: user, createdAt: now } = session
  const surplus = await endSurplus(trx, session)
  await appendRevocations(trx, await entriesOf(trx, surplus), now)
  for (const { id } of surplus)
    record({ type: 'session.ended', caller, subject: { user, session: id }, reason: TOO_MANY })
}

export function sessions({ db, transaction }: Database): SessionStore {
  return {
    open: (caller, { session, authVersion, rev }) =>
      transaction(async (trx, record) => {
        if (!(await insertSession(trx, session, { authVersion, rev }))) return false
        const { userId: user, clientId: client } = session
        record({
          type: 'login.succeeded',
          caller,
          subject: { user, client, session: session.id },
          reason: session.amr.join(' ')
        })
        await recordSurplus(trx, session, { caller, record })
        return true
      }),

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
          .set(endedAt(now))
          .where('id', '=', id)
          .where('ended_at', 'is', null)
          .executeTakeFirstOrThrow()
        if (endedRows === 0n) return 'unknown'
        await appendRevocations(trx, await entriesOf(trx, [row]), now)
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
        const rows = await endSessions(trx, { ...filter, now })
        await appendRevocations(trx, await entriesOf(trx, rows), now)
        const { id: session, userId: user, clientId: client } = filter
        const reason = rows.length === 1 ? '1 session' : `${rows.length} sessions`
        if (rows.length > 0)
          record({ type: 'session.ended', caller, subject: defined({ session, user, client }), reason })
        return rows.length
      })
  }
}
