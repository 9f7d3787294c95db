import { type Kysely, type SchemaModule, sql } from 'kysely'
import { SetupError } from '../../domain/errors.ts'

export const version = 8
export const compatibleFrom = 5

/** Adds sign-in on pages: logins of browsers, authorization requests, consents, and the members of clients that they need. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await extendClients(schema)
  await markNativeClients(db)
  await splitProfile(db)
  await sql`update clients set grant_types = 'authorization_code ' || grant_types where id = 'docs'`.execute(db)
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

/** A private-use scheme in a redirect URI is for native apps only (RFC 8252 §7.1). */
async function markNativeClients(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ id: string; redirect_uris: string }>`
    select id, redirect_uris from clients where redirect_uris <> ''`.execute(db)
  const isPrivateUse = (uri: string) => !/^https?:/i.test(uri)
  for (const { id, redirect_uris } of rows)
    if (redirect_uris.split(' ').some(isPrivateUse))
      await sql`update clients set application_type = 'native' where id = ${id}`.execute(db)
}

const ADDED = [
  ['openid', 'Know who you are'],
  ['email', 'See your e-mail address'],
  ['account', 'Change your profile and your password, and end your sessions']
] as const

/**
 * The scope `profile` only shows from now on, and `account` changes. Roles and first-party clients with `profile` get `account`, so users
 * and programs of the operator can do what they could do before. Roles keep `profile`, which the previous version needs.
 */
async function splitProfile(db: Kysely<unknown>): Promise<void> {
  // An empty database gets its scopes by the first start.
  const { rows } = await sql`select 1 from resources where id = 'latchkey'`.execute(db)
  if (rows.length === 0) return
  await assertFree(db)
  for (const [name, description] of ADDED)
    await sql`insert into scopes (name, description, resource_id) values (${name}, ${description}, 'latchkey')`.execute(
      db
    )
  await sql`update scopes set description = 'See your name and your roles' where name = 'profile'`.execute(db)
  await sql`update roles set description = 'May change their own profile'
    where name = 'user' and description = 'May see and change their own profile'`.execute(db)
  await sql`insert into role_scopes (role, scope)
    select role, 'account' from role_scopes where scope = 'profile'`.execute(db)
  await sql`insert into client_scopes (client_id, scope, is_default)
    select client_id, 'account', case when client_id = 'docs' then 0 else is_default end
    from client_scopes join clients on clients.id = client_id
    where scope = 'profile' and first_party = 1`.execute(db)
  for (const scope of ['openid', 'email'])
    await sql`insert into client_scopes (client_id, scope, is_default)
      select id, cast(${scope} as text), 0 from clients where id = 'docs'`.execute(db)
}

/** An earlier version let other resources register the new scopes. @throws SetupError */
async function assertFree(db: Kysely<unknown>): Promise<void> {
  const names = sql.join(ADDED.map(([name]) => name))
  const { rows } = await sql<{ name: string; resource_id: string }>`
    select name, resource_id from scopes where name in (${names})`.execute(db)
  const [taken] = rows
  if (taken !== undefined)
    throw new SetupError(
      `the scope "${taken.name}" of the resource "${taken.resource_id}" belongs to Latchkey in this version: remove it from the resource with the previous version`
    )
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
    .addColumn('session_id', 'text', (c) => c.primaryKey())
    // No reference, because the lock that an insert takes on the client could deadlock with a deletion of the client.
    .addColumn('client_id', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('next_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('logout_notices_by_time').on('logout_notices').column('next_at').execute()
}
