import type { ExpiryStore } from '../domain/ports/revocations.ts'
import { needsRowLocks } from './columns.ts'
import { GRACE_MS } from './sessions.ts'
import type { Database } from './transaction.ts'

/** Maximum number of rows that one statement removes, which limits the wait of other transactions. */
const ROWS_PER_DELETE = 500

/** The time for which a code is remembered after its expiry, so that its second use still ends the session that it opened. */
const REPLAY_MS = 3_600_000

/** Longer than any lease. */
const MAX_LEASE_MS = 600_000

export function expiry({ db }: Database): ExpiryStore {
  /** Makes a query leave out rows that another transaction has locked. */
  const skipLocked = <Query extends { forUpdate(): { skipLocked(): Query } }>(query: Query): Query =>
    needsRowLocks(db) ? query.forUpdate().skipLocked() : query

  return {
    async takeLease(now, until) {
      const { numUpdatedRows } = await db
        .updateTable('leases')
        .set({ until_at: until })
        .where('name', '=', 'sweep')
        // Ignores a lease that ends later than any correct lease: an instance with a fast clock took it.
        .where((eb) => eb.or([eb('until_at', '<=', now), eb('until_at', '>', until + MAX_LEASE_MS)]))
        .executeTakeFirstOrThrow()
      return numUpdatedRows === 1n
    },

    async prune(now) {
      const until = now - GRACE_MS
      const sessions = db
        .selectFrom('sessions')
        .select('id')
        .where('idle_expires_at', '<=', until)
        .limit(ROWS_PER_DELETE)
      const guesses = db.selectFrom('guesses').select('key').where('expires_at', '<=', until).limit(ROWS_PER_DELETE)
      const entries = db.selectFrom('revocations').select('seq').where('expires_at', '<=', until).limit(ROWS_PER_DELETE)
      const assertions = db
        .selectFrom('client_assertions')
        .select('jti_hash')
        .where('expires_at', '<=', until)
        .limit(ROWS_PER_DELETE)
      const secrets = db
        .selectFrom('client_secrets')
        .select('id')
        .where('expires_at', '<=', until)
        .limit(ROWS_PER_DELETE)
      const quotas = db
        .selectFrom('revocation_quotas')
        .select('writer')
        .where('until_at', '<=', until)
        .limit(ROWS_PER_DELETE)
      const authorizations = db
        .selectFrom('authorizations')
        .select('id')
        .where('expires_at', '<=', until - REPLAY_MS)
        .limit(ROWS_PER_DELETE)
      const logins = db.selectFrom('logins').select('id').where('idle_expires_at', '<=', until).limit(ROWS_PER_DELETE)
      const notices = db
        .selectFrom('logout_notices')
        .select('id')
        .where('expires_at', '<=', until)
        .limit(ROWS_PER_DELETE)
      const results = [
        await db.deleteFrom('authorizations').where('id', 'in', skipLocked(authorizations)).executeTakeFirstOrThrow(),
        await db.deleteFrom('logins').where('id', 'in', skipLocked(logins)).executeTakeFirstOrThrow(),
        await db.deleteFrom('logout_notices').where('id', 'in', skipLocked(notices)).executeTakeFirstOrThrow(),
        await db.deleteFrom('sessions').where('id', 'in', skipLocked(sessions)).executeTakeFirstOrThrow(),
        await db.deleteFrom('guesses').where('key', 'in', skipLocked(guesses)).executeTakeFirstOrThrow(),
        await db
          .deleteFrom('client_assertions')
          .where('jti_hash', 'in', skipLocked(assertions))
          // Another client may have an assertion with the same `jti_hash` that has not expired.
          .where('expires_at', '<=', until)
          .executeTakeFirstOrThrow(),
        await db.deleteFrom('client_secrets').where('id', 'in', skipLocked(secrets)).executeTakeFirstOrThrow(),
        await db.deleteFrom('revocation_quotas').where('writer', 'in', skipLocked(quotas)).executeTakeFirstOrThrow(),
        await db.deleteFrom('revocations').where('seq', 'in', skipLocked(entries)).executeTakeFirstOrThrow()
      ]
      return results.reduce((sum, { numDeletedRows }) => sum + Number(numDeletedRows), 0)
    }
  }
}
