import { type Kysely, sql } from 'kysely'

/** New scopes of Latchkey's own API, for databases that are there already; an empty one gets them by its first start. */
export async function addScopes(db: Kysely<unknown>, scopes: [name: string, description: string][]): Promise<void> {
  for (const [name, description] of scopes) {
    await sql`insert into scopes (name, description, resource_id)
      select cast(${name} as text), cast(${description} as text), id from resources where id = 'latchkey'`.execute(db)
    await sql`insert into role_scopes (role, scope)
      select name, cast(${name} as text) from roles where name = 'admin'`.execute(db)
    await sql`insert into client_scopes (client_id, scope, is_default)
      select id, cast(${name} as text), 0 from clients where id = 'docs'`.execute(db)
  }
}
