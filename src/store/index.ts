import { Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { SetupError } from '../domain/errors.ts'
import type { Store } from '../domain/ports.ts'
import { bootstrap } from './bootstrap.ts'
import { clients } from './clients.ts'
import { translateErrors } from './errors.ts'
import { expiry } from './expiry.ts'
import { guesses } from './guesses.ts'
import { keys } from './keys.ts'
import * as frontDoor from './migrations/0001-front-door.ts'
import * as people from './migrations/0002-people.ts'
import * as sessionsThatLast from './migrations/0003-sessions.ts'
import * as keysThatRotate from './migrations/0004-keys.ts'
import * as services from './migrations/0005-services.ts'
import * as revocationLog from './migrations/0006-revocation-log.ts'
import { openPostgres } from './postgres.ts'
import { refreshKeys } from './refresh-keys.ts'
import { resources } from './resources.ts'
import { revocations } from './revocations.ts'
import { roles } from './roles.ts'
import type { Tables } from './schema.ts'
import { scopes } from './scopes.ts'
import { sessions } from './sessions.ts'
import { openSqlite } from './sqlite.ts'
import { state } from './state.ts'
import { users } from './users.ts'

const migrations = [frontDoor, people, sessionsThatLast, keysThatRotate, services, revocationLog]
const VERSION = migrations.length

const provider = {
  getMigrations: async (): Promise<Record<string, Migration>> =>
    Object.fromEntries(
      migrations.map(({ version, compatibleFrom, up }) => [
        String(version).padStart(4, '0'),
        {
          async up(db: Kysely<unknown>) {
            await up(db)
            await (db as Kysely<Tables>)
              .updateTable('schema_version')
              .set({ version, compatible_from: compatibleFrom })
              .execute()
          }
        }
      ])
    )
}

/** Without it Kysely takes tables of that name in any schema for its own. */
async function currentSchema(db: Kysely<Tables>): Promise<string> {
  const { rows } = await sql<{ name: string }>`select current_schema() as name`.execute(db)
  return (rows[0] as { name: string }).name
}

/**
 * Opens the database at its first use; until `migrate` it makes none.
 * @param url `sqlite:<file>`, `sqlite::memory:` or `postgres://…`
 */
export function openStore(url: string): Store {
  const sqlite = url.startsWith('sqlite:') ? openSqlite(url.slice('sqlite:'.length)) : null
  const db = new Kysely<Tables>({ dialect: sqlite?.dialect ?? openPostgres(url) })

  const tableNames = sqlite
    ? sql<{ name: string }>`select name from sqlite_schema where type = 'table'`
    : sql<{
        name: string
      }>`select table_name as name from information_schema.tables where table_schema = current_schema()`

  async function schema() {
    if (sqlite !== null && !sqlite.exists()) return null
    const { rows } = await tableNames.execute(db)
    const names = rows.map((row) => row.name).filter((name) => !name.startsWith('kysely_'))
    if (!names.includes('schema_version') || !names.includes('invariants')) {
      if (names.length > 0) throw new SetupError('the database holds the tables of another program')
      return null
    }
    const row = await db.selectFrom('schema_version').selectAll().executeTakeFirst()
    if (row === undefined) throw new SetupError('the database does not say which version its schema has')
    return { version: row.version, compatibleFrom: row.compatible_from }
  }

  async function migrate() {
    const found = await schema()
    if (found !== null && found.version >= VERSION) return
    await sqlite?.create()
    const patient = sqlite === null ? new Kysely<Tables>({ dialect: openPostgres(url, { patient: true }) }) : db
    try {
      const place = sqlite === null ? { migrationTableSchema: await currentSchema(db) } : {}
      const { error } = await new Migrator({ db: patient, provider, ...place }).migrateToLatest()
      if (error !== undefined) throw error
    } finally {
      if (patient !== db) await patient.destroy()
    }
  }

  return translateErrors<Store>({
    version: VERSION,
    schema,
    migrate,
    ...bootstrap(db),
    users: users(db, sqlite === null),
    roles: roles(db, sqlite === null),
    guesses: guesses(db),
    clients: clients(db, sqlite === null),
    scopes: scopes(db),
    resources: resources(db, sqlite === null),
    sessions: sessions(db, sqlite === null),
    keys: keys(db),
    refreshKeys: refreshKeys(db),
    expiry: expiry(db, sqlite === null),
    sealed: {
      async get(name) {
        const row = await db.selectFrom('sealed_values').select('value').where('name', '=', name).executeTakeFirst()
        return row?.value ?? null
      }
    },
    revocations: revocations(db),
    state: state(db),
    close: () => db.destroy()
  })
}
