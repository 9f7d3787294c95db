import { type Kysely, sql } from 'kysely'
import { addScopes } from './scopes.ts'

export const version = 4
export const compatibleFrom = 1

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await sql`insert into invariants values ('keys', 0)`.execute(db)

  // Null where a program of before made the key: it signs since it was made, and none of those had stopped.
  await schema.alterTable('signing_keys').addColumn('signs_since_at', 'bigint').execute()
  await schema.alterTable('signing_keys').addColumn('verifies_until_at', 'bigint').execute()
  await schema.alterTable('signing_keys').addColumn('retired_at', 'bigint').execute()
  await schema.alterTable('refresh_keys').addColumn('verifies_until_at', 'bigint').execute()

  await addScopes(db, [
    ['keys:read', 'See the keys that tokens are signed with'],
    ['keys:write', 'Rotate and retire keys']
  ])
}
