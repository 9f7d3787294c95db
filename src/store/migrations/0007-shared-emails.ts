import { type Kysely, sql } from 'kysely'

export const version = 7
export const compatibleFrom = 5

/** Makes the keys of e-mail addresses unique by the id of the user, so that two users may have one address. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`update users set email_key = email_key || ' ' || id where email_key is not null`.execute(db)
}
