import type { Kysely } from 'kysely'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

export function scopes(db: Kysely<Tables>): Store['scopes'] {
  const select = db.selectFrom('scopes').select(['name', 'description', 'resource_id as resourceId']).orderBy('name')
  return {
    find: async (names) => (names.length === 0 ? [] : select.where('name', 'in', names).execute()),
    list: () => select.execute()
  }
}
