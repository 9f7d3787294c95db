import { type Kysely, type Selectable, sql } from 'kysely'
import type { Millis, StoredKey } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import { lock } from './admins.ts'
import { makeCurrent } from './refresh-keys.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'

/** In place of a private part that was wiped. */
const WIPED = ''

/** Everything that is sealed: table, id of the row, column. */
const SEALED = [
  ['signing_keys', 'kid', 'sealed_private_key'],
  ['refresh_keys', 'id', 'sealed_key'],
  ['sealed_values', 'name', 'value']
] as const

const toKey = (row: Selectable<Tables['signing_keys']>): StoredKey => ({
  kid: row.kid,
  alg: row.alg,
  publicJwk: JSON.parse(row.public_jwk),
  sealedPrivateKey: row.sealed_private_key === WIPED ? null : row.sealed_private_key,
  state: row.state,
  createdAt: row.created_at,
  signsSinceAt: row.signs_since_at ?? (row.state === 'signing' ? row.created_at : null),
  verifiesUntilAt: row.verifies_until_at,
  retiredAt: row.retired_at
})

/** In the caller's transaction. */
export async function insertKey(db: Kysely<Tables>, key: StoredKey): Promise<void> {
  await db
    .insertInto('signing_keys')
    .values({
      kid: key.kid,
      alg: key.alg,
      public_jwk: JSON.stringify(key.publicJwk),
      sealed_private_key: key.sealedPrivateKey ?? WIPED,
      state: key.state,
      created_at: key.createdAt,
      signs_since_at: key.signsSinceAt,
      verifies_until_at: key.verifiesUntilAt,
      retired_at: key.retiredAt
    })
    .execute()
}

/** The next key signs, and another is the next. The one that signed before has its new state already. */
async function advance(trx: Kysely<Tables>, next: StoredKey, now: Millis): Promise<void> {
  await trx
    .updateTable('signing_keys')
    .set({ state: 'signing', signs_since_at: now })
    .where('state', '=', 'next')
    .execute()
  await insertKey(trx, { ...next, createdAt: now })
}

const canaryIs = async (trx: Kysely<Tables>, canary: string): Promise<boolean> => {
  const row = await trx
    .selectFrom('sealed_values')
    .select('name')
    .where('name', '=', 'canary')
    .where('value', '=', canary)
    .executeTakeFirst()
  return row !== undefined
}

export function keys(db: Kysely<Tables>): Store['keys'] {
  const select = db.selectFrom('signing_keys').selectAll()
  const stateOf = async (trx: Kysely<Tables>, kid: string) =>
    (await trx.selectFrom('signing_keys').select('state').where('kid', '=', kid).executeTakeFirst())?.state ?? null

  return {
    async list() {
      const rows = await select.where('state', '!=', 'retired').orderBy('created_at').orderBy('kid').execute()
      return rows.map(toKey)
    },

    async page({ after, limit }) {
      const place = sql<boolean>`(created_at, kid) < (select created_at, kid from signing_keys where kid = ${after})`
      const rows = await select
        .$if(after !== null, (query) => query.where(place))
        .orderBy('created_at', 'desc')
        .orderBy('kid', 'desc')
        .limit(limit)
        .execute()
      return rows.map(toKey)
    },

    async signing() {
      const row = await select.where('state', '=', 'signing').executeTakeFirst()
      return row === undefined ? null : toKey(row)
    },

    async find(kid) {
      const row = await select.where('kid', '=', kid).executeTakeFirst()
      return row === undefined ? null : toKey(row)
    },

    rotate: ({ from, next, refreshKey, verifiesMs, refreshVerifiesMs }, clock) =>
      db.transaction().execute(async (trx) => {
        await lock(trx, 'keys')
        const now = clock()
        const states = [await stateOf(trx, from.signing), await stateOf(trx, from.next)]
        if (states.join() !== 'signing,next' || !(await canaryIs(trx, from.canary))) return false
        await trx
          .updateTable('signing_keys')
          .set({ state: 'verifying', sealed_private_key: WIPED, verifies_until_at: now + verifiesMs })
          .where('state', '=', 'signing')
          .execute()
        await advance(trx, next, now)
        await makeCurrent(trx, { ...refreshKey, createdAt: now }, now + refreshVerifiesMs)
        return true
      }),

    compromise: (kid, { canary, next }, clock) =>
      db.transaction().execute(async (trx) => {
        await lock(trx, 'keys')
        const now = clock()
        const state = await stateOf(trx, kid)
        if (state === null || state === 'retired') return true
        const replaced = state !== 'verifying'
        if (replaced && (next === null || !(await canaryIs(trx, canary)))) return false
        await trx
          .updateTable('signing_keys')
          .set({ state: 'retired', sealed_private_key: WIPED, retired_at: now })
          .where('kid', '=', kid)
          .execute()
        if (state === 'signing') await advance(trx, next as StoredKey, now)
        else if (state === 'next') await insertKey(trx, { ...(next as StoredKey), createdAt: now })
        await log(trx, [{ kind: 'key', id: kid }], now)
        return true
      }),

    async expire(now, kid) {
      const { numUpdatedRows } = await db
        .updateTable('signing_keys')
        .set({ state: 'retired', sealed_private_key: WIPED, retired_at: now })
        .where('state', '=', 'verifying')
        .where('verifies_until_at', '<=', now)
        .$if(kid !== undefined, (query) => query.where('kid', '=', kid as string))
        .executeTakeFirstOrThrow()
      return Number(numUpdatedRows)
    },

    reseal: (change) =>
      db.transaction().execute(async (trx) => {
        await lock(trx, 'keys')
        let count = 0
        for (const [table, id, column] of SEALED) {
          const place = sql.ref(column)
          const { rows } = await sql<{ id: string; sealed: string }>`select ${sql.ref(id)} as id, ${place} as sealed
            from ${sql.table(table)} where ${place} != ${WIPED}`.execute(trx)
          for (const row of rows) {
            const sealed = change(table, row.id, row.sealed)
            if (sealed === row.sealed) continue
            await sql`update ${sql.table(table)} set ${place} = ${sealed} where ${sql.ref(id)} = ${row.id}`.execute(trx)
            count++
          }
        }
        return count
      })
  }
}
