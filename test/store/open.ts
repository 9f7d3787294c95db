import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTick, setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import root, { type Test } from 'tap'
import type { Store } from '../../src/domain/ports.ts'
import { openStore } from '../../src/store/index.ts'
import { createDatabase, type Database } from '../helper.ts'

export type Row = Record<string, unknown>

/** A new database, empty, and ways past the store. */
export interface Opened {
  url: string
  store: Store
  /** One more instance on the same database, as another process would have it. */
  another: () => Store
  /** Runs the statements in one transaction of another connection, with pauses; gives the rows of the last. */
  sql: (...statements: string[]) => Promise<Row[]>
  /** Keeps every writer out until the result is called. */
  block: () => Promise<() => Promise<void>>
}

/** @param lasting whether more is opened before this test ends */
export type Open = (t: Test, lasting: boolean) => Promise<Opened>

interface Raw {
  run: (statement: string) => Promise<Row[]>
  close: () => Promise<void>
}

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
  const database = new DatabaseSync(file, { timeout: 0 })
  return {
    async run(statement) {
      if (statement === 'begin') await beginImmediate(database)
      else return database.prepare(statement).all() as Row[]
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

let shared: Promise<string> | undefined

/** One database for all tests of the file that need it one after the other, emptied: sooner done than a new one. */
async function emptied(): Promise<string> {
  shared ??= createDatabase(root, 'postgres').then(({ url }) => url)
  const url = await shared
  const raw = await connectPostgres(url)
  await raw.run('drop schema public cascade')
  await raw.run('create schema public')
  await raw.close()
  return url
}

export async function open(t: Test, database: Database, lasting = false): Promise<Opened> {
  const url = database === 'sqlite' || lasting ? (await createDatabase(t, database)).url : await emptied()
  const connect = async () =>
    database === 'sqlite' ? connectSqlite(url.slice('sqlite:'.length)) : await connectPostgres(url)
  const another = () => {
    const store = openStore(url)
    t.teardown(() => store.close())
    return store
  }
  let connected: Promise<Raw> | undefined
  t.teardown(async () => (await connected)?.close())

  return {
    url,
    store: another(),
    another,
    async sql(...statements) {
      connected ??= connect()
      const raw = await connected
      await raw.run('begin')
      try {
        let rows: Row[] = []
        for (const statement of statements) {
          rows = await raw.run(statement)
          await nextTick()
        }
        await raw.run('commit')
        return rows.map((row) => ({ ...row }))
      } catch (error) {
        await raw.run('rollback')
        throw error
      }
    },
    async block() {
      const raw = await connect()
      await raw.run('begin')
      if (database === 'postgres') await raw.run('lock table users, invariants in access exclusive mode')
      return async () => {
        await raw.run('rollback')
        await raw.close()
      }
    }
  }
}
