import type { Kysely, SchemaModule } from 'kysely'

export const version = 8
export const compatibleFrom = 5

/** Adds sign-in on pages: logins of browsers, authorization requests, consents, and the members of clients that they need. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await extendClients(schema)
  await createLogins(schema)
  await createAuthorizations(schema)
  await createConsents(schema)
  await createLogouts(schema)
  await schema.alterTable('sessions').addColumn('login_id', 'text').execute()
  await schema.createIndex('sessions_by_login').on('sessions').column('login_id').execute()
}

async function extendClients(schema: SchemaModule): Promise<void> {
  const texts = ['client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'id_token_alg', 'backchannel_logout_uri']
  for (const name of texts) await schema.alterTable('clients').addColumn(name, 'text').execute()
  await schema
    .alterTable('clients')
    .addColumn('post_logout_redirect_uris', 'text', (c) => c.notNull().defaultTo(''))
    .execute()
  await schema
    .alterTable('clients')
    .addColumn('application_type', 'text', (c) => c.notNull().defaultTo('web'))
    .execute()
  for (const name of ['require_pkce', 'require_consent'])
    await schema
      .alterTable('clients')
      .addColumn(name, 'integer', (c) => c.notNull().defaultTo(1))
      .execute()
}

async function createLogins(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('logins')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('token_hash', 'text', (c) => c.notNull().unique())
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id').onDelete('cascade'))
    .addColumn('auth_version', 'integer', (c) => c.notNull())
    .addColumn('amr', 'text', (c) => c.notNull())
    .addColumn('auth_at', 'bigint', (c) => c.notNull())
    .addColumn('last_used_at', 'bigint', (c) => c.notNull())
    .addColumn('idle_expires_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('ended_at', 'bigint')
    .addColumn('address', 'text')
    .addColumn('user_agent', 'text')
    .execute()
  await schema.createIndex('logins_by_user').on('logins').column('user_id').execute()
  await schema.createIndex('logins_by_expiry').on('logins').column('idle_expires_at').execute()
}

async function createAuthorizations(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('authorizations')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('login_id', 'text', (c) => c.notNull().references('logins.id').onDelete('cascade'))
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('request', 'text', (c) => c.notNull())
    .addColumn('scopes', 'text', (c) => c.notNull())
    .addColumn('code_hash', 'text', (c) => c.unique())
    .addColumn('session_id', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('authorizations_by_login').on('authorizations').column('login_id').execute()
  await schema.createIndex('authorizations_by_client').on('authorizations').column('client_id').execute()
  await schema.createIndex('authorizations_by_expiry').on('authorizations').column('expires_at').execute()
}

async function createConsents(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('consents')
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id').onDelete('cascade'))
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('scopes', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('consents_pk', ['user_id', 'client_id'])
    .execute()
  await schema.createIndex('consents_by_client').on('consents').column('client_id').execute()
}

async function createLogouts(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('logout_notices')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('session_id', 'text', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('next_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('logout_notices_by_time').on('logout_notices').column('next_at').execute()
}
