import { type Selectable, sql } from 'kysely'
import type { KeyState, Millis, StoredKey } from '../domain/model.ts'
import type { ChainRotation, KeyStore } from '../domain/ports/keys.ts'
import type { Db } from './columns.ts'
import { lock } from './locks.ts'
import { replaceRefreshKey } from './refresh-keys.ts'
import { appendRevocations } from './revocations.ts'
import type { Tables } from './schema.ts'
import { preparedRead, type SlotOf } from './statements.ts'
import type { Database } from './transaction.ts'

/** The value of `sealed_private_key` after the private key was deleted. */
export const ERASED = ''

/** All columns with sealed values: table, primary key, column. */
const SEALED = [
  ['signing_keys', 'kid', 'sealed_private_key'],
  ['refresh_keys', 'id', 'sealed_key'],
  ['sealed_values', 'name', 'value']
] as const

const toKey = (row: Selectable<Tables['signing_keys']>): StoredKey => ({
  kid: row.kid,
  alg: row.alg,
  publicJwk: JSON.parse(row.public_jwk),
  sealedPrivateKey: row.sealed_private_key === ERASED ? null : row.sealed_private_key,
  state: row.state,
  createdAt: row.created_at,
  signsSinceAt: row.signs_since_at,
  verifiesUntilAt: row.verifies_until_at,
  retiredAt: row.retired_at
})

export async function insertKey(trx: Db, key: StoredKey): Promise<void> {
  await trx
    .insertInto('signing_keys')
    .values({
      kid: key.kid,
      alg: key.alg,
      public_jwk: JSON.stringify(key.publicJwk),
      sealed_private_key: key.sealedPrivateKey ?? ERASED,
      state: key.state,
      created_at: key.createdAt,
      signs_since_at: key.signsSinceAt,
      verifies_until_at: key.verifiesUntilAt,
      retired_at: key.retiredAt
    })
    .execute()
}

/**
 * Makes the next key of an algorithm sign, publishes `next`, and returns the kid of the new signing key; null when the algorithm has no
 * next key. The caller must first change the state of the previous signing key.
 */
async function advance(trx: Db, next: StoredKey, now: Millis): Promise<string | null> {
  const row = await trx
    .updateTable('signing_keys')
    .set({ state: 'signing', signs_since_at: now })
    .where('alg', '=', next.alg)
    .where('state', '=', 'next')
    .returning('kid')
    .executeTakeFirst()
  await insertKey(trx, { ...next, createdAt: now })
  return row?.kid ?? null
}

const isState = async (trx: Db, kid: string | null, state: KeyState): Promise<boolean> =>
  kid === null || (await stateOf(trx, kid)) === state

/** Changes the keys of one algorithm, and returns which key signs now; null when its keys have ended. */
async function rotateChain(
  trx: Db,
  { signing, next, successor }: ChainRotation,
  { now, verifiesMs }: { now: Millis; verifiesMs: Millis }
): Promise<string | null> {
  if (signing !== null)
    await trx
      .updateTable('signing_keys')
      .set({ state: 'verifying', sealed_private_key: ERASED, verifies_until_at: now + verifiesMs })
      .where('kid', '=', signing)
      .execute()
  if (successor !== null) return advance(trx, successor, now)
  if (next !== null)
    await trx
      .updateTable('signing_keys')
      .set({ state: 'retired', sealed_private_key: ERASED, retired_at: now })
      .where('kid', '=', next)
      .execute()
  return null
}

async function stateOf(trx: Db, kid: string) {
  const row = await trx.selectFrom('signing_keys').select('state').where('kid', '=', kid).executeTakeFirst()
  return row?.state ?? null
}

export async function isCanary(trx: Db, canary: string): Promise<boolean> {
  const row = await trx
    .selectFrom('sealed_values')
    .select('name')
    .where('name', '=', 'canary')
    .where('value', '=', canary)
    .executeTakeFirst()
  return row !== undefined
}

function readKeys({ db, statements }: Database): Pick<KeyStore, 'list' | 'page' | 'signing' | 'find'> {
  const select = db.selectFrom('signing_keys').selectAll()
  const findSigning = preparedRead(
    statements,
    () => select.where('state', '=', 'signing').orderBy('created_at').orderBy('kid'),
    (rows) => rows.map(toKey)
  )
  const find = preparedRead(
    statements,
    (slot: SlotOf<{ kid: string }>) => select.where('kid', '=', slot('kid')),
    ([row]) => (row === undefined ? null : toKey(row))
  )

  return {
    async list() {
      const rows = await select.where('state', '!=', 'retired').orderBy('created_at').orderBy('kid').execute()
      return rows.map(toKey)
    },

    async page({ after, limit }) {
      const isOlder = sql<boolean>`(created_at, kid) < (select created_at, kid from signing_keys where kid = ${after})`
      const rows = await select
        .$if(after !== null, (query) => query.where(isOlder))
        .orderBy('created_at', 'desc')
        .orderBy('kid', 'desc')
        .limit(limit)
        .execute()
      return rows.map(toKey)
    },

    signing: () => findSigning({}),
    find: (kid) => find({ kid })
  }
}

export function keys(database: Database): Omit<KeyStore, 'revokeEverything'> {
  const { db, transaction, recordCommitted } = database

  return {
    ...readKeys(database),

    begin: (caller, { canary, signing, next, clock }) =>
      transaction(async (trx, record) => {
        await lock(trx, 'keys')
        const now = clock()
        if (!(await isCanary(trx, canary))) return false
        const rows = await trx
          .selectFrom('signing_keys')
          .select('state')
          .where('alg', '=', signing.alg)
          .where('state', 'in', ['signing', 'next'])
          .execute()
        const [isSigning, hasNext] = [
          rows.some(({ state }) => state === 'signing'),
          rows.some(({ state }) => state === 'next')
        ]
        if (isSigning && hasNext) return true
        if (!isSigning && hasNext) await advance(trx, next, now)
        else {
          if (!isSigning) await insertKey(trx, { ...signing, createdAt: now, signsSinceAt: now })
          await insertKey(trx, { ...next, createdAt: now })
        }
        record({
          type: 'key.created',
          caller,
          subject: { key: isSigning || hasNext ? next.kid : signing.kid },
          reason: signing.alg
        })
        return true
      }),

    rotate: (caller, { canary, chains, refreshKey, verifiesMs, refreshVerifiesMs, clock }) =>
      transaction(async (trx, record) => {
        await lock(trx, 'keys')
        const now = clock()
        if (!(await isCanary(trx, canary))) return false
        for (const { signing, next } of chains)
          if (!(await isState(trx, signing, 'signing')) || !(await isState(trx, next, 'next'))) return false
        for (const chain of chains) {
          const key = await rotateChain(trx, chain, { now, verifiesMs })
          if (key !== null) record({ type: 'key.rotated', caller, subject: { key } })
          else if (chain.next !== null)
            record({ type: 'key.retired', caller, subject: { key: chain.next }, reason: 'its algorithm is not in use' })
        }
        if (refreshKey !== null)
          await replaceRefreshKey(trx, { ...refreshKey, createdAt: now }, now + refreshVerifiesMs)
        return true
      }),

    compromise: (caller, { kid, canary, next, clock }) =>
      transaction(async (trx, record) => {
        await lock(trx, 'keys')
        const now = clock()
        const state = await stateOf(trx, kid)
        if (state === null || state === 'retired') return true
        const needsNext = state !== 'verifying'
        if (needsNext && (next === null || !(await isCanary(trx, canary)))) return false
        await trx
          .updateTable('signing_keys')
          .set({ state: 'retired', sealed_private_key: ERASED, retired_at: now })
          .where('kid', '=', kid)
          .execute()
        record({ type: 'key.retired', caller, subject: { key: kid }, reason: 'compromised' })
        if (state === 'signing') {
          const key = await advance(trx, next as StoredKey, now)
          if (key !== null) record({ type: 'key.rotated', caller, subject: { key } })
        } else if (state === 'next') await insertKey(trx, { ...(next as StoredKey), createdAt: now })
        await appendRevocations(trx, [{ kind: 'key', id: kid }], now)
        return true
      }),

    async expire(caller, { now, kid }) {
      const rows = await db
        .updateTable('signing_keys')
        .set({ state: 'retired', sealed_private_key: ERASED, retired_at: now })
        .where('state', '=', 'verifying')
        .where('verifies_until_at', '<=', now)
        .$if(kid !== undefined, (query) => query.where('kid', '=', kid as string))
        .returning('kid')
        .execute()
      for (const { kid: key } of rows)
        recordCommitted({ type: 'key.retired', caller, subject: { key }, reason: 'expired' })
      return rows.length
    },

    reseal: (caller, change) =>
      transaction(async (trx, record) => {
        await lock(trx, 'keys')
        let count = 0
        for (const [table, id, column] of SEALED) {
          const value = sql.ref(column)
          const { rows } = await sql<{ id: string; sealed: string }>`select ${sql.ref(id)} as id, ${value} as sealed
            from ${sql.table(table)} where ${value} != ${ERASED}`.execute(trx)
          for (const row of rows) {
            const sealed = change(table, row.id, row.sealed)
            if (sealed === row.sealed) continue
            await sql`update ${sql.table(table)} set ${value} = ${sealed} where ${sql.ref(id)} = ${row.id}`.execute(trx)
            count++
          }
        }
        if (count > 0) record({ type: 'keys.resealed', caller, subject: {}, reason: `sealed values: ${count}` })
        return count
      })
  }
}
