import { Kysely, sql } from 'kysely'
import type { Events } from '../domain/events.ts'
import type { Store } from '../domain/ports/store.ts'
import { authorizations } from './authorizations.ts'
import { clients } from './clients.ts'
import { consents } from './consents.ts'
import { translateErrors } from './errors.ts'
import { expiry } from './expiry.ts'
import { guesses } from './guesses.ts'
import { identities } from './identities.ts'
import { keys } from './keys.ts'
import { logins } from './logins.ts'
import { logoutNotices } from './logout-notices.ts'
import { MIGRATIONS } from './migrations/index.ts'
import { refreshKeys } from './refresh-keys.ts'
import { resources } from './resources.ts'
import { revocations } from './revocations.ts'
import { revokeEverything } from './revoke-everything.ts'
import { roles } from './roles.ts'
import type { Tables } from './schema.ts'
import { postgresSchemaVersion, type SchemaVersion, sqliteSchemaVersion } from './schema-version.ts'
import { scopes } from './scopes.ts'
import { seed } from './seed.ts'
import { createServerClaim, type ServerClaim } from './server-claim.ts'
import { sessions } from './sessions.ts'
import { MEMORY, openSqlite } from './sqlite.ts'
import { state } from './state.ts'
import { createDatabase, type Opened } from './transaction.ts'
import { users } from './users.ts'

interface Connected extends Opened {
  schemaVersion: SchemaVersion
  assertWritable(): Promise<void>
  /** Null where any number of servers is usual. */
  claim: ServerClaim | null
  /** Returns a connection without limits for the time of statements: a new one, which the caller must destroy, or this one. */
  openUnlimited(): Opened
  close(): Promise<void>
}

async function connect(url: string): Promise<Connected> {
  if (url.startsWith('sqlite:')) {
    const file = url.slice('sqlite:'.length)
    const sqlite = openSqlite(file)
    const opened = { db: new Kysely<Tables>({ dialect: sqlite.dialect }), statements: sqlite.statements }
    const { db } = opened
    return {
      ...opened,
      schemaVersion: sqliteSchemaVersion(db, sqlite, MIGRATIONS),
      assertWritable: async () => {},
      claim: file === MEMORY ? null : createServerClaim(file),
      openUnlimited: () => opened,
      async close() {
        await db.destroy()
        await sqlite.close()
      }
    }
  }
  // Loads pg for PostgreSQL only, because it costs time and memory at the start.
  const { openPostgres } = await import('./postgres.ts')
  /** Opens a pool of connections. */
  function pool(options: { unlimited: boolean }): Opened {
    const { dialect, statements } = openPostgres(url, options)
    return { db: new Kysely<Tables>({ dialect }), statements }
  }
  const openUnlimited = () => pool({ unlimited: true })
  const opened = pool({ unlimited: false })
  const { db } = opened
  return {
    ...opened,
    schemaVersion: postgresSchemaVersion(db, () => openUnlimited().db, MIGRATIONS),
    // A server that takes no writes refuses every statement that could write, also one that changes no row.
    assertWritable: async () => void (await sql`update invariants set version = version where false`.execute(db)),
    claim: null,
    openUnlimited,
    close: () => db.destroy()
  }
}

/**
 * Opens a database. Connects at the first use. Only `migrate` creates files and tables.
 * @param url `sqlite:<file>`, `sqlite::memory:` or `postgres://…`
 * @param events receives the event of every committed change
 */
export async function openStore(url: string, events: Events): Promise<Store> {
  const { db, statements, schemaVersion, assertWritable, claim, openUnlimited, close } = await connect(url)
  const database = createDatabase({ db, statements }, events)

  return translateErrors<Store>({
    version: MIGRATIONS.length,
    schema: schemaVersion.read,
    migrate: schemaVersion.migrate,
    assertWritable,
    ...seed(database),
    users: users(database),
    roles: roles(database),
    guesses: guesses(database),
    clients: clients(database),
    scopes: scopes(database),
    resources: resources(database),
    sessions: sessions(database),
    logins: logins(database),
    authorizations: authorizations(database),
    consents: consents(database),
    logoutNotices: logoutNotices(database),
    identities: identities(database),
    keys: {
      ...keys(database),
      async revokeEverything(...args) {
        const unlimited = openUnlimited()
        try {
          return await revokeEverything(createDatabase(unlimited, events))(...args)
        } finally {
          if (unlimited.db !== db) await unlimited.db.destroy()
        }
      }
    },
    refreshKeys: refreshKeys(database),
    expiry: expiry(database),
    sealed: {
      async get(name) {
        const row = await db.selectFrom('sealed_values').select('value').where('name', '=', name).executeTakeFirst()
        return row?.value ?? null
      },
      async add(name, value) {
        await db
          .insertInto('sealed_values')
          .values({ name, value })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .execute()
      }
    },
    revocations: revocations(database),
    state: state(database),
    claimServer: async () => claim?.take() ?? true,
    async close() {
      claim?.release()
      await close()
    }
  })
}
