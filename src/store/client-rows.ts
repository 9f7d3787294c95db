import { type Selectable, sql } from 'kysely'
import { defined } from '../defined.ts'
import type { Client, Millis } from '../domain/model.ts'
import type { ClientChanges } from '../domain/ports/clients.ts'
import { type Db, words } from './columns.ts'
import type { Tables } from './schema.ts'

type ClientRow = Selectable<Tables['clients']> & { scopes: string | null; default_scopes: string | null }

const SCOPES = sql<
  string | null
>`(select string_agg(scope, ' ' order by scope) from client_scopes where client_id = clients.id)`
const DEFAULT_SCOPES = sql<
  string | null
>`(select string_agg(scope, ' ' order by scope) from client_scopes where client_id = clients.id and is_default = 1)`

export const toClient = (row: ClientRow): Client => ({
  id: row.id,
  name: row.name,
  kind: row.kind,
  firstParty: row.first_party === 1,
  grantTypes: words(row.grant_types),
  scopes: words(row.scopes),
  defaultScopes: words(row.default_scopes),
  roles: row.roles === null ? null : words(row.roles),
  resources: words(row.resources),
  redirectUris: words(row.redirect_uris),
  jwks: row.jwks === null ? null : JSON.parse(row.jwks),
  accessTokenTtl: row.access_token_ttl,
  sessionIdleTtl: row.session_idle_ttl,
  sessionAbsoluteTtl: row.session_absolute_ttl,
  disabledAt: row.disabled_at,
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

type Columns = Pick<
  Tables['clients'],
  | 'name'
  | 'first_party'
  | 'grant_types'
  | 'roles'
  | 'resources'
  | 'redirect_uris'
  | 'jwks'
  | 'access_token_ttl'
  | 'session_idle_ttl'
  | 'session_absolute_ttl'
>

/** Returns the columns of the given members. Leaves out members that other tables store. */
export const toColumns = (changes: ClientChanges): Partial<Columns> =>
  defined({
    name: changes.name,
    first_party: changes.firstParty === undefined ? undefined : Number(changes.firstParty),
    grant_types: changes.grantTypes?.join(' '),
    roles: changes.roles === null ? null : changes.roles?.join(' '),
    resources: changes.resources?.join(' '),
    redirect_uris: changes.redirectUris?.join(' '),
    jwks: changes.jwks && JSON.stringify(changes.jwks),
    access_token_ttl: changes.accessTokenTtl,
    session_idle_ttl: changes.sessionIdleTtl,
    session_absolute_ttl: changes.sessionAbsoluteTtl
  })

export const selectClients = (trx: Db) =>
  trx
    .selectFrom('clients')
    .selectAll('clients')
    .select([SCOPES.as('scopes'), DEFAULT_SCOPES.as('default_scopes')])

export async function getClient(trx: Db, id: string): Promise<Client | null> {
  const row = await selectClients(trx).where('clients.id', '=', id).executeTakeFirst()
  return row === undefined ? null : toClient(row)
}

/**
 * Locks a client until the end of the transaction. Must be the first statement of a transaction that changes the client, so that
 * changes run one after the other. Returns false when there is no such client.
 */
export async function lockClient(trx: Db, id: string, now: Millis): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable('clients')
    .set({ updated_at: now })
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

/** Replaces the scopes and default scopes of a client. */
export async function setClientScopes(
  trx: Db,
  { id, scopes, defaultScopes }: Pick<Client, 'id' | 'scopes' | 'defaultScopes'>
): Promise<void> {
  await trx.deleteFrom('client_scopes').where('client_id', '=', id).execute()
  if (scopes.length === 0) return
  await trx
    .insertInto('client_scopes')
    .values(scopes.map((scope) => ({ client_id: id, scope, is_default: Number(defaultScopes.includes(scope)) })))
    .execute()
}

export async function insertClient(trx: Db, client: Client): Promise<void> {
  const { id, kind, disabledAt, createdAt, updatedAt, ...members } = client
  await trx
    .insertInto('clients')
    .values({
      ...(toColumns(members) as Columns),
      id,
      kind,
      disabled_at: disabledAt,
      created_at: createdAt,
      updated_at: updatedAt,
      revoked_seq: 0
    })
    .execute()
  await setClientScopes(trx, client)
}
