import { type Kysely, type RawBuilder, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { SetupError } from '../domain/errors.ts'
import type { Schema } from '../domain/ports/store.ts'
import type { Db } from './columns.ts'
import type { SchemaMigration } from './migrations/index.ts'
import type { openSqlite } from './sqlite.ts'

export interface SchemaVersion {
  /** Returns null for a missing or empty database. @throws SetupError when the database holds tables of another program */
  read(): Promise<Schema | null>
  /** Runs the missing migrations in one transaction, which also stores the new version. */
  migrate(): Promise<void>
}

function toMigration({ version, compatibleFrom, up }: SchemaMigration): Migration {
  return {
    async up(db: Kysely<unknown>) {
      await up(db)
      await (db as Db).updateTable('schema_version').set({ version, compatible_from: compatibleFrom }).execute()
    }
  }
}

/**
 * Runs migrations in one transaction. Exactly one of concurrent callers runs them: on SQLite the transaction locks the database, on
 * PostgreSQL the caller of this function holds a lock.
 * @param place the option `migrationTableSchema` of Kysely: the schema of its own tables
 */
async function run(db: Db, migrations: SchemaMigration[], place: { migrationTableSchema?: string }): Promise<void> {
  const entries = migrations.map((each) => [String(each.version).padStart(4, '0'), toMigration(each)] as const)
  const provider = { getMigrations: async () => Object.fromEntries(entries) }
  const { error } = await new Migrator({ db, provider, ...place }).migrateToLatest()
  if (error !== undefined) throw error
}

/** Returns the schema in which tables are created. Without this schema Kysely would find its own tables in any schema. */
async function currentSchema(db: Db): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(db)
  return (rows[0] as { name: string }).name
}

/** Reads the version; null for an empty database. @param tables a query for the names of all tables */
async function readVersion(db: Db, tables: RawBuilder<{ name: string }>): Promise<Schema | null> {
  const { rows } = await tables.execute(db)
  const own = rows.map(({ name }) => name).filter((name) => !name.startsWith('kysely_'))
  if (own.length === 0) return null
  if (!own.includes('schema_version') || !own.includes('invariants'))
    throw new SetupError('the database holds the tables of another program')
  const row = await db.selectFrom('schema_version').selectAll().executeTakeFirst()
  if (row === undefined) throw new SetupError('the table schema_version is empty: restore a backup of the database')
  return { version: row.version, compatibleFrom: row.compatible_from }
}

/** The schema version of a SQLite database. */
export function sqliteSchemaVersion(
  db: Db,
  { exists, create }: Pick<ReturnType<typeof openSqlite>, 'exists' | 'create'>,
  migrations: SchemaMigration[]
): SchemaVersion {
  async function read() {
    if (!exists()) return null
    return readVersion(db, sql`select name from sqlite_schema where type = 'table'`)
  }

  return {
    read,
    async migrate() {
      if (((await read())?.version ?? 0) >= migrations.length) return
      await create()
      await run(db, migrations, {})
    }
  }
}

/** The advisory lock of Kysely, so that a program with Kysely's own lock waits too. */
const MIGRATION_LOCK = 3853314791062309107n

/**
 * The schema version of a PostgreSQL database. Migrations run in one transaction, which holds their lock: PgBouncer may give the lock of
 * a session to another client. They run on a separate connection without limits for waits and statements.
 * @param openUnlimited opens that connection
 */
export function postgresSchemaVersion(db: Db, openUnlimited: () => Db, migrations: SchemaMigration[]): SchemaVersion {
  const read = () =>
    readVersion(db, sql`select table_name as name from information_schema.tables where table_schema = current_schema()`)

  return {
    read,
    async migrate() {
      if (((await read())?.version ?? 0) >= migrations.length) return
      const migrationDb = openUnlimited()
      try {
        const place = { migrationTableSchema: await currentSchema(db) }
        await migrationDb.transaction().execute(async (trx) => {
          await sql`select pg_advisory_xact_lock(${sql.lit(MIGRATION_LOCK)})`.execute(trx)
          await run(trx, migrations, place)
        })
      } finally {
        await migrationDb.destroy()
      }
    }
  }
}
