import { ADMIN_ROLE, type Resource, type RevocationKind } from '../domain/model.ts'
import { type Db, needsRowLocks } from './columns.ts'

/** Inserts scopes of a resource and gives them to the role `admin`. */
export async function insertScopes(trx: Db, resourceId: string, scopes: Resource['scopes']): Promise<void> {
  for (const { name, description } of scopes) {
    await trx.insertInto('scopes').values({ name, description, resource_id: resourceId }).execute()
    await trx
      .insertInto('role_scopes')
      .columns(['role', 'scope'])
      .expression(
        trx
          .selectFrom('roles')
          .where('roles.name', '=', ADMIN_ROLE)
          .select(({ ref, val }) => [ref('roles.name').as('role'), val(name).as('scope')])
      )
      .execute()
  }
}

/**
 * Locks the roles and clients that have one of the scopes. The caller must not lock the scopes before this call: a change of a role or client
 * also locks the role or client first and its scopes second, and the opposite order could cause a deadlock.
 */
export async function lockScopeHolders(trx: Db, names: string[]): Promise<void> {
  if (!needsRowLocks(trx) || names.length === 0) return
  await trx
    .selectFrom('roles')
    .select('name')
    .where('name', 'in', trx.selectFrom('role_scopes').select('role').where('scope', 'in', names))
    .orderBy('name')
    .forNoKeyUpdate()
    .execute()
  await trx
    .selectFrom('clients')
    .select('id')
    .where('id', 'in', trx.selectFrom('client_scopes').select('client_id').where('scope', 'in', names))
    .orderBy('id')
    .forNoKeyUpdate()
    .execute()
}

/**
 * Deletes scopes, and takes them from every role and client. Returns the entries that the caller must append to the revocation log.
 */
export async function deleteScopes(trx: Db, names: string[]): Promise<{ kind: RevocationKind; id: string }[]> {
  if (names.length === 0) return []
  await lockScopeHolders(trx, names)
  // After this lock no transaction can give the scopes to a role or client.
  if (needsRowLocks(trx))
    await trx.selectFrom('scopes').select('name').where('name', 'in', names).orderBy('name').forUpdate().execute()
  const roles = await trx.deleteFrom('role_scopes').where('scope', 'in', names).returning('role').execute()
  const clients = await trx.deleteFrom('client_scopes').where('scope', 'in', names).returning('client_id').execute()
  await trx.deleteFrom('scopes').where('name', 'in', names).execute()
  const entriesOf = (kind: RevocationKind, ids: string[]) => [...new Set(ids)].map((id) => ({ kind, id }))
  return [
    ...entriesOf(
      'role',
      roles.map(({ role }) => role)
    ),
    ...entriesOf(
      'client',
      clients.map(({ client_id }) => client_id)
    )
  ]
}
