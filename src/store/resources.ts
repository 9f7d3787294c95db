import { sql } from 'kysely'
import { DomainError, unknownName } from '../domain/errors.ts'
import type { Resource } from '../domain/model.ts'
import type { ResourceStore } from '../domain/ports/resources.ts'
import { type Db, needsRowLocks } from './columns.ts'
import { describeChanges, describeGiven } from './event-reasons.ts'
import { deleteScopes, insertScopes, lockScopeHolders } from './resource-scopes.ts'
import { appendRevocations } from './revocations.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'

type ResourceRow = Pick<Tables['resources'], 'id' | 'identifier' | 'name'>

const COLUMNS = ['id', 'identifier', 'name'] as const

/** Adds the scopes and introspection clients to rows of resources. Keeps the order. */
async function complete(trx: Db, rows: ResourceRow[]): Promise<Resource[]> {
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
    ...row,
    scopes: scopes
      .filter((scope) => scope.resource_id === row.id)
      .map(({ name, description }) => ({ name, description })),
    introspectionClients: clients.filter((each) => each.resource_id === row.id).map((each) => each.client_id)
  }))
}

async function getResource(trx: Db, id: string): Promise<Resource | null> {
  const row = await trx.selectFrom('resources').select(COLUMNS).where('id', '=', id).executeTakeFirst()
  return row === undefined ? null : ((await complete(trx, [row]))[0] as Resource)
}

/** Replaces the introspection clients and returns the previous ones. @throws DomainError invalid */
async function setIntrospectionClients(trx: Db, resourceId: string, clients: string[]): Promise<string[]> {
  const previous = await trx
    .deleteFrom('introspection_clients')
    .where('resource_id', '=', resourceId)
    .returning('client_id')
    .execute()
  if (clients.length > 0) {
    const rows = await trx.selectFrom('clients').select('id').where('id', 'in', clients).execute()
    const unknown = clients.find((id) => !rows.some((row) => row.id === id))
    if (unknown !== undefined) throw unknownName('client', unknown)
    await trx
      .insertInto('introspection_clients')
      .values(clients.map((client_id) => ({ resource_id: resourceId, client_id })))
      .execute()
  }
  return previous.map((row) => row.client_id)
}

function changeResource({ transaction }: Database): ResourceStore['change'] {
  return (caller, { id, changes, now }) =>
    transaction(async (trx, record) => {
      // Must be the first statement: it locks the resource, so that changes of one resource run one after the other.
      const locked = await trx
        .updateTable('resources')
        .set(({ ref }) => ({ name: ref('name') }))
        .where('id', '=', id)
        .returning(COLUMNS)
        .executeTakeFirst()
      if (locked === undefined) return null
      const { name = locked.name, introspectionClients, scopes: decide } = changes
      if (name !== locked.name) await trx.updateTable('resources').set({ name }).where('id', '=', id).execute()
      const previousClients =
        introspectionClients === undefined ? null : await setIntrospectionClients(trx, id, introspectionClients)
      const previousScopes = decide === undefined ? null : await changeScopes(trx, id, { decide, now })

      const [after] = (await complete(trx, [{ ...locked, name }])) as [Resource]
      const before = {
        ...locked,
        scopes: previousScopes ?? after.scopes,
        introspectionClients: previousClients ?? after.introspectionClients
      }
      const reason = describeResource(before, after)
      if (reason !== '') record({ type: 'resource.changed', caller, subject: { resource: id }, reason })
      return after
    })
}

/** Replaces the scopes of a resource by the result of `decide`, and returns the previous scopes. */
async function changeScopes(
  trx: Db,
  resourceId: string,
  { decide, now }: { decide: (current: Resource['scopes']) => Resource['scopes']; now: number }
): Promise<Resource['scopes']> {
  const before = await trx
    .selectFrom('scopes')
    .select(['name', 'description'])
    .where('resource_id', '=', resourceId)
    .orderBy('name')
    .execute()
  const wanted = decide(before)
  const isIn = (scopes: Resource['scopes'], name: string) => scopes.some((scope) => scope.name === name)
  await insertScopes(
    trx,
    resourceId,
    wanted.filter(({ name }) => !isIn(before, name))
  )
  for (const { name, description } of wanted.filter((scope) => isIn(before, scope.name)))
    await trx.updateTable('scopes').set({ description }).where('name', '=', name).execute()
  const removed = before.filter(({ name }) => !isIn(wanted, name)).map(({ name }) => name)
  await appendRevocations(trx, await deleteScopes(trx, removed), now)
  return before
}

function describeResource(before: Resource, after: Resource): string {
  const names = (resource: Resource) => ({
    ...resource,
    scopes: resource.scopes.map(({ name }) => name),
    introspectionClients: resource.introspectionClients.toSorted()
  })
  const changesDescriptions = after.scopes.some(({ name, description }) =>
    before.scopes.some((scope) => scope.name === name && scope.description !== description)
  )
  return [describeChanges(names(before), names(after)), changesDescriptions ? 'descriptions of scopes' : '']
    .filter((text) => text !== '')
    .join('; ')
}

export function resources(database: Database): ResourceStore {
  const { db, transaction } = database

  return {
    get: (id) => getResource(db, id),

    async list({ after, limit }) {
      const rows = await db
        .selectFrom('resources')
        .select(COLUMNS)
        .$if(after !== null, (query) => query.where('id', '>', after))
        .orderBy('id')
        .limit(limit)
        .execute()
      return complete(db, rows)
    },

    servedBy: (clientId) =>
      db
        .selectFrom('introspection_clients')
        .innerJoin('resources', 'resources.id', 'resource_id')
        .select(['resources.id', 'identifier'])
        .where('client_id', '=', clientId)
        .orderBy('resources.id')
        .execute(),

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

    async exists(identifier) {
      const row = await db.selectFrom('resources').select('id').where('identifier', '=', identifier).executeTakeFirst()
      return row !== undefined
    },

    create: (caller, { id, identifier, name, scopes, introspectionClients, now }) =>
      transaction(async (trx, record) => {
        await trx.insertInto('resources').values({ id, identifier, name, created_at: now }).execute()
        await insertScopes(trx, id, scopes)
        await setIntrospectionClients(trx, id, introspectionClients)
        const reason = describeGiven({ scopes: scopes.map((scope) => scope.name), introspectionClients })
        record({ type: 'resource.created', caller, subject: { resource: id }, reason })
      }),

    change: changeResource(database),

    delete: (caller, { id, now }) =>
      transaction(async (trx, record) => {
        const row = trx.selectFrom('resources').select('id').where('id', '=', id)
        // Locks the resource against changes, then the roles and clients with its scopes, then the resource against a transaction that
        // adds it to a client. All transactions lock in this order.
        if (needsRowLocks(trx)) await row.forNoKeyUpdate().execute()
        const resource = await getResource(trx, id)
        if (resource === null) return false
        const scopes = resource.scopes.map((scope) => scope.name)
        await lockScopeHolders(trx, scopes)
        if (needsRowLocks(trx)) await row.forUpdate().execute()
        const pattern = `% ${id.replaceAll('_', '\\_')} %`
        const { rows } = await sql<{ id: string }>`select id from clients
          where ' ' || resources || ' ' like ${pattern} escape '\\' order by id limit 1`.execute(trx)
        if (rows[0] !== undefined)
          throw new DomainError(
            'conflict',
            `The client ${JSON.stringify(rows[0].id)} names this resource: change the client first`
          )
        const entries = await deleteScopes(trx, scopes)
        await trx.deleteFrom('resources').where('id', '=', id).execute()
        await appendRevocations(trx, entries, now)
        record({ type: 'resource.deleted', caller, subject: { resource: id } })
        return true
      })
  }
}
