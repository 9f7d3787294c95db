import { type Kysely, sql } from 'kysely'

export const version = 9
/**
 * An earlier program signs with any of the signing keys, which every verifier accepts. This program adds the keys that a rotation by the
 * earlier program leaves out.
 */
export const compatibleFrom = 5

/** Allows one signing key and one next key of each algorithm, instead of one in total. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropIndex('signing_keys_one_of_each').execute()
  await sql`create unique index signing_keys_one_of_each on signing_keys (alg, state) where state in ('signing', 'next')`.execute(
    db
  )
}
