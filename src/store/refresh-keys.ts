import type { Selectable } from 'kysely'
import type { Millis, RefreshKey } from '../domain/model.ts'
import type { RefreshKeyStore } from '../domain/ports/sessions.ts'
import type { Db } from './columns.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'

const toKey = (row: Selectable<Tables['refresh_keys']>): RefreshKey => ({
  id: row.id,
  sealedKey: row.sealed_key,
  createdAt: row.created_at
})

/** Inserts a refresh key as the current key. No other key may be current. */
export async function insertRefreshKey(trx: Db, { id, sealedKey, createdAt }: RefreshKey): Promise<void> {
  await trx
    .insertInto('refresh_keys')
    .values({ id, sealed_key: sealedKey, state: 'current', created_at: createdAt })
    .execute()
}

/** Replaces the current refresh key. The previous key verifies until `verifiesUntil`. The transaction must hold the lock `keys`. */
export async function replaceRefreshKey(trx: Db, key: RefreshKey, verifiesUntil: Millis): Promise<void> {
  await trx
    .updateTable('refresh_keys')
    .set({ state: 'verifying', verifies_until_at: verifiesUntil })
    .where('state', '=', 'current')
    .execute()
  await insertRefreshKey(trx, key)
}

export function refreshKeys({ db }: Database): RefreshKeyStore {
  return {
    async current() {
      const row = await db.selectFrom('refresh_keys').selectAll().where('state', '=', 'current').executeTakeFirst()
      return row === undefined ? null : toKey(row)
    },

    async expire(now) {
      const { numDeletedRows } = await db
        .deleteFrom('refresh_keys')
        .where('state', '=', 'verifying')
        .where('verifies_until_at', '<=', now)
        .executeTakeFirstOrThrow()
      return Number(numDeletedRows)
    }
  }
}
