import { DomainError } from '../domain/errors.ts'
import type { GuessCount, GuessStore } from '../domain/ports/guesses.ts'
import { COUNT_WAIT_MS } from '../limits.ts'
import { createQueue } from '../queue.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'

/** Number of transactions that count at once. The pool has more connections, so other requests do not wait for a locked row. */
const CONNECTIONS = 3

const toCount = (row: Tables['guesses']): GuessCount => ({
  key: row.key,
  count: row.count,
  lastAt: row.last_at,
  expiresAt: row.expires_at
})

export function guesses({ db, transaction }: Database): GuessStore {
  const queue = createQueue({
    concurrency: CONNECTIONS,
    maxWaitMs: COUNT_WAIT_MS,
    refuse: () => new DomainError('unavailable', 'Too many logins at once', { retryAfter: 1 })
  })

  return {
    async read(keys) {
      const rows = await db.selectFrom('guesses').selectAll().where('key', 'in', keys).execute()
      return new Map(rows.map((row) => [row.key, toCount(row)]))
    },

    count: (keys, decide) =>
      queue.run(() =>
        transaction(async (trx) => {
          // Locks the rows, and inserts a row for each new key. The keys are sorted, so that two calls cannot deadlock.
          const rows = await trx
            .insertInto('guesses')
            .values([...keys].sort().map((key) => ({ key, count: 0, last_at: 0, expires_at: 0 })))
            .onConflict((conflict) => conflict.column('key').doUpdateSet(({ ref }) => ({ key: ref('excluded.key') })))
            .returningAll()
            .execute()
          const before = new Map(rows.map((row) => [row.key, toCount(row)]))
          const { next, result } = decide(before)
          const after = [...new Map([...before, ...next.map((counter) => [counter.key, counter] as const)]).values()]
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
        })
      )
  }
}
