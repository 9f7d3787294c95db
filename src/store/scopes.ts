import type { Kysely } from 'kysely'
import type { RegisteredScope } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

export function scopes(db: Kysely<Tables>): Store['scopes'] {
  const select = db
    .selectFrom('scopes')
    .innerJoin('resources', 'resources.id', 'resource_id')
    .select(['scopes.name', 'description', 'resource_id', 'identifier'])
    .orderBy('scopes.name')
  const toScope = ({
    resource_id: resourceId,
    ...scope
  }: Tables['scopes'] & Pick<Tables['resources'], 'identifier'>): RegisteredScope => ({ ...scope, resourceId })
  return {
    find: async (names) =>
      names.length === 0 ? [] : (await select.where('scopes.name', 'in', names).execute()).map(toScope),
    list: async ({ after, limit }) => {
      const rows = await select
        .$if(after !== null, (query) => query.where('scopes.name', '>', after))
        .limit(limit)
        .execute()
      return rows.map(toScope)
    }
  }
}
