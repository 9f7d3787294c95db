import type { Kysely } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import type { Store, Tries } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

const toTries = (row: Tables['guesses']): Tries => ({
  key: row.key,
  count: row.count,
  lastAt: row.last_at,
  expiresAt: row.expires_at
})

/** Of the connections of a pool, so that counting, where many wait for one row, leaves some to everything else. */
const CONNECTIONS = 3
const PATIENCE_MS = 1000

function createLanes() {
  const waiting: (() => void)[] = []
  let free = CONNECTIONS

  return async function run<T>(work: () => Promise<T>): Promise<T> {
    if (free > 0) free--
    else {
      await new Promise<void>((resolve, reject) => {
        const enter = () => {
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(enter), 1)
          reject(new DomainError('unavailable', 'Too many logins at once', { retryAfter: 1 }))
        }, PATIENCE_MS)
        waiting.push(enter)
      })
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

export function guesses(db: Kysely<Tables>): Store['guesses'] {
  const inLane = createLanes()

  const count: Store['guesses']['count'] = (keys, decide) =>
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
    })

  return {
    async read(keys) {
      const rows = await db.selectFrom('guesses').selectAll().where('key', 'in', keys).execute()
      return new Map(rows.map((row) => [row.key, toTries(row)]))
    },

    count: (keys, decide) => inLane(() => count(keys, decide))
  }
}
