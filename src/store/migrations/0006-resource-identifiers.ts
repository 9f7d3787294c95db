import { type Kysely, sql } from 'kysely'

export const version = 6
export const compatibleFrom = 5

/** Adds the index that refuses two resources whose identifiers differ only in slashes at their end. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create unique index resources_identifier_without_slash on resources (rtrim(identifier, '/'))`.execute(db)
}
