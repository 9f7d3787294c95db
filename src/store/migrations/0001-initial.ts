import { type Kysely, type SchemaModule, sql } from 'kysely'

export const version = 1
export const compatibleFrom = 1

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await createBookkeeping(schema)
  await createResources(schema)
  await createRoles(schema)
  await createUsers(schema)
  await createClients(schema)
  await createSessions(schema)
  await createKeys(schema)
  await createRevocations(schema)
  await createGuesses(schema)

  await sql`insert into schema_version values (0, 0)`.execute(db)
  for (const name of ['setup', 'admins', 'subjects', 'keys'])
    await sql`insert into invariants values (cast(${name} as text), 0)`.execute(db)
  await sql`insert into counters values ('revocations', 0)`.execute(db)
  await sql`insert into leases values ('sweep', 0)`.execute(db)
  await sql`create unique index signing_keys_one_of_each on signing_keys (state) where state in ('signing', 'next')`.execute(
    db
  )
  await sql`create unique index refresh_keys_one_current on refresh_keys (state) where state = 'current'`.execute(db)
  await sql`create unique index revocations_of_tokens on revocations (id) where kind = 'token'`.execute(db)
}

async function createBookkeeping(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('schema_version')
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('compatible_from', 'integer', (c) => c.notNull())
    .execute()
  await schema
    .createTable('invariants')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('version', 'integer', (c) => c.notNull())
    .execute()
  await schema
    .createTable('counters')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('leases')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('until_at', 'bigint', (c) => c.notNull())
    .execute()
}

async function createResources(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('resources')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('identifier', 'text')
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('resources_identifier').on('resources').column('identifier').unique().execute()
  await schema
    .createTable('scopes')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id'))
    .execute()
}

async function createRoles(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('roles')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('role_scopes')
    .addColumn('role', 'text', (c) => c.notNull().references('roles.name').onDelete('cascade'))
    .addColumn('scope', 'text', (c) => c.notNull().references('scopes.name').onDelete('cascade'))
    .addPrimaryKeyConstraint('role_scopes_pk', ['role', 'scope'])
    .execute()
}

async function createUsers(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('users')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('username', 'text', (c) => c.notNull())
    .addColumn('username_key', 'text', (c) => c.notNull().unique())
    .addColumn('email', 'text')
    .addColumn('email_key', 'text', (c) => c.unique())
    .addColumn('full_name', 'text')
    .addColumn('disabled_at', 'bigint')
    .addColumn('auth_version', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('user_roles')
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id').onDelete('cascade'))
    .addColumn('role', 'text', (c) => c.notNull().references('roles.name'))
    .addPrimaryKeyConstraint('user_roles_pk', ['user_id', 'role'])
    .execute()
  await schema.createIndex('user_roles_by_role').on('user_roles').column('role').execute()
  await schema
    .createTable('credentials')
    .addColumn('user_id', 'text', (c) => c.primaryKey().references('users.id').onDelete('cascade'))
    .addColumn('password_hash', 'text', (c) => c.notNull())
    .execute()
}

async function createClients(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('clients')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('first_party', 'integer', (c) => c.notNull())
    .addColumn('grant_types', 'text', (c) => c.notNull())
    .addColumn('resources', 'text', (c) => c.notNull())
    .addColumn('redirect_uris', 'text', (c) => c.notNull())
    .addColumn('jwks', 'text')
    .addColumn('access_token_ttl', 'integer')
    .addColumn('session_idle_ttl', 'integer', (c) => c.notNull())
    .addColumn('session_absolute_ttl', 'integer', (c) => c.notNull())
    .addColumn('disabled_at', 'bigint')
    .addColumn('revoked_seq', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema
    .createTable('client_scopes')
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('scope', 'text', (c) => c.notNull().references('scopes.name').onDelete('cascade'))
    .addColumn('is_default', 'integer', (c) => c.notNull())
    .addPrimaryKeyConstraint('client_scopes_pk', ['client_id', 'scope'])
    .execute()
  await schema
    .createTable('client_secrets')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('secret_hash', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('last_used_at', 'bigint')
    .execute()
  await schema.createIndex('client_secrets_by_client').on('client_secrets').column('client_id').execute()
  await schema
    .createTable('client_assertions')
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('jti_hash', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('client_assertions_pk', ['client_id', 'jti_hash'])
    .execute()
  await schema.createIndex('client_assertions_by_end').on('client_assertions').column('expires_at').execute()
  await schema
    .createTable('introspection_clients')
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addPrimaryKeyConstraint('introspection_clients_pk', ['resource_id', 'client_id'])
    .execute()
  await schema.createIndex('introspection_clients_by_client').on('introspection_clients').column('client_id').execute()
}

async function createSessions(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('sessions')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('user_id', 'text', (c) => c.notNull().references('users.id').onDelete('cascade'))
    .addColumn('client_id', 'text', (c) => c.notNull().references('clients.id').onDelete('cascade'))
    .addColumn('scopes', 'text', (c) => c.notNull())
    .addColumn('amr', 'text', (c) => c.notNull())
    .addColumn('auth_at', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('idle_expires_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('ended_at', 'bigint')
    .addColumn('address', 'text')
    .addColumn('user_agent', 'text')
    .addColumn('counter', 'integer', (c) => c.notNull())
    .addColumn('salt', 'text', (c) => c.notNull())
    .addColumn('rotated_at', 'bigint')
    .execute()
  await schema.createIndex('sessions_by_user').on('sessions').column('user_id').execute()
  await schema.createIndex('sessions_by_client').on('sessions').column('client_id').execute()
  await schema.createIndex('sessions_by_end').on('sessions').column('idle_expires_at').execute()
}

async function createKeys(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('sealed_values')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute()
  await schema
    .createTable('signing_keys')
    .addColumn('kid', 'text', (c) => c.primaryKey())
    .addColumn('alg', 'text', (c) => c.notNull())
    .addColumn('public_jwk', 'text', (c) => c.notNull())
    .addColumn('sealed_private_key', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('signs_since_at', 'bigint')
    .addColumn('verifies_until_at', 'bigint')
    .addColumn('retired_at', 'bigint')
    .execute()
  await schema
    .createTable('refresh_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('sealed_key', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('verifies_until_at', 'bigint')
    .execute()
}

async function createRevocations(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('revocations')
    .addColumn('seq', 'bigint', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('revocations_by_end').on('revocations').column('expires_at').execute()
}

async function createGuesses(schema: SchemaModule): Promise<void> {
  await schema
    .createTable('guesses')
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('last_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('guesses_by_end').on('guesses').column('expires_at').execute()
}
