import { type Kysely, sql } from 'kysely'

export const version = 6
export const compatibleFrom = 1

export async function up(db: Kysely<unknown>): Promise<void> {
  // An empty database gets it by its first start.
  await sql`insert into scopes (name, description, resource_id)
    select 'revocations:read', 'Read the revocation log', id from resources where id = 'latchkey'`.execute(db)
  // Until now the terminal gave it to roles, where it is good for nothing.
  await sql`delete from role_scopes where scope = 'tokens:introspect'`.execute(db)
}
