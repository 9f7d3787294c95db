import { type Kysely, sql } from 'kysely'

export const version = 4
export const compatibleFrom = 3

/** Adds the index by which a random sample of the password hashes is read. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create index credentials_at_random on credentials (substr(user_id, 25))`.execute(db)
}
