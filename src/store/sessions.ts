import { type Selectable, sql } from 'kysely'
import { defined } from '../defined.ts'
import type { Caller } from '../domain/caller.ts'
import type { Millis, Session, StoredSession } from '../domain/model.ts'
import type { SessionStore } from '../domain/ports/sessions.ts'
import { SESSION_ENTRIES_MAX, SESSIONS_MAX } from '../limits.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { createRenew } from './renewals.ts'
import { appendRevocations, LAST_REVOCATION } from './revocations.ts'
import type { Tables } from './schema.ts'
import { type EndedRow, endAndNotify, endedAt, endSessions, entriesOf, selectForEnd } from './session-ends.ts'
import { preparedRead, type SlotOf } from './statements.ts'
import type { Database, RecordEvent } from './transaction.ts'
import { ROLES, SCOPES, toUser } from './user-rows.ts'

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
async function endLeastUsed(trx: Db, { id, userId, createdAt: now }: Session): Promise<EndedRow[]> {
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
  return endAndNotify(trx, selectForEnd(trx, now).where('id', 'in', ids), { now, informed: null })
}

/** Ends the surplus of sessions after a new one, and records an event for each. */
export async function endSurplus(
  trx: Db,
  session: Session,
  { caller, record }: { caller: Caller; record: RecordEvent }
): Promise<void> {
  const { userId: user, createdAt: now } = session
  const surplus = await endLeastUsed(trx, session)
  await appendRevocations(trx, await entriesOf(trx, surplus), now)
  for (const { id } of surplus)
    record({ type: 'session.ended', caller, subject: { user, session: id }, reason: TOO_MANY })
}

/** Ends the logins of a user in browsers, except the one of a session, and records an event for each. Locks the user as a new login does. */
async function endLoginsOf(
  trx: Db,
  { userId, except, now }: { userId: string; except: string | null; now: Millis },
  record: (login: string) => void
): Promise<void> {
  if (needsRowLocks(trx)) await trx.selectFrom('users').select('id').where('id', '=', userId).forNoKeyUpdate().execute()
  const ended = await trx
    .updateTable('logins')
    .set(endedAt(now))
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('sessions')
            .select('sessions.id')
            .where('sessions.id', '=', except)
            .whereRef('sessions.login_id', '=', 'logins.id')
        )
      )
    )
    .returning('id')
    .execute()
  const loginIds = ended.map(({ id }) => id)
  if (loginIds.length > 0) await endAuthorizations(trx, { loginIds })
  loginIds.forEach(record)
}

export function sessions(database: Database): SessionStore {
  const { db, statements, transaction } = database
  const findPresented = preparedRead(
    statements,
    (slot: SlotOf<{ id: string; keyId: string }>) =>
      db
        .selectFrom('sessions')
        .innerJoin('users', 'users.id', 'sessions.user_id')
        .innerJoin('refresh_keys', (join) => join.on('refresh_keys.id', '=', slot('keyId')))
        .selectAll('sessions')
        .select(['username', 'email', 'full_name', 'disabled_at', 'updated_at', 'users.created_at as user_created_at'])
        .select([ROLES.as('roles'), SCOPES.as('role_scopes')])
        .select(['refresh_keys.id as key_id', 'sealed_key', 'refresh_keys.created_at as key_created_at'])
        .select(LAST_REVOCATION.as('rev'))
        .where('sessions.id', '=', slot('id')),
    ([row]) =>
      row === undefined
        ? null
        : {
            session: toSession(row),
            key: { id: row.key_id, sealedKey: row.sealed_key, createdAt: row.key_created_at },
            user: {
              ...toUser({ ...row, id: row.user_id, created_at: row.user_created_at }),
              scopes: words(row.role_scopes)
            },
            rev: row.rev
          }
  )

  const renew = createRenew(database)

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
        await endSurplus(trx, session, { caller, record })
        return true
      }),

    presented: (id, keyId) => findPresented({ id, keyId }),

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

    async rotate(caller, { id, client, counter, leeway, now }) {
      const idleUntil = now + client.sessionIdleTtl * 1000
      if (await renew({ id, clientId: client.id, counter, now, idleUntil })) return 'rotated'
      return transaction(async (trx, record) => {
        // Reads without a lock, so that retries do not wait for one another.
        const row = await trx.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst()
        if (row === undefined || row.client_id !== client.id) return 'unknown'
        if (row.ended_at !== null || row.idle_expires_at <= now || counter >= row.counter) return 'unknown'
        // `now` can be before the renewal: this call may have waited for the other call, or its clock may be behind.
        const sinceRenewal = Math.max(0, now - (row.rotated_at ?? 0))
        if (counter === row.counter - 1 && sinceRenewal < leeway) return 'retried'
        // Counters only grow, so this result is still correct without a lock. Only one of concurrent calls ends the session.
        const ended = await endSessions(trx, { id, now })
        if (ended.length === 0) return 'unknown'
        await appendRevocations(trx, await entriesOf(trx, ended), now)
        record({
          type: 'session.replayed',
          caller,
          subject: { user: row.user_id, client: client.id, session: id },
          outcome: 'failure'
        })
        return 'reused'
      })
    },

    end: (caller, { now, ...filter }) =>
      transaction(async (trx, record) => {
        const { id, userId, clientId, except = null } = filter
        if (id === undefined && clientId === undefined && userId !== undefined)
          await endLoginsOf(trx, { userId, except, now }, (login) =>
            record({ type: 'login.ended', caller, subject: { user: userId, login } })
          )
        const rows = await endSessions(trx, { ...filter, now, informed: caller.kind === 'client' ? caller.id : null })
        await appendRevocations(trx, await entriesOf(trx, rows), now)
        const subject = defined({ session: id, user: userId, client: clientId })
        const reason = rows.length === 1 ? '1 session' : `${rows.length} sessions`
        if (rows.length > 0) record({ type: 'session.ended', caller, subject, reason })
        return rows.length
      })
  }
}
