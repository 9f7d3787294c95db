import type { Kysely, Selectable } from 'kysely'
import type { Millis, RefreshKey } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

const toKey = (row: Selectable<Tables['refresh_keys']> | undefined): RefreshKey | null =>
  row === undefined ? null : { id: row.id, sealedKey: row.sealed_key, createdAt: row.created_at }

/** Makes it the current one unless there is one; in the caller's transaction. */
export async function insertRefreshKey(db: Kysely<Tables>, { id, sealedKey, createdAt }: RefreshKey): Promise<void> {
  await db
    .insertInto('refresh_keys')
    .values({ id, sealed_key: sealedKey, state: 'current', created_at: createdAt })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** Makes it the current one in place of the one that is; in the caller's transaction, under the lock `keys`. */
export async function makeCurrent(trx: Kysely<Tables>, key: RefreshKey, verifiesUntil: Millis): Promise<void> {
  await trx
    .updateTable('refresh_keys')
    .set({ state: 'verifying', verifies_until_at: verifiesUntil })
    .where('state', '=', 'current')
    .execute()
  await insertRefreshKey(trx, key)
}

export function refreshKeys(db: Kysely<Tables>): Store['refreshKeys'] {
  const select = db.selectFrom('refresh_keys').selectAll()
  return {
    current: async () => toKey(await select.where('state', '=', 'current').executeTakeFirst()),
    find: async (id) => toKey(await select.where('id', '=', id).executeTakeFirst()),
    create: (key) => insertRefreshKey(db, key),
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
