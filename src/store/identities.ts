import type { Selectable } from 'kysely'
import type { IdentityKey, IdentityStore, LinkedIdentity } from '../domain/ports/identities.ts'
import { IDENTITIES_MAX } from '../limits.ts'
import { assertMayGrantRoles } from './caller-rights.ts'
import { type Db, needsRowLocks } from './columns.ts'
import { describeGiven } from './event-reasons.ts'
import { lock } from './locks.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'
import { COLUMNS, ROLES, toUser } from './user-rows.ts'
import { insertUser } from './users.ts'

const HOUR_MS = 3_600_000

/** Rolls back the transaction that creates a user whose identity belongs to another user. */
class Taken extends Error {}

const toIdentity = (row: Selectable<Tables['identities']>): LinkedIdentity => ({
  provider: row.provider_id,
  issuer: row.issuer,
  subject: row.subject,
  userId: row.user_id,
  label: row.label,
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at
})

/** Inserts an identity unless it belongs to somebody. Returns whether it inserted it. */
async function insertIdentity(trx: Db, identity: LinkedIdentity): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('identities')
    .values({
      provider_id: identity.provider,
      issuer: identity.issuer,
      subject: identity.subject,
      user_id: identity.userId,
      label: identity.label,
      created_at: identity.createdAt,
      last_used_at: identity.lastUsedAt
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirstOrThrow()
  return numInsertedOrUpdatedRows === 1n
}

const ofUser = (trx: Db, userId: string) => trx.selectFrom('identities').selectAll().where('user_id', '=', userId)

/** Locks an enabled user with this `authVersion`. Returns whether there is one. */
async function lockUser(trx: Db, id: string, authVersion: number | null): Promise<boolean> {
  const row = await trx
    .selectFrom('users')
    .select('id')
    .where('id', '=', id)
    .$if(authVersion !== null, (query) =>
      query.where('auth_version', '=', authVersion as number).where('disabled_at', 'is', null)
    )
    .$if(needsRowLocks(trx), (query) => query.forNoKeyUpdate())
    .executeTakeFirst()
  return row !== undefined
}

export function identities({ db, transaction }: Database): IdentityStore {
  const byKey = (trx: Db, { provider, issuer, subject }: IdentityKey) =>
    trx
      .selectFrom('identities')
      .where('provider_id', '=', provider)
      .where('issuer', '=', issuer)
      .where('subject', '=', subject)

  return {
    async find(key) {
      const row = await byKey(db, key)
        .innerJoin('users', 'users.id', 'identities.user_id')
        .select([...COLUMNS.filter((column) => column !== 'created_at'), 'users.created_at', 'auth_version'])
        .select(ROLES.as('roles'))
        .executeTakeFirst()
      return row === undefined ? null : { user: toUser(row), authVersion: row.auth_version }
    },

    async use({ provider, issuer, subject }, now) {
      await db
        .updateTable('identities')
        .set({ last_used_at: now })
        .where('provider_id', '=', provider)
        .where('issuer', '=', issuer)
        .where('subject', '=', subject)
        .where((eb) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<=', now - HOUR_MS)]))
        .execute()
    },

    async list(userId) {
      const rows = await ofUser(db, userId).orderBy('created_at').orderBy('provider_id').orderBy('subject').execute()
      return rows.map(toIdentity)
    },

    link: (caller, { identity, authVersion }) =>
      transaction(async (trx, record) => {
        const { userId, provider } = identity
        if (!(await lockUser(trx, userId, authVersion))) return 'changed'
        const own = await ofUser(trx, userId).execute()
        const isOwn = own.some(
          (row) => row.provider_id === provider && row.issuer === identity.issuer && row.subject === identity.subject
        )
        if (isOwn) return 'linked'
        if (own.length >= IDENTITIES_MAX) return 'full'
        if (!(await insertIdentity(trx, identity))) return 'taken'
        record({ type: 'identity.linked', caller, subject: { user: userId, provider }, reason: identity.subject })
        return 'linked'
      }),

    create: (caller, user, identity) =>
      transaction(async (trx, record) => {
        const { id, username, roles } = user
        // Of concurrent calls with one username all but the first must find the identity, and not a conflict of the username.
        await lock(trx, 'subjects')
        if ((await byKey(trx, identity).select('user_id').executeTakeFirst()) !== undefined) return false
        await assertMayGrantRoles(trx, caller, roles)
        await insertUser(trx, user)
        // `link` may have inserted it meanwhile.
        if (!(await insertIdentity(trx, identity))) throw new Taken()
        record({ type: 'user.created', caller, subject: { user: id, username }, reason: describeGiven({ roles }) })
        const { provider, subject } = identity
        record({ type: 'identity.linked', caller, subject: { user: id, provider }, reason: subject })
        return true
      }).catch((error: unknown) => {
        if (error instanceof Taken) return false
        throw error
      }),

    unlink: (caller, { userId, key }) =>
      transaction(async (trx, record) => {
        await lockUser(trx, userId, null)
        const own = await ofUser(trx, userId).execute()
        const found = own.find(
          ({ provider_id, issuer, subject }) =>
            provider_id === key.provider && issuer === key.issuer && subject === key.subject
        )
        if (found === undefined) return 'unknown'
        const password = await trx
          .selectFrom('credentials')
          .select('user_id')
          .where('user_id', '=', userId)
          .executeTakeFirst()
        if (password === undefined && own.length === 1) return 'last'
        await trx
          .deleteFrom('identities')
          .where('provider_id', '=', key.provider)
          .where('issuer', '=', key.issuer)
          .where('subject', '=', key.subject)
          .execute()
        const { provider, subject } = key
        record({ type: 'identity.unlinked', caller, subject: { user: userId, provider }, reason: subject })
        return 'removed'
      })
  }
}
