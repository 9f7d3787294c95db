import type { Kysely } from 'kysely'

export const version = 2
export const compatibleFrom = 1

/** Adds the roles that tokens of a client may carry. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('clients').addColumn('roles', 'text').execute()
}
