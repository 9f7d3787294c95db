import { Kysely, sql } from 'kysely'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { SetupError } from '../../src/domain/errors.ts'
import type { Client } from '../../src/domain/model.ts'
import type { Db } from '../../src/store/columns.ts'
import { MIGRATIONS, type SchemaMigration } from '../../src/store/migrations/index.ts'
import { openPostgres } from '../../src/store/postgres.ts'
import { postgresSchemaVersion, sqliteSchemaVersion } from '../../src/store/schema-version.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { createDatabase, type Kind, type Opened, open } from './open.ts'
import { addUser, asUser, outcomes, ROUNDS, SEED } from './rows.ts'

const VERSION = MIGRATIONS.length
const COMPATIBLE_FROM = MIGRATIONS.at(-1)?.compatibleFrom as number

/** Tests how a database gets its tables, on databases of their own. */
export async function schema(t: Test, kind: Kind): Promise<void> {
  const shared = kind === 'postgres' ? await createDatabase(t, kind) : undefined

  /** Opens an empty database. On PostgreSQL it is always the same one, which is faster than a new one. */
  async function openEmpty(t: Test): Promise<Opened> {
    const opened = await open(t, kind, shared)
    if (kind === 'postgres') await opened.sql('drop schema public cascade', 'create schema public')
    return opened
  }

  t.test('an empty database has no schema', async (t) => {
    const { store } = await openEmpty(t)
    t.equal(await store.schema(), null)
    t.equal(await store.schema(), null)
  })

  t.test('migrate brings an empty database to the version of the program, and runs once', async (t) => {
    const opened = await openEmpty(t)
    const { store, others } = opened
    await store.migrate()
    t.strictSame(await store.schema(), { version: VERSION, compatibleFrom: COMPATIBLE_FROM })
    t.equal(store.version, MIGRATIONS.length)
    await store.setUp(OPERATOR, { seed: SEED, admin: null })
    const user = await addUser(store)
    await store.migrate()
    await others[0].migrate()
    t.strictSame(await others[0].schema(), { version: VERSION, compatibleFrom: COMPATIBLE_FROM })
    t.strictSame(await store.users.get(user.id), asUser(user))
  })

  t.test('a program that an earlier migration has excluded stays excluded', async (t) => {
    const oldest = MIGRATIONS.map((each) => each.compatibleFrom)
    t.strictSame(
      oldest,
      oldest.toSorted((a, b) => a - b)
    )
  })

  t.test('of concurrent migrations one runs and the others find it done', async (t) => {
    for (let round = 0; round < Math.ceil(ROUNDS / 10); round++) {
      const { store, others, sql } = await openEmpty(t)
      const calls = [store, ...others, store].map((each) => each.migrate())
      t.strictSame(await outcomes(calls), { done: 6 })
      t.equal((await store.schema())?.version, store.version)
      t.strictSame(await store.setupState(), { seeded: false, admin: false })
      const names = await sql('select name, version from invariants order by name')
      t.strictSame(
        names,
        ['admins', 'keys', 'setup', 'subjects'].map((name) => ({ name, version: 0 }))
      )
    }
  })

  t.test('a database with the tables of another program is refused and left alone', async (t) => {
    const { store, sql } = await openEmpty(t)
    await sql('create table guests (name text)', "insert into guests values ('bob')")
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
    t.strictSame(await sql('select * from guests'), [{ name: 'bob' }])
    await t.rejects(sql('select * from invariants'), 'no table was added')
    await sql('drop table guests')

    await sql('create table schema_version (installed_rank integer)', 'insert into schema_version values (1)')
    await t.rejects(store.schema(), SetupError, 'also with a table named schema_version')
    await t.rejects(store.migrate(), SetupError)
  })

  t.test('a schema without its version is refused', async (t) => {
    const { store, sql } = await openEmpty(t)
    await store.migrate()
    await sql('delete from schema_version')
    await t.rejects(store.schema(), SetupError)
    await t.rejects(store.migrate(), SetupError)
  })

  t.test('a newer schema is reported and left alone', async (t) => {
    const { store, sql } = await openEmpty(t)
    await store.migrate()
    await sql('update schema_version set version = 99, compatible_from = 98')
    t.strictSame(await store.schema(), { version: 99, compatibleFrom: 98 })
    await store.migrate()
    t.strictSame(await store.schema(), { version: 99, compatibleFrom: 98 })
  })

  const LATER: SchemaMigration = {
    version: VERSION + 1,
    compatibleFrom: 1,
    up: async (db) => void (await sql`create table later (name text)`.execute(db))
  }
  const FAILING: SchemaMigration = {
    version: VERSION + 2,
    compatibleFrom: VERSION + 2,
    async up(db) {
      await sql`create table latest (name text)`.execute(db)
      throw new Error('planted by a test')
    }
  }

  /** Returns the schema version of a program that has these migrations. */
  function programWith(t: Test, url: string, migrations: SchemaMigration[]) {
    const sqlite = openSqlite(url.slice('sqlite:'.length))
    const openUnlimited = (): Db => new Kysely({ dialect: openPostgres(url, { unlimited: true }).dialect })
    const db: Db = kind === 'sqlite' ? new Kysely({ dialect: sqlite.dialect }) : openUnlimited()
    t.teardown(() => db.destroy())
    return kind === 'sqlite'
      ? sqliteSchemaVersion(db, sqlite, migrations)
      : postgresSchemaVersion(db, openUnlimited, migrations)
  }

  t.test('a later migration runs once on a database in use, which the previous program may still use', async (t) => {
    const { store, sql, url } = await openEmpty(t)
    await store.migrate()
    await store.setUp(OPERATOR, { seed: SEED, admin: null })
    const user = await addUser(store)
    const programs = Array.from({ length: 4 }, () => programWith(t, url, [...MIGRATIONS, LATER]))
    t.strictSame(await outcomes(programs.map((each) => each.migrate())), { done: 4 })
    t.strictSame(await store.schema(), { version: VERSION + 1, compatibleFrom: 1 })
    t.strictSame(await sql('select * from later'), [])
    t.strictSame(await store.users.get(user.id), asUser(user))
    await store.migrate()
    t.strictSame(
      await store.schema(),
      { version: VERSION + 1, compatibleFrom: 1 },
      'the previous program changes nothing'
    )
  })

  t.test('a migration that fails is rolled back with all migrations of the same run', async (t) => {
    const { store, sql, url } = await openEmpty(t)
    const program = programWith(t, url, [...MIGRATIONS, LATER, FAILING])
    await t.rejects(program.migrate(), { message: 'planted by a test' })
    t.equal(await store.schema(), null)
    for (const table of ['latest', 'later', 'users']) await t.rejects(sql(`select * from ${table}`), table)
    await programWith(t, url, [...MIGRATIONS, LATER]).migrate()
    t.strictSame(await store.schema(), { version: VERSION + 1, compatibleFrom: 1 })
  })

  t.test(
    'names and addresses of an earlier version get the keys of this version, and a clash stops the migration',
    async (t) => {
      const { store, sql, url } = await openEmpty(t)
      const before = MIGRATIONS.findIndex(({ version }) => version === 5)
      await programWith(t, url, MIGRATIONS.slice(0, before)).migrate()
      const add = (id: string, username: string, key: string) =>
        sql(
          `insert into users (id, username, username_key, auth_version, created_at, updated_at) values ('${id}', '${username}', '${key}', 1, 1, 1)`
        )
      await add('1', 'Straße', 'straße')
      await add('2', 'Alice', 'alice')
      await add('3', 'АBBА', 'аbbа')
      await sql(`update users set email_key = 'alice@example.com' where id = '2'`)
      await add('4', 'STRASSE', 'strasse')
      await t.rejects(store.migrate(), {
        message:
          'the usernames "Straße" and "STRASSE" are the same name in this version: rename one of them with the previous version'
      })
      t.equal((await store.schema())?.version, before)
      await sql(`delete from users where id = '4'`)
      await store.migrate()
      t.strictSame(await sql('select id, username_key, look_alike, email_key from users order by id'), [
        { id: '1', username_key: 'strasse', look_alike: 'strasse', email_key: null },
        { id: '2', username_key: 'alice', look_alike: 'alice', email_key: 'alice@example.com 2' },
        { id: '3', username_key: 'аbbа', look_alike: 'abba', email_key: null }
      ])
    }
  )

  t.test(
    'the migration splits profile: account goes to roles and first-party clients, not to other clients',
    async (t) => {
      const { store, sql, url } = await openEmpty(t)
      const before = MIGRATIONS.findIndex(({ version }) => version === 8)
      await programWith(t, url, MIGRATIONS.slice(0, before)).migrate()
      const client = (id: string, firstParty: number, redirectUris = '') =>
        `insert into clients (id, name, kind, first_party, grant_types, resources, redirect_uris, session_idle_ttl,
        session_absolute_ttl, revoked_seq, created_at, updated_at)
        values ('${id}', '${id}', 'public', ${firstParty}, '', '', '${redirectUris}', 1, 1, 0, 0, 0)`
      await sql(
        `insert into resources (id, name, created_at) values ('latchkey', 'Latchkey', 0), ('orders', 'Orders', 0)`,
        `insert into scopes (name, description, resource_id) values ('profile', '', 'latchkey'), ('users:read', '', 'latchkey'), ('email', '', 'orders')`,
        `insert into roles (name, description, created_at, updated_at) values ('user', 'May see and change their own profile', 0, 0), ('reader', '', 0, 0)`,
        `insert into role_scopes (role, scope) values ('user', 'profile'), ('reader', 'users:read')`,
        client('docs', 1),
        client('own', 1, 'https://own.example/back'),
        client('other', 0, 'http://127.0.0.1/ com.example.app:/back'),
        `insert into client_scopes (client_id, scope, is_default) values ('docs', 'profile', 1), ('own', 'profile', 1), ('other', 'profile', 1)`
      )
      await t.rejects(store.migrate(), { message: /^the scope "email" of the resource "orders" belongs to Latchkey/ })
      await sql(`delete from scopes where name = 'email'`)
      await store.migrate()
      const scopesOf = async (id: string) => {
        const { scopes, defaultScopes } = (await store.clients.get(id)) as Client
        return [scopes.join(' '), defaultScopes.join(' ')]
      }
      t.strictSame(await scopesOf('docs'), ['account email openid profile', 'profile'])
      t.strictSame(await scopesOf('own'), ['account profile', 'account profile'])
      t.strictSame(await scopesOf('other'), ['profile', 'profile'])
      t.strictSame((await store.roles.get('user'))?.scopes, ['account', 'profile'])
      t.strictSame((await store.roles.get('reader'))?.scopes, ['users:read'])
      t.equal((await store.clients.get('own'))?.applicationType, 'web')
      t.equal((await store.clients.get('other'))?.applicationType, 'native', 'it has a private-use scheme')
      t.equal((await store.scopes.find(['openid', 'email', 'account', 'profile'])).length, 4)
    }
  )
}
