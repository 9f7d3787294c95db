import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Event } from '../../src/domain/events.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { openStore } from '../../src/store/index.ts'
import { SEED } from './rows.ts'

export type Kind = 'sqlite' | 'postgres'
export type Row = Record<string, unknown>

/** A database, instances of the store on it, and ways past the store. */
export interface Opened {
  kind: Kind
  url: string
  store: Store
  /** Four more instances, as other processes have them. */
  others: [Store, Store, Store, Store]
  /** Opens one more instance until the end of a test. */
  another: (t: Test) => Promise<Store>
  /** Every event that an instance recorded. */
  events: Event[]
  /** Runs the statements in one transaction of another connection, with pauses. Returns the rows of the last. */
  sql: (...statements: string[]) => Promise<Row[]>
  /**
   * Runs the statements in a transaction of another connection. Calling the result commits it; so does the end of the
   * test.
   */
  hold: (t: Test, ...statements: string[]) => Promise<() => Promise<void>>
  /** Removes everything, so that the database is like a new one. */
  empty: () => Promise<void>
  /** Removes everything and stores `SEED`. */
  seed: () => Promise<void>
}

interface Raw {
  run: (statement: string) => Promise<Row[]>
  close: () => Promise<void>
}

const EMPTY = [
  ...['users', 'clients', 'roles', 'scopes', 'resources', 'sealed_values', 'signing_keys', 'refresh_keys'],
  ...['revocations', 'revocation_quotas', 'guesses', 'logout_notices', 'providers']
].map((table) => `delete from ${table}`)
const RESET = ['update invariants set version = 0', 'update counters set seq = 0', 'update leases set until_at = 0']

async function beginImmediate(database: DatabaseSync): Promise<void> {
  for (;;) {
    try {
      return database.exec('begin immediate')
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== 5) throw error
    }
    await sleep(1)
  }
}

function connectSqlite(file: string): Raw {
  const database = new DatabaseSync(file, { timeout: 0, enableForeignKeyConstraints: true })
  return {
    async run(statement) {
      if (statement !== 'begin') return database.prepare(statement).all() as Row[]
      await beginImmediate(database)
      return []
    },
    close: async () => database.close()
  }
}

async function connectPostgres(connectionString: string): Promise<Raw> {
  const getTypeParser = ((oid: number) =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid)) as pg.CustomTypesConfig['getTypeParser']
  const client = new pg.Client({ connectionString, types: { getTypeParser } })
  client.on('error', () => {})
  await client.connect()
  return {
    run: async (statement) => (await client.query(statement)).rows as Row[],
    close: () => client.end()
  }
}

/** Runs a statement as the administrator of the PostgreSQL server that `test/run.ts` started. */
export async function administrate(statement: string): Promise<void> {
  const raw = await connectPostgres(`${process.env.TEST_POSTGRES}/postgres`)
  await raw.run(statement)
  await raw.close()
}

export function createDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Creates an empty database until the end of the test, and returns its URL. */
export async function createDatabase(t: Test, kind: Kind): Promise<string> {
  if (kind === 'sqlite') return `sqlite:${join(createDirectory(t), 'latchkey.db')}`
  const name = `test_${randomBytes(8).toString('hex')}`
  await administrate(`create database ${name} strategy = file_copy`)
  t.teardown(() => administrate(`drop database ${name} with (force)`))
  return `${process.env.TEST_POSTGRES}/${name}`
}

/** Opens a database; a new one unless a URL is given. */
export async function open(t: Test, kind: Kind, given?: string): Promise<Opened> {
  const url = given ?? (await createDatabase(t, kind))
  const connect = async () => (kind === 'sqlite' ? connectSqlite(url.slice('sqlite:'.length)) : connectPostgres(url))
  const events: Event[] = []
  const another = async (t: Test) => {
    const store = await openStore(url, { record: (event) => events.push(event) })
    t.teardown(() => store.close())
    return store
  }
  let connected: Promise<Raw> | undefined
  t.teardown(async () => (await connected)?.close())

  async function sql(...statements: string[]): Promise<Row[]> {
    connected ??= connect()
    const raw = await connected
    await raw.run('begin')
    try {
      let rows: Row[] = []
      for (const statement of statements) {
        rows = await raw.run(statement)
        await setImmediate()
      }
      await raw.run('commit')
      return rows.map((row) => ({ ...row }))
    } catch (error) {
      await raw.run('rollback')
      throw error
    }
  }

  const empty = async () => void (await sql(...EMPTY, ...RESET))
  const store = await another(t)
  return {
    kind,
    url,
    store,
    others: [await another(t), await another(t), await another(t), await another(t)],
    another,
    events,
    sql,
    empty,
    async seed() {
      await empty()
      await store.setUp(OPERATOR, { seed: SEED, admin: null })
    },
    async hold(t, ...statements) {
      const raw = await connect()
      await raw.run('begin')
      for (const statement of statements) await raw.run(statement)
      let isOpen = true
      const commit = async () => {
        if (!isOpen) return
        isOpen = false
        await raw.run('commit')
        await raw.close()
      }
      t.teardown(commit)
      return commit
    }
  }
}

/** Returns what a call returns, and the events that it recorded. */
export async function recording<T>({ events }: Opened, call: Promise<T>): Promise<{ result: T; recorded: Event[] }> {
  const start = events.length
  const result = await call
  return { result, recorded: events.slice(start) }
}
