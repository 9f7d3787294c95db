import { type Kysely, sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { type Actor, ADMIN_ROLE } from '../domain/model.ts'
import type { Tables } from './schema.ts'

/**
 * The first statement of a transaction that keeps a rule over several rows; the others wait for its end.
 * @returns how often it was taken, this time included
 */
export async function lock(trx: Kysely<Tables>, name: 'bootstrap' | 'admins' | 'subjects' | 'keys'): Promise<number> {
  const { version } = await trx
    .updateTable('invariants')
    .set(({ eb }) => ({ version: eb('version', '+', 1) }))
    .where('name', '=', name)
    .returning('version')
    .executeTakeFirstOrThrow()
  return version
}

/**
 * A name is that of a user or that of a client, never of both: who makes one asks for it under the lock `subjects`. (An id
 * is ASCII, and so is the canonical name that could be equal to it.)
 * @throws DomainError conflict
 */
export async function takeName(trx: Kysely<Tables>, name: { usernameKey: string } | { clientId: string }) {
  await lock(trx, 'subjects')
  if ('clientId' in name) {
    const key = name.clientId.toLowerCase()
    const user = await trx.selectFrom('users').select('id').where('username_key', '=', key).executeTakeFirst()
    if (user !== undefined) throw new DomainError('conflict', 'A user has this name')
  } else {
    const sameId = sql<boolean>`lower(id) = ${name.usernameKey}`
    const client = await trx.selectFrom('clients').select('id').where(sameId).executeTakeFirst()
    if (client !== undefined) throw new DomainError('conflict', 'A client has this name for its id')
  }
}

/** Whether there is an admin who is not disabled. */
export async function hasAdmin(db: Kysely<Tables>): Promise<boolean> {
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
 * Runs what may unmake an admin under the lock `admins`, in one transaction that is rolled back if it unmade the last one.
 * @throws DomainError conflict
 */
export function keepingAnAdmin<T>(db: Kysely<Tables>, run: (trx: Kysely<Tables>) => Promise<T>): Promise<T> {
  return db.transaction().execute(async (trx) => {
    await lock(trx, 'admins')
    const before = await hasAdmin(trx)
    const result = await run(trx)
    if (before && !(await hasAdmin(trx)))
      throw new DomainError('conflict', 'Nobody would be left with the role admin: give it to somebody else first')
    return result
  })
}

/**
 * Whether the actor has all that is given to somebody, as the caller’s transaction sees it.
 * @throws DomainError forbidden, invalid when a role or scope does not exist
 */
export async function assertMayGrant(
  trx: Kysely<Tables>,
  actor: Actor,
  table: 'roles' | 'scopes',
  names: string[]
): Promise<void> {
  if (names.length === 0) return
  const found = await trx.selectFrom(table).select('name').where('name', 'in', names).execute()
  const unknown = names.find((name) => !found.some((row) => row.name === name))
  if (unknown !== undefined)
    throw new DomainError('invalid', `There is no ${table.slice(0, -1)} ${JSON.stringify(unknown)}`)
  if (actor === null) return

  const held = await trx
    .selectFrom('users')
    .innerJoin('user_roles', 'user_id', 'users.id')
    .leftJoin('role_scopes', 'role_scopes.role', 'user_roles.role')
    .select(['user_roles.role', 'scope'])
    .where('users.id', '=', actor)
    .where('disabled_at', 'is', null)
    .execute()
  const ofRoles = () => trx.selectFrom('role_scopes').select('scope').where('role', 'in', names).execute()
  const scopes = table === 'scopes' ? names : (await ofRoles()).map((row) => row.scope)
  const misses = (which: 'role' | 'scope', name: string) => !held.some((row) => row[which] === name)
  const makesAdmin = table === 'roles' && names.includes(ADMIN_ROLE)
  if (scopes.some((scope) => misses('scope', scope)) || (makesAdmin && misses('role', ADMIN_ROLE)))
    throw new DomainError('forbidden', 'Nobody can give what they do not have')
}
