import { type Kysely, sql } from 'kysely'
import { addScopes } from './scopes.ts'

export const version = 5
export const compatibleFrom = 1

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await sql`insert into invariants values ('subjects', 0)`.execute(db)

  await schema
    .alterTable('clients')
    .addColumn('first_party', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()
  for (const list of ['resources', 'redirect_uris'])
    await schema
      .alterTable('clients')
      .addColumn(list, 'text', (c) => c.notNull().defaultTo(''))
      .execute()
  await schema.alterTable('clients').addColumn('jwks', 'text').execute()
  await schema.alterTable('clients').addColumn('access_token_ttl', 'integer').execute()
  await schema
    .alterTable('clients')
    .addColumn('revoked_seq', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute()
  // Those that were given the password grant before are meant to have it.
  await sql`update clients set first_party = 1 where ' ' || grant_types || ' ' like '% password %'`.execute(db)

  await schema.alterTable('client_secrets').addColumn('expires_at', 'bigint').execute()
  await schema.alterTable('client_secrets').addColumn('last_used_at', 'bigint').execute()

  await schema
    .createTable('client_assertions')
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('jti_hash', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('client_assertions_pk', ['client_id', 'jti_hash'])
    .execute()
  await schema.createIndex('client_assertions_by_end').on('client_assertions').column('expires_at').execute()

  await schema.alterTable('resources').addColumn('identifier', 'text').execute()
  await schema.createIndex('resources_identifier').on('resources').column('identifier').unique().execute()
  await schema
    .createTable('introspection_clients')
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addPrimaryKeyConstraint('introspection_clients_pk', ['resource_id', 'client_id'])
    .execute()
  await schema.createIndex('introspection_clients_by_client').on('introspection_clients').column('client_id').execute()
  // Until now all tokens were for Latchkey itself.
  await sql`insert into introspection_clients (resource_id, client_id)
    select 'latchkey', client_id from client_scopes where scope = 'tokens:introspect'`.execute(db)

  await addScopes(db, [
    ['clients:read', 'See every client'],
    ['clients:write', 'Register, change and delete clients'],
    ['resources:read', 'See every resource'],
    ['resources:write', 'Register, change and delete resources']
  ])
}
