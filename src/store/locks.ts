import { sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { ADMIN_ROLE } from '../domain/model.ts'
import type { NewUser } from '../domain/ports/users.ts'
import { type Db, needsRowLocks } from './columns.ts'
import type { Database, RecordEvent } from './transaction.ts'

/**
 * Takes a lock that protects a rule over several rows, and holds it until the end of the transaction. The caller must take the lock
 * before every statement that depends on the rule, and must take several locks in the order of the type below.
 * @returns how often the lock was taken by committed transactions and by this one
 */
export async function lock(trx: Db, name: 'setup' | 'admins' | 'subjects' | 'keys'): Promise<number> {
  const { version } = await trx
    .updateTable('invariants')
    .set(({ eb }) => ({ version: eb('version', '+', 1) }))
    .where('name', '=', name)
    .returning('version')
    .executeTakeFirstOrThrow()
  return version
}

/**
 * Reserves a name for a user until the end of the transaction. A name belongs to a user or to a client, never to both, so this
 * function and `reserveClientId` first take the lock `subjects`. (`lower` of SQL is sufficient, because client ids are ASCII.) Under
 * the same lock refuses a name that mixes scripts and looks like the name of another user. Never refuses a name in one script for its look.
 * @throws DomainError conflict when a client has the name as its id, or when the name mixes scripts and looks like another one
 */
export async function reserveUsername(
  trx: Db,
  { id, usernameKey, lookAlike, mixesScripts }: Pick<NewUser, 'id' | 'usernameKey' | 'lookAlike' | 'mixesScripts'>
): Promise<void> {
  await lock(trx, 'subjects')
  const sameId = sql<boolean>`lower(id) = ${usernameKey}`
  const client = await trx.selectFrom('clients').select('id').where(sameId).executeTakeFirst()
  if (client !== undefined) throw new DomainError('conflict', 'The username is the id of a client: choose another name')
  if (!mixesScripts) return
  const similar = await trx
    .selectFrom('users')
    .select('id')
    .where('look_alike', '=', lookAlike)
    .where('id', '!=', id)
    .executeTakeFirst()
  if (similar !== undefined)
    throw new DomainError(
      'conflict',
      'The username mixes scripts and looks like the name of another user: choose another name'
    )
}

/**
 * Reserves an id for a client until the end of the transaction, as `reserveUsername` does for a user.
 * @throws DomainError conflict when a user has the name
 */
export async function reserveClientId(trx: Db, id: string): Promise<void> {
  await lock(trx, 'subjects')
  const usernameKey = id.toLowerCase()
  const user = await trx.selectFrom('users').select('id').where('username_key', '=', usernameKey).executeTakeFirst()
  if (user !== undefined) throw new DomainError('conflict', 'The client id is the name of a user: choose another id')
}

/** Returns whether an enabled user has the role `admin`. */
export async function hasAdmin(db: Db): Promise<boolean> {
  const row = await db
    .selectFrom('user_roles')
    .innerJoin('users', 'users.id', 'user_id')
    .select('user_id')
    .where('role', '=', ADMIN_ROLE)
    .where('disabled_at', 'is', null)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/**
 * Runs one transaction under the lock `admins`. Rolls the transaction back when it removed the last enabled admin.
 * @throws DomainError conflict
 */
export function withAdminLock<T>(
  { transaction }: Database,
  body: (trx: Db, record: RecordEvent) => Promise<T>
): Promise<T> {
  return transaction(async (trx, record) => {
    await lock(trx, 'admins')
    const hadAdmin = await hasAdmin(trx)
    const result = await body(trx, record)
    if (hadAdmin && !(await hasAdmin(trx)))
      throw new DomainError('conflict', 'One enabled user must have the role admin: give it to another user first')
    return result
  })
}

/**
 * Keeps a user and a client from being deleted until the end of the transaction. Must be the first lock: rows are locked in the order users, clients,
 * logins, authorizations, consents, sessions.
 */
export async function keep(trx: Db, { userId, clientId }: { userId: string; clientId?: string }): Promise<void> {
  if (!needsRowLocks(trx)) return
  await trx.selectFrom('users').select('id').where('id', '=', userId).forKeyShare().execute()
  if (clientId !== undefined)
    await trx.selectFrom('clients').select('id').where('id', '=', clientId).forKeyShare().execute()
}

/** Locks a user or a client that the transaction deletes: waits for every transaction that keeps it. Must be the first lock of its row. */
export async function lockForDeletion(trx: Db, table: 'users' | 'clients', id: string): Promise<void> {
  if (needsRowLocks(trx)) await trx.selectFrom(table).select('id').where('id', '=', id).forUpdate().execute()
}
