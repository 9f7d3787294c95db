import { type Kysely, sql } from 'kysely'
import { addScopes } from './scopes.ts'

export const version = 2
export const compatibleFrom = 1

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

  await addScopes(db, [
    ['users:write', 'Create, change and delete users'],
    ['roles:read', 'See every role and scope'],
    ['roles:write', 'Create, change and delete roles']
  ])
}
