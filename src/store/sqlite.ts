import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
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

const MEMORY = ':memory:'
const BUSY_WAIT_MS = 2000
const STATEMENTS_KEPT = 500
const SQLITE_BUSY = 5
/** SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC. */
const FSYNC_FAILED = [1034, 1290]

const isBusy = (error: unknown): boolean => {
  const { errcode } = error as { errcode?: number }
  return errcode !== undefined && errcode % 256 === SQLITE_BUSY
}

/**
 * Runs it again while another process holds the lock, for up to two seconds. The waiting is done by timers: SQLite's own
 * busy handler would stop the event loop.
 */
async function whileBusy<T>(run: () => T, deadline = performance.now() + BUSY_WAIT_MS): Promise<T> {
  for (;;) {
    try {
      return run()
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
    }
    await sleep(1 + Math.random() * 20)
  }
}

class Connection {
  readonly database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(file: string, readOnly: boolean) {
    this.database = new DatabaseSync(file, { readOnly, timeout: 0, enableForeignKeyConstraints: true })
  }

  /**
   * Runs one statement. After an fsync that failed nobody knows what is on the disk, and the next one can succeed all the
   * same: so the error is thrown once more, before anything else runs, where it ends the process.
   */
  run<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    try {
      return this.#execute(sql, parameters)
    } catch (error) {
      if (FSYNC_FAILED.includes((error as { errcode?: number }).errcode ?? 0)) {
        queueMicrotask(() => {
          throw error
        })
      }
      throw error
    }
  }

  #execute<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      if (this.#statements.size >= STATEMENTS_KEPT) this.#statements.clear()
      statement = this.database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    const values = parameters as SQLInputValue[]
    if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] }
    return { numAffectedRows: BigInt(statement.run(...values).changes), rows: [] }
  }
}

/**
 * One connection that writes and, for a file, one that only reads, so that a writer who waits for another process holds
 * up no reader. Transactions are `begin immediate` and take turns.
 */
class SqliteDriver implements Driver {
  readonly #file: string
  #writer: Connection | undefined
  #reader: Connection | undefined
  #turn: Promise<void> = Promise.resolve()

  constructor(file: string) {
    this.#file = file
  }

  async init(): Promise<void> {
    if (this.#file !== MEMORY && !existsSync(this.#file)) throw new SetupError(`the database ${this.#file} is missing`)
    const writer = new Connection(this.#file, false)
    try {
      await whileBusy(() => writer.database.exec('pragma synchronous = full; select count(*) from sqlite_schema'))
      this.#reader = this.#file === MEMORY ? writer : new Connection(this.#file, true)
    } catch (error) {
      writer.database.close()
      throw error
    }
    this.#writer = writer
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return new SqliteConnection(this)
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

  async destroy(): Promise<void> {
    if (this.#reader !== this.#writer) this.#reader?.database.close()
    this.#writer?.database.close()
  }

  get writer(): Connection {
    return this.#writer as Connection
  }

  get reader(): Connection {
    return this.#reader as Connection
  }

  /** Waits for the turn to write; the result ends it. Whoever is before waits no longer than its own deadline. */
  async takeTurn(): Promise<() => void> {
    const before = this.#turn
    const { promise, resolve: endTurn } = Promise.withResolvers<void>()
    this.#turn = promise
    await before
    return endTurn
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #driver: SqliteDriver
  #endTurn: (() => void) | undefined

  constructor(driver: SqliteDriver) {
    this.#driver = driver
  }

  async begin(): Promise<void> {
    const deadline = performance.now() + BUSY_WAIT_MS
    const endTurn = await this.#driver.takeTurn()
    try {
      await whileBusy(() => this.#driver.writer.run('begin immediate', []), deadline)
    } catch (error) {
      endTurn()
      throw error
    }
    this.#endTurn = endTurn
  }

  async end(how: 'commit' | 'rollback'): Promise<void> {
    const { writer } = this.#driver
    if (how === 'commit') writer.run(how, [])
    try {
      if (writer.database.isTransaction) writer.run(how, [])
    } finally {
      this.#endTurn?.()
      this.#endTurn = undefined
    }
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { reader, writer } = this.#driver
    if (this.#endTurn !== undefined) return writer.run(sql, parameters)
    if (reader !== writer && /^select /i.test(sql)) return whileBusy(() => reader.run(sql, parameters))
    const deadline = performance.now() + BUSY_WAIT_MS
    const endTurn = await this.#driver.takeTurn()
    try {
      return await whileBusy(() => writer.run(sql, parameters), deadline)
    } finally {
      endTurn()
    }
  }

  // biome-ignore lint/correctness/useYield: nothing here streams
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('queries are not streamed')
  }
}

class TransactionalSqliteAdapter extends SqliteAdapter {
  /** Otherwise Kysely lets in one query at a time, and reads wait behind a writer who waits. */
  override get supportsMultipleConnections(): boolean {
    return true
  }

  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

/** @param file a path, or `:memory:` */
export function openSqlite(file: string) {
  const dialect: Dialect = {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new SqliteDriver(file),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler()
  }

  return {
    dialect,
    exists: () => file === MEMORY || existsSync(file),

    /** Makes the empty database unless the file is there: readable by its owner only, with a write-ahead log. */
    async create(): Promise<void> {
      if (file === MEMORY) return
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      closeSync(openSync(file, 'a', 0o600))
      chmodSync(file, 0o600)
      const database = new DatabaseSync(file, { timeout: 0 })
      try {
        await whileBusy(() => database.exec('pragma journal_mode = wal'))
      } finally {
        database.close()
      }
    }
  }
}
