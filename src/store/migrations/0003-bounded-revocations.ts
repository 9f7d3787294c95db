import { type Kysely, sql } from 'kysely'

export const version = 3
// An older program would accept the tokens of a session whose entries were replaced by one.
export const compatibleFrom = 3

/** Adds what bounds the revocation log: who an entry is about, who may read it, and how much a user or client may write. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await schema
    .alterTable('sessions')
    .addColumn('revoked_seq', 'bigint', (c) => c.notNull().defaultTo(0))
    .execute()
  for (const column of ['user_id', 'session_id', 'resources'])
    await schema.alterTable('revocations').addColumn(column, 'text').execute()
  await schema.createIndex('revocations_by_subject').on('revocations').columns(['kind', 'id']).execute()
  await schema.createIndex('revocations_by_session').on('revocations').column('session_id').execute()
  await schema.createIndex('revocations_by_user').on('revocations').column('user_id').execute()
  await schema
    .createTable('revocation_quotas')
    .addColumn('writer', 'text', (c) => c.primaryKey())
    .addColumn('until_at', 'bigint', (c) => c.notNull())
    .execute()
  await sql`create index revocation_quotas_by_end on revocation_quotas (until_at)`.execute(db)
}
