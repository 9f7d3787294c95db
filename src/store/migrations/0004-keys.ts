import { type Kysely, sql } from 'kysely'

export const version = 4
export const compatibleFrom = 1

const SCOPES = [
  ['keys:read', 'See the keys that tokens are signed with'],
  ['keys:write', 'Rotate and retire keys']
]

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await sql`insert into invariants values ('keys', 0)`.execute(db)

  // Null where a program of before made the key: it signs since it was made, and none of those had stopped.
  await schema.alterTable('signing_keys').addColumn('signs_since_at', 'bigint').execute()
  await schema.alterTable('signing_keys').addColumn('verifies_until_at', 'bigint').execute()
  await schema.alterTable('signing_keys').addColumn('retired_at', 'bigint').execute()
  await schema.alterTable('refresh_keys').addColumn('verifies_until_at', 'bigint').execute()

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
