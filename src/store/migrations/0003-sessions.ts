import { type Kysely, sql } from 'kysely'

export const version = 3
export const compatibleFrom = 1

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db

  await schema
    .alterTable('sessions')
    .addColumn('counter', 'integer', (c) => c.notNull().defaultTo(0))
    .execute()
  // Without a salt, which a program of before did not give it, a session cannot be renewed.
  await schema.alterTable('sessions').addColumn('salt', 'text').execute()
  await schema.alterTable('sessions').addColumn('rotated_at', 'bigint').execute()
  await schema.createIndex('sessions_by_end').on('sessions').column('idle_expires_at').execute()

  await schema
    .createTable('refresh_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('sealed_key', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await sql`create unique index refresh_keys_one_current on refresh_keys (state) where state = 'current'`.execute(db)

  await schema
    .createTable('revocations')
    .addColumn('seq', 'bigint', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await sql`create unique index revocations_of_tokens on revocations (id) where kind = 'token'`.execute(db)
  await schema.createIndex('revocations_by_end').on('revocations').column('expires_at').execute()

  await schema
    .createTable('leases')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('until_at', 'bigint', (c) => c.notNull())
    .execute()
  await sql`insert into leases values ('sweep', 0)`.execute(db)

  await schema
    .alterTable('clients')
    .addColumn('kind', 'text', (c) => c.notNull().defaultTo('public'))
    .execute()
  await schema
    .createTable('client_secrets')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('secret_hash', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('client_secrets_by_client').on('client_secrets').column('client_id').execute()

  // An empty database gets them by its first start.
  await sql`update clients set grant_types = 'password refresh_token' where id = 'docs'`.execute(db)
  await sql`insert into scopes (name, description, resource_id)
    select 'tokens:introspect', 'Ask whether tokens are good', id from resources where id = 'latchkey'`.execute(db)
}
