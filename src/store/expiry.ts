import type { Kysely } from 'kysely'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'
import { GRACE_MS } from './sessions.ts'

/** How many rows of a table go at once: others wait no longer for a transaction than that. */
const ROWS_AT_ONCE = 500

/** No lease is longer. */
const LONGEST_MS = 600_000

/** @param locksRows whether rows that somebody else holds must be passed over */
export function expiry(db: Kysely<Tables>, locksRows: boolean): Store['expiry'] {
  return {
    async lead(now, until) {
      const { numUpdatedRows } = await db
        .updateTable('leases')
        .set({ until_at: until })
        .where('name', '=', 'sweep')
        // One that is far ahead was written by a clock that was.
        .where((eb) => eb.or([eb('until_at', '<=', now), eb('until_at', '>', until + LONGEST_MS)]))
        .executeTakeFirstOrThrow()
      return numUpdatedRows === 1n
    },

    async prune(now) {
      const before = now - GRACE_MS
      const sessions = db.selectFrom('sessions').select('id').where('idle_expires_at', '<=', before).limit(ROWS_AT_ONCE)
      const guesses = db.selectFrom('guesses').select('key').where('expires_at', '<=', before).limit(ROWS_AT_ONCE)
      const entries = db.selectFrom('revocations').select('seq').where('expires_at', '<=', before).limit(ROWS_AT_ONCE)
      const assertions = db
        .selectFrom('client_assertions')
        .select('jti_hash')
        .where('expires_at', '<=', before)
        .limit(ROWS_AT_ONCE)
      const secrets = db.selectFrom('client_secrets').select('id').where('expires_at', '<=', before).limit(ROWS_AT_ONCE)
      const free = <Query extends { forUpdate(): { skipLocked(): Query } }>(query: Query): Query =>
        locksRows ? query.forUpdate().skipLocked() : query
      const results = [
        await db.deleteFrom('sessions').where('id', 'in', free(sessions)).executeTakeFirstOrThrow(),
        await db.deleteFrom('guesses').where('key', 'in', free(guesses)).executeTakeFirstOrThrow(),
        await db
          .deleteFrom('client_assertions')
          .where('jti_hash', 'in', free(assertions))
          // Another client may have used the same jti since.
          .where('expires_at', '<=', before)
          .executeTakeFirstOrThrow(),
        await db.deleteFrom('client_secrets').where('id', 'in', free(secrets)).executeTakeFirstOrThrow(),
        await db.deleteFrom('revocations').where('seq', 'in', free(entries)).executeTakeFirstOrThrow()
      ]
      return results.reduce((sum, { numDeletedRows }) => sum + Number(numDeletedRows), 0)
    }
  }
}
