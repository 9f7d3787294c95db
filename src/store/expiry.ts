import { sql } from 'kysely'
import type { Millis } from '../domain/model.ts'
import type { ExpiryStore } from '../domain/ports/revocations.ts'
import { needsRowLocks } from './columns.ts'
import type { Tables } from './schema.ts'
import { GRACE_MS } from './session-ends.ts'
import type { Database } from './transaction.ts'

/** Maximum number of rows that one statement removes, which limits the wait of other transactions. */
const ROWS_PER_DELETE = 500

/** The time for which a code is remembered after its expiry, so that its second use still ends the session that it opened. */
const REPLAY_MS = 3_600_000

/** Longer than any lease. */
const MAX_LEASE_MS = 600_000

export function expiry({ db }: Database): ExpiryStore {
  /**
   * Removes rows whose column `ends` is at most an instant, up to a limit. Leaves out rows that another transaction has locked. Returns how
   * many it removed.
   */
  async function remove(table: keyof Tables, { key, ends, until }: { key: string; ends: string; until: Millis }) {
    const { numAffectedRows = 0n } = await sql`delete from ${sql.table(table)}
      where ${sql.ref(key)} in (
        select ${sql.ref(key)} from ${sql.table(table)} where ${sql.ref(ends)} <= ${until} limit ${ROWS_PER_DELETE}
        ${needsRowLocks(db) ? sql`for update skip locked` : sql``})
      and ${sql.ref(ends)} <= ${until}`.execute(db)
    return Number(numAffectedRows)
  }

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
      const expired = { ends: 'expires_at', until }
      return (
        (await remove('authorizations', { key: 'id', ends: 'expires_at', until: until - REPLAY_MS })) +
        // The removal of a login removes its authorizations.
        (await remove('logins', { key: 'id', ends: 'idle_expires_at', until: until - REPLAY_MS })) +
        (await remove('logout_notices', { key: 'session_id', ...expired })) +
        (await remove('sessions', { key: 'id', ends: 'idle_expires_at', until })) +
        (await remove('guesses', { key: 'key', ...expired })) +
        // Two clients may have assertions with the same `jti_hash`, and one of them may not have expired.
        (await remove('client_assertions', { key: 'jti_hash', ...expired })) +
        (await remove('client_secrets', { key: 'id', ...expired })) +
        (await remove('revocation_quotas', { key: 'writer', ends: 'until_at', until })) +
        (await remove('revocations', { key: 'seq', ...expired }))
      )
    }
  }
}
