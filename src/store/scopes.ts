import type { Kysely } from 'kysely'
import type { Scope } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

export function scopes(db: Kysely<Tables>): Store['scopes'] {
  const select = db.selectFrom('scopes').selectAll().orderBy('name')
  const toScope = ({ name, description, resource_id }: Tables['scopes']): Scope => ({
    name,
    description,
    resourceId: resource_id
  })
  return {
    find: async (names) => (names.length === 0 ? [] : (await select.where('name', 'in', names).execute()).map(toScope)),
    list: async ({ after, limit }) => {
      const rows = await select
        .$if(after !== null, (query) => query.where('name', '>', after))
        .limit(limit)
        .execute()
      return rows.map(toScope)
    }
  }
}
