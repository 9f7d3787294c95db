import type { Millis } from '../domain/model.ts'
import type { LoginStore } from '../domain/ports/logins.ts'
import { LOGINS_MAX } from '../limits.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { type Db, needsRowLocks } from './columns.ts'
import { keep } from './locks.ts'
import { selectActiveLogins, toLogin } from './login-rows.ts'
import { appendRevocations } from './revocations.ts'
import { endedAt, endSessionsOfLogins, entriesOf } from './session-ends.ts'
import type { Database, RecordEvent } from './transaction.ts'

/** Milliseconds between two writes of `last_used_at`. */
const TOUCH_MS = 60_000

/**
 * Ends logins of one user with what depends on them: their authorizations, and their sessions at first-party clients. Returns how many it ended.
 * Locks in the order logins, authorizations, sessions; so does the redemption of a code.
 */
export async function endLogins(
  trx: Db,
  { ids, userId, now }: { ids: string[]; userId: string; now: Millis },
  record: (id: string) => void
): Promise<number> {
  if (ids.length === 0) return 0
  const ended = await trx
    .updateTable('logins')
    .set(endedAt(now))
    .where('id', 'in', ids)
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .returning('id')
    .execute()
  const loginIds = ended.map(({ id }) => id)
  if (loginIds.length === 0) return 0
  await endAuthorizations(trx, { loginIds })
  const sessions = await endSessionsOfLogins(trx, { loginIds, now })
  await appendRevocations(trx, await entriesOf(trx, sessions), now)
  loginIds.forEach(record)
  return ended.length
}

/**
 * Ends a login, because its user has signed in again in the same browser. What the login opened goes on with the new login: other tabs and
 * apps stay signed in, and a code that is on its way can be redeemed. Locks as `endLogins` does. Returns whether the login was active.
 */
async function replaceLogin(
  trx: Db,
  { from, to, now }: { from: string; to: { id: string; userId: string; authVersion: number }; now: Millis }
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('logins')
    .set(endedAt(now))
    .where('id', '=', from)
    .where('user_id', '=', to.userId)
    .where('auth_version', '=', to.authVersion)
    .where('ended_at', 'is', null)
    .executeTakeFirstOrThrow()
  if (numUpdatedRows !== 1n) return false
  const ofLogin = { login_id: to.id }
  await trx
    .updateTable('authorizations')
    .set(ofLogin)
    .where('login_id', '=', from)
    .where('state', 'in', ['signed_in', 'code'])
    .execute()
  await trx.updateTable('sessions').set(ofLogin).where('login_id', '=', from).where('ended_at', 'is', null).execute()
  return true
}

/** Returns the ids of the logins by which a user has more than `LOGINS_MAX`: those that were not used for the longest time. */
async function surplusOf(trx: Db, { id, userId, now }: { id: string; userId: string; now: Millis }): Promise<string[]> {
  const rows = await selectActiveLogins(trx, now)
    .select('logins.id')
    .where('logins.user_id', '=', userId)
    .where('logins.id', '!=', id)
    .orderBy('logins.last_used_at', 'desc')
    .orderBy('logins.id', 'desc')
    // SQLite accepts an offset only after a limit.
    .limit(1_000_000)
    .offset(LOGINS_MAX - 1)
    .execute()
  return rows.map((row) => row.id)
}

export function logins({ db, transaction }: Database): LoginStore {
  return {
    open: (caller, { login, tokenHash, replaces }) =>
      transaction(async (trx, record) => {
        const row = {
          id: login.id,
          token_hash: tokenHash,
          user_id: login.userId,
          auth_version: login.authVersion,
          amr: login.amr.join(' '),
          auth_at: login.authAt,
          last_used_at: login.lastUsedAt,
          idle_expires_at: login.idleExpiresAt,
          expires_at: login.expiresAt,
          address: login.address,
          user_agent: login.userAgent
        }
        const columns = Object.keys(row) as (keyof typeof row)[]
        const allowed = trx
          .selectFrom('users')
          .where('id', '=', login.userId)
          .where('auth_version', '=', login.authVersion)
          .where('disabled_at', 'is', null)
          .select(({ val }) => columns.map((column) => val(row[column]).as(column)))
          .$if(needsRowLocks(trx), (query) => query.forNoKeyUpdate())
        const { numInsertedOrUpdatedRows } = await trx
          .insertInto('logins')
          .columns(columns)
          .expression(allowed)
          .executeTakeFirstOrThrow()
        if (numInsertedOrUpdatedRows !== 1n) return false
        const now = login.authAt
        const recordEnd = (id: string) =>
          record({ type: 'login.ended', caller, subject: { user: login.userId, login: id } })
        record({
          type: 'login.succeeded',
          caller,
          subject: { user: login.userId, login: login.id },
          reason: login.amr.join(' ')
        })
        if (replaces !== null && (await replaceLogin(trx, { from: replaces, to: login, now }))) recordEnd(replaces)
        const surplus = await surplusOf(trx, { id: login.id, userId: login.userId, now })
        await endLogins(trx, { ids: surplus.toSorted(), userId: login.userId, now }, recordEnd)
        return true
      }),

    async use(tokenHash, { now, idleTtl }) {
      const row = await selectActiveLogins(db, now)
        .selectAll('logins')
        .where('token_hash', '=', tokenHash)
        .executeTakeFirst()
      if (row === undefined) return null
      if (now - row.last_used_at < TOUCH_MS) return toLogin(row)
      const idleUntil = Math.min(now + idleTtl, row.expires_at)
      await db
        .updateTable('logins')
        .set({ last_used_at: now, idle_expires_at: idleUntil })
        .where('id', '=', row.id)
        .where('ended_at', 'is', null)
        .where('last_used_at', '<', now)
        .execute()
      return toLogin({ ...row, last_used_at: now, idle_expires_at: idleUntil })
    },

    async list(userId, { after, limit }, now) {
      const rows = await selectActiveLogins(db, now)
        .selectAll('logins')
        .where('logins.user_id', '=', userId)
        .$if(after !== null, (query) => query.where('logins.id', '>', after as string))
        .orderBy('logins.id')
        .limit(limit)
        .execute()
      return rows.map(toLogin)
    },

    end: (caller, { id, userId, now }) =>
      transaction(async (trx, record: RecordEvent) => {
        await keep(trx, { userId })
        const ended = await endLogins(trx, { ids: [id], userId, now }, () =>
          record({ type: 'login.ended', caller, subject: { user: userId, login: id } })
        )
        return ended === 1
      })
  }
}
