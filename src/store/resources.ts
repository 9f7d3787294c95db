import { type Kysely, sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { ADMIN_ROLE, type Resource } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'

/** The role that may do everything gets the scopes too. In the caller's transaction. */
async function insertScopes(trx: Kysely<Tables>, resourceId: string, scopes: Resource['scopes']): Promise<void> {
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
 * Waits for whoever is changing a role or a client that has one of the scopes, and keeps others from it: before the scopes
 * themselves are taken, as those who change them do.
 */
async function lockHolders(trx: Kysely<Tables>, names: string[], locksRows: boolean): Promise<void> {
  if (!locksRows || names.length === 0) return
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

/** With what roles and clients have of them; in the caller's transaction. Gives the entries for the revocation log. */
async function deleteScopes(trx: Kysely<Tables>, names: string[], locksRows: boolean) {
  if (names.length === 0) return []
  await lockHolders(trx, names, locksRows)
  // Nobody is given them from here on.
  if (locksRows)
    await trx.selectFrom('scopes').select('name').where('name', 'in', names).orderBy('name').forUpdate().execute()
  const roles = await trx.deleteFrom('role_scopes').where('scope', 'in', names).returning('role').execute()
  const clients = await trx.deleteFrom('client_scopes').where('scope', 'in', names).returning('client_id').execute()
  await trx.deleteFrom('scopes').where('name', 'in', names).execute()
  return [
    ...[...new Set(roles.map(({ role }) => role))].map((id) => ({ kind: 'role' as const, id })),
    ...[...new Set(clients.map(({ client_id }) => client_id))].map((id) => ({ kind: 'client' as const, id }))
  ]
}

async function setIntrospectionClients(trx: Kysely<Tables>, resourceId: string, clients: string[]): Promise<void> {
  await trx.deleteFrom('introspection_clients').where('resource_id', '=', resourceId).execute()
  if (clients.length === 0) return
  const found = await trx.selectFrom('clients').select('id').where('id', 'in', clients).execute()
  const unknown = clients.find((id) => !found.some((row) => row.id === id))
  if (unknown !== undefined) throw new DomainError('invalid', `There is no client ${JSON.stringify(unknown)}`)
  await trx
    .insertInto('introspection_clients')
    .values(clients.map((client_id) => ({ resource_id: resourceId, client_id })))
    .execute()
}

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function resources(db: Kysely<Tables>, locksRows: boolean): Store['resources'] {
  async function list(
    trx: Kysely<Tables>,
    which: { id?: string; after?: string | null; limit: number }
  ): Promise<Resource[]> {
    const { id, after = null, limit } = which
    const rows = await trx
      .selectFrom('resources')
      .select(['id', 'identifier', 'name'])
      .$if(id !== undefined, (query) => query.where('id', '=', id as string))
      .$if(after !== null, (query) => query.where('id', '>', after))
      .orderBy('id')
      .limit(limit)
      .execute()
    const ids = rows.map((row) => row.id)
    if (ids.length === 0) return []
    const scopes = await trx.selectFrom('scopes').selectAll().where('resource_id', 'in', ids).orderBy('name').execute()
    const clients = await trx
      .selectFrom('introspection_clients')
      .selectAll()
      .where('resource_id', 'in', ids)
      .orderBy('client_id')
      .execute()
    return rows.map((row) => ({
      id: row.id,
      identifier: row.identifier,
      name: row.name,
      scopes: scopes
        .filter((scope) => scope.resource_id === row.id)
        .map(({ name, description }) => ({ name, description })),
      introspectionClients: clients.flatMap((each) => (each.resource_id === row.id ? [each.client_id] : []))
    }))
  }

  const get = async (trx: Kysely<Tables>, id: string) => (await list(trx, { id, limit: 1 }))[0] ?? null

  return {
    get: (id) => get(db, id),
    list: (page) => list(db, page),

    async mayIntrospect(clientId, identifier) {
      const row = await db
        .selectFrom('introspection_clients')
        .innerJoin('resources', 'resources.id', 'resource_id')
        .select('resource_id')
        .where('client_id', '=', clientId)
        .where('identifier', identifier === null ? 'is' : '=', identifier)
        .executeTakeFirst()
      return row !== undefined
    },

    async known(identifier) {
      const row = await db.selectFrom('resources').select('id').where('identifier', '=', identifier).executeTakeFirst()
      return row !== undefined
    },

    create: ({ id, identifier, name, scopes, introspectionClients }, now) =>
      db.transaction().execute(async (trx) => {
        await trx.insertInto('resources').values({ id, identifier, name, created_at: now }).execute()
        await insertScopes(trx, id, scopes)
        await setIntrospectionClients(trx, id, introspectionClients)
      }),

    change: (id, { name, scopes: decide, introspectionClients }, now) =>
      db.transaction().execute(async (trx) => {
        // First, so that two changes of one resource happen one after the other.
        const { numUpdatedRows } = await trx
          .updateTable('resources')
          .set(({ ref }) => ({ name: name ?? ref('name') }))
          .where('id', '=', id)
          .executeTakeFirstOrThrow()
        if (numUpdatedRows === 0n) return null
        if (introspectionClients !== undefined) await setIntrospectionClients(trx, id, introspectionClients)
        if (decide !== undefined) {
          const before = (await get(trx, id))?.scopes ?? []
          const scopes = decide(before)
          const isNew = (scope: { name: string }) => !before.some((each) => each.name === scope.name)
          await insertScopes(trx, id, scopes.filter(isNew))
          for (const scope of scopes.filter((each) => !isNew(each)))
            await trx
              .updateTable('scopes')
              .set({ description: scope.description })
              .where('name', '=', scope.name)
              .execute()
          const gone = before.filter((each) => !scopes.some((scope) => scope.name === each.name))
          const entries = await deleteScopes(
            trx,
            gone.map((scope) => scope.name),
            locksRows
          )
          await log(trx, entries, now)
        }
        return get(trx, id)
      }),

    delete: (id, now) =>
      db.transaction().execute(async (trx) => {
        const named = trx.selectFrom('resources').select('id').where('id', '=', id)
        // Changes of it happen before or after; whoever has its scopes comes next, and then nobody names it any more.
        if (locksRows) await named.forNoKeyUpdate().execute()
        const found = await get(trx, id)
        if (found === null) return false
        const scopes = found.scopes.map((scope) => scope.name)
        await lockHolders(trx, scopes, locksRows)
        if (locksRows) await named.forUpdate().execute()
        const pattern = `% ${id.replaceAll('_', '\\_')} %`
        const { rows } = await sql<{ id: string }>`select id from clients
          where ' ' || resources || ' ' like ${pattern} escape '\\' order by id limit 1`.execute(trx)
        if (rows[0] !== undefined)
          throw new DomainError('conflict', `The client ${JSON.stringify(rows[0].id)} names it: change that first`)
        const entries = await deleteScopes(trx, scopes, locksRows)
        await trx.deleteFrom('resources').where('id', '=', id).execute()
        await log(trx, entries, now)
        return true
      })
  }
}
