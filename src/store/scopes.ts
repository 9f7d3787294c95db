import type { RegisteredScope } from '../domain/model.ts'
import type { ScopeStore } from '../domain/ports/resources.ts'
import type { Tables } from './schema.ts'
import type { Database } from './transaction.ts'

const toScope = ({
  resource_id: resourceId,
  ...scope
}: Tables['scopes'] & Pick<Tables['resources'], 'identifier'>): RegisteredScope => ({ ...scope, resourceId })

export function scopes({ db }: Database): ScopeStore {
  const select = db
    .selectFrom('scopes')
    .innerJoin('resources', 'resources.id', 'resource_id')
    .select(['scopes.name', 'description', 'resource_id', 'identifier'])
    .orderBy('scopes.name')

  return {
    async find(names) {
      if (names.length === 0) return []
      const rows = await select.where('scopes.name', 'in', names).execute()
      return rows.map(toScope)
    },

    async list({ after, limit }) {
      const rows = await select
        .$if(after !== null, (query) => query.where('scopes.name', '>', after))
        .limit(limit)
        .execute()
      return rows.map(toScope)
    }
  }
}
