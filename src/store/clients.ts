import type { Kysely } from 'kysely'
import type { Client, Millis } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'
import { words } from './users.ts'

/** In the caller's transaction. */
export async function insertClient(db: Kysely<Tables>, client: Client, now: Millis): Promise<void> {
  await db
    .insertInto('clients')
    .values({
      id: client.id,
      name: client.name,
      grant_types: client.grantTypes.join(' '),
      session_idle_ttl: client.sessionIdleTtl,
      session_absolute_ttl: client.sessionAbsoluteTtl,
      disabled_at: client.disabledAt,
      created_at: now,
      updated_at: now
    })
    .execute()
  for (const scope of client.scopes) {
    const is_default = client.defaultScopes.includes(scope) ? 1 : 0
    await db.insertInto('client_scopes').values({ client_id: client.id, scope, is_default }).execute()
  }
}

export function clients(db: Kysely<Tables>): Store['clients'] {
  return {
    async get(id) {
      const rows = await db
        .selectFrom('clients')
        .leftJoin('client_scopes', 'client_id', 'clients.id')
        .selectAll('clients')
        .select(['scope', 'is_default'])
        .where('clients.id', '=', id)
        .orderBy('scope')
        .execute()
      const [row] = rows
      if (row === undefined) return null
      const names = (some: typeof rows) => some.flatMap(({ scope }) => scope ?? [])
      return {
        id: row.id,
        name: row.name,
        grantTypes: words(row.grant_types),
        scopes: names(rows),
        defaultScopes: names(rows.filter((each) => each.is_default === 1)),
        sessionIdleTtl: row.session_idle_ttl,
        sessionAbsoluteTtl: row.session_absolute_ttl,
        disabledAt: row.disabled_at
      }
    }
  }
}
