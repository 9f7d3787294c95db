import type { Kysely, Selectable } from 'kysely'
import type { StoredKey } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

const toKey = (row: Selectable<Tables['signing_keys']>): StoredKey => ({
  kid: row.kid,
  alg: row.alg,
  publicJwk: JSON.parse(row.public_jwk),
  sealedPrivateKey: row.sealed_private_key,
  state: row.state,
  createdAt: row.created_at
})

/** In the caller's transaction. */
export async function insertKey(db: Kysely<Tables>, key: StoredKey): Promise<void> {
  await db
    .insertInto('signing_keys')
    .values({
      kid: key.kid,
      alg: key.alg,
      public_jwk: JSON.stringify(key.publicJwk),
      sealed_private_key: key.sealedPrivateKey,
      state: key.state,
      created_at: key.createdAt
    })
    .execute()
}

export function keys(db: Kysely<Tables>): Store['keys'] {
  const select = db.selectFrom('signing_keys').selectAll()
  return {
    async list() {
      const rows = await select.where('state', '!=', 'retired').orderBy('created_at').orderBy('kid').execute()
      return rows.map(toKey)
    },
    async signing() {
      const row = await select.where('state', '=', 'signing').executeTakeFirst()
      return row === undefined ? null : toKey(row)
    },
    async find(kid) {
      const row = await select.where('kid', '=', kid).executeTakeFirst()
      return row === undefined ? null : toKey(row)
    }
  }
}
