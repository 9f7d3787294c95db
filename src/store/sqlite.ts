import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler
} from 'kysely'
import { SetupError } from '../domain/errors.ts'
import { createDirectory } from './directory.ts'
import { Connection, retryWhileBusy } from './sqlite-connection.ts'
import { SqliteReader } from './sqlite-reader.ts'
import { type Part, SqliteWriter } from './sqlite-writer.ts'
import type { Row, Statements } from './statements.ts'

export const MEMORY = ':memory:'

/**
 * Writes on one connection. For a file there is a second connection that only reads, so that reads continue while a write waits for
 * another process.
 */
class SqliteDriver implements Driver {
  readonly #file: string
  #isClosed = false
  #opening: Promise<{ writer: SqliteWriter; reader: SqliteReader | null }> | undefined

  constructor(file: string) {
    this.#file = file
  }

  /** Opens the connections at the first call. A failure is not kept. The reader is null for a database in memory. */
  open(): Promise<{ writer: SqliteWriter; reader: SqliteReader | null }> {
    if (this.#isClosed) return Promise.reject(new Error('the database is closed'))
    this.#opening ??= this.#connect().catch((error) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #connect() {
    if (this.#file !== MEMORY) {
      if (!existsSync(this.#file)) throw new SetupError(`the database ${this.#file} does not exist: restore a backup`)
      if (statSync(this.#file).isDirectory())
        throw new SetupError(`the database ${this.#file} is a directory: set LATCHKEY_DATABASE_URL to a file in it`)
    }
    const writer = new Connection(this.#file, false)
    try {
      await retryWhileBusy(() => writer.database.exec('pragma synchronous = full; select count(*) from sqlite_schema'))
      const reader = this.#file === MEMORY ? null : new SqliteReader(new Connection(this.#file, true))
      return { writer: new SqliteWriter(writer), reader }
    } catch (error) {
      writer.database.close()
      throw error
    }
  }

  async init(): Promise<void> {
    await this.open()
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return new SqliteConnection(await this.open())
  }

  async releaseConnection(): Promise<void> {}

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as SqliteConnection).begin()
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as SqliteConnection).end('commit')
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as SqliteConnection).end('rollback')
  }

  /** Closes the connections. A second call has no effect. */
  async destroy(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const opened = await this.#opening?.catch(() => undefined)
    opened?.reader?.close()
    await opened?.writer.close()
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #writer: SqliteWriter
  readonly #reader: SqliteReader | null
  /** The transaction that this connection has begun. */
  #part: Part | undefined

  constructor({ writer, reader }: { writer: SqliteWriter; reader: SqliteReader | null }) {
    this.#writer = writer
    this.#reader = reader
  }

  async begin(): Promise<void> {
    this.#part = await this.#writer.begin()
  }

  async end(how: 'commit' | 'rollback'): Promise<void> {
    const part = this.#part
    this.#part = undefined
    // After a commit that failed Kysely also asks for a rollback.
    await part?.end(how)
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#part !== undefined) return this.#part.run(sql, parameters)
    if (this.#reader !== null && /^select /i.test(sql)) return this.#reader.readNow(sql, parameters)
    return this.#writer.runAlone(sql, parameters)
  }

  // biome-ignore lint/correctness/useYield: the interface of Kysely requires a generator
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('queries are not streamed')
  }
}

class TransactionalSqliteAdapter extends SqliteAdapter {
  /** With false Kysely would run one query at a time, and reads would wait for a write that waits. */
  override get supportsMultipleConnections(): boolean {
    return true
  }

  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

/** Opens a SQLite database. @param file a path, or `:memory:` */
export function openSqlite(file: string) {
  const driver = new SqliteDriver(file)
  const dialect: Dialect = {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => driver,
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler()
  }

  const statements: Statements = {
    async read(query, parameters) {
      const { reader, writer } = await driver.open()
      return reader === null
        ? query.toResult((await writer.runAlone<Row>(query.sql, parameters)).rows)
        : reader.read(query, parameters)
    },

    async write(sql, parameters) {
      const { writer } = await driver.open()
      return (await writer.write<Row>(sql, parameters)).rows
    }
  }

  return {
    dialect,
    statements,
    /** Closes the connections. Kysely does so only for a database that it has used. */
    close: () => driver.destroy(),
    /** Returns whether the file exists. @throws Error when the user may not know, for example EACCES in a directory of another user */
    exists: () => file === MEMORY || statSync(file, { throwIfNoEntry: false }) !== undefined,

    /**
     * Creates an empty database with a write-ahead log, readable by its owner only. Does not change the content of an existing file.
     */
    async create(): Promise<void> {
      if (file === MEMORY) return
      createDirectory(dirname(file))
      closeSync(openSync(file, 'a', 0o600))
      chmodSync(file, 0o600)
      const database = new DatabaseSync(file, { timeout: 0 })
      try {
        await retryWhileBusy(() => database.exec('pragma journal_mode = wal'))
      } finally {
        database.close()
      }
    }
  }
}
