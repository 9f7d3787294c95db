import { type Insertable, type Selectable, sql } from 'kysely'
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
  postLogoutRedirectUris: words(row.post_logout_redirect_uris),
  applicationType: row.application_type,
  clientUri: row.client_uri,
  policyUri: row.policy_uri,
  tosUri: row.tos_uri,
  logoUri: row.logo_uri,
  requirePkce: row.require_pkce === 1,
  requireConsent: row.require_consent === 1,
  idTokenAlg: row.id_token_alg,
  backchannelLogoutUri: row.backchannel_logout_uri,
  jwks: row.jwks === null ? null : JSON.parse(row.jwks),
  accessTokenTtl: row.access_token_ttl,
  sessionIdleTtl: row.session_idle_ttl,
  sessionAbsoluteTtl: row.session_absolute_ttl,
  disabledAt: row.disabled_at,
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

type Columns = Pick<
  Insertable<Tables['clients']>,
  | 'name'
  | 'first_party'
  | 'grant_types'
  | 'roles'
  | 'resources'
  | 'redirect_uris'
  | 'post_logout_redirect_uris'
  | 'application_type'
  | 'client_uri'
  | 'policy_uri'
  | 'tos_uri'
  | 'logo_uri'
  | 'require_pkce'
  | 'require_consent'
  | 'id_token_alg'
  | 'backchannel_logout_uri'
  | 'jwks'
  | 'access_token_ttl'
  | 'session_idle_ttl'
  | 'session_absolute_ttl'
>

const flag = (value: boolean | undefined): number | undefined => (value === undefined ? undefined : Number(value))

/** Returns the columns of the given members. Leaves out members that other tables store. */
export const toColumns = (changes: ClientChanges): Partial<Columns> =>
  defined({
    name: changes.name,
    first_party: flag(changes.firstParty),
    grant_types: changes.grantTypes?.join(' '),
    roles: changes.roles === null ? null : changes.roles?.join(' '),
    resources: changes.resources?.join(' '),
    redirect_uris: changes.redirectUris?.join(' '),
    post_logout_redirect_uris: changes.postLogoutRedirectUris?.join(' '),
    application_type: changes.applicationType,
    client_uri: changes.clientUri,
    policy_uri: changes.policyUri,
    tos_uri: changes.tosUri,
    logo_uri: changes.logoUri,
    require_pkce: flag(changes.requirePkce),
    require_consent: flag(changes.requireConsent),
    id_token_alg: changes.idTokenAlg,
    backchannel_logout_uri: changes.backchannelLogoutUri,
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
