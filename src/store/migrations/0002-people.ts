import { type Kysely, sql } from 'kysely'

export const version = 2
export const compatibleFrom = 1

const SCOPES = [
  ['users:write', 'Create, change and delete users'],
  ['roles:read', 'See every role and scope'],
  ['roles:write', 'Create, change and delete roles']
]

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await sql`insert into invariants values ('admins', 0)`.execute(db)

  await schema
    .createTable('guesses')
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('last_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await schema.createIndex('guesses_by_end').on('guesses').column('expires_at').execute()

  // An empty database gets them by its first start.
  for (const [name, description] of SCOPES) {
    await sql`insert into scopes (name, description, resource_id)
      select cast(${name} as text), cast(${description} as text), id from resources where id = 'latchkey'`.execute(db)
    await sql`insert into role_scopes (role, scope)
      select name, cast(${name} as text) from roles where name = 'admin'`.execute(db)
    await sql`insert into client_scopes (client_id, scope, is_default)
      select id, cast(${name} as text), 0 from clients where id = 'docs'`.execute(db)
  }
}
