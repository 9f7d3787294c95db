import type { Kysely } from 'kysely'
import type { Store, Tries } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

const PRUNED_AT_ONCE = 1000

const toTries = (row: Tables['guesses']): Tries => ({
  key: row.key,
  count: row.count,
  lastAt: row.last_at,
  expiresAt: row.expires_at
})

/** @param locksRows whether rows must be locked one by one */
export function guesses(db: Kysely<Tables>, locksRows: boolean): Store['guesses'] {
  return {
    count: (keys, decide) =>
      db.transaction().execute(async (trx) => {
        // In one order for everyone, so that nobody waits in a circle. A row that was not there is made to have one to lock.
        const rows = await trx
          .insertInto('guesses')
          .values([...keys].sort().map((key) => ({ key, count: 0, last_at: 0, expires_at: 0 })))
          .onConflict((conflict) => conflict.column('key').doUpdateSet(({ ref }) => ({ key: ref('excluded.key') })))
          .returningAll()
          .execute()
        const before = new Map(rows.map((row) => [row.key, toTries(row)]))
        const { next, result } = decide(before)
        const after = [...new Map([...before, ...next.map((tries) => [tries.key, tries] as const)]).values()]
        for (const { key, count, lastAt, expiresAt } of next) {
          if (count === 0) continue
          await trx
            .updateTable('guesses')
            .set({ count, last_at: lastAt, expires_at: expiresAt })
            .where('key', '=', key)
            .execute()
        }
        const forgotten = after.filter(({ count }) => count === 0).map(({ key }) => key)
        if (forgotten.length > 0) await trx.deleteFrom('guesses').where('key', 'in', forgotten).execute()
        return result
      }),

    async prune(now) {
      const expired = db
        .selectFrom('guesses')
        .select('key')
        .where('expires_at', '<=', now)
        .limit(PRUNED_AT_ONCE)
        .$if(locksRows, (query) => query.forUpdate().skipLocked())
      await db.deleteFrom('guesses').where('key', 'in', expired).execute()
    }
  }
}
