import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs'
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
import { timeLeft } from '../deadline.ts'
import { SetupError } from '../domain/errors.ts'
import { SQLITE_WAIT_MS } from '../limits.ts'
import { createQueue, type Leave } from '../queue.ts'
import { createDirectory } from './directory.ts'

export const MEMORY = ':memory:'
/** Maximum number of prepared statements that one connection keeps. */
const MAX_STATEMENTS = 500
const SQLITE_BUSY = 5
/** SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC. */
const FSYNC_FAILED = [1034, 1290]

const isBusy = (error: unknown): boolean => {
  const { errcode } = error as { errcode?: number }
  return errcode !== undefined && errcode % 256 === SQLITE_BUSY
}

/** Returns the instant until which a statement may wait for another process. */
const busyDeadline = (): number => performance.now() + Math.min(SQLITE_WAIT_MS, timeLeft())

/**
 * Retries while another process holds the lock, until the deadline. Waits with timers, because the busy handler of SQLite would block
 * the event loop.
 */
async function retryWhileBusy<T>(run: () => T, deadline = busyDeadline()): Promise<T> {
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
   * Runs one statement. Rethrows the error of a failed fsync in the next microtask, so that the process exits before anything else
   * runs: the content of the file is then unknown, and stays unknown if a later fsync succeeds.
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
      if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear()
      statement = this.database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    const values = parameters as SQLInputValue[]
    if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] }
    return { numAffectedRows: BigInt(statement.run(...values).changes), rows: [] }
  }
}

/**
 * Writes on one connection. For a file there is a second connection that only reads, so that reads continue while a write waits for
 * another process. Transactions begin with `begin immediate` and run one after the other.
 */
class SqliteDriver implements Driver {
  readonly #file: string
  #writer: Connection | undefined
  #reader: Connection | undefined
  /** Needs no limits: the deadline of a caller includes its wait in this queue. */
  readonly #writers = createQueue({ concurrency: 1, refuse: () => new Error('unreachable') })

  constructor(file: string) {
    this.#file = file
  }

  async init(): Promise<void> {
    if (this.#file !== MEMORY) {
      if (!existsSync(this.#file)) throw new SetupError(`the database ${this.#file} does not exist: restore a backup`)
      if (statSync(this.#file).isDirectory())
        throw new SetupError(`the database ${this.#file} is a directory: set LATCHKEY_DATABASE_URL to a file in it`)
    }
    const writer = new Connection(this.#file, false)
    try {
      await retryWhileBusy(() => writer.database.exec('pragma synchronous = full; select count(*) from sqlite_schema'))
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

  /** Waits until no other connection writes. The caller must call the result when it is done. */
  enterWriters(): Promise<Leave> {
    return this.#writers.enter()
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #driver: SqliteDriver
  #leave: Leave | undefined

  constructor(driver: SqliteDriver) {
    this.#driver = driver
  }

  async begin(): Promise<void> {
    const deadline = busyDeadline()
    const leave = await this.#driver.enterWriters()
    try {
      await retryWhileBusy(() => this.#driver.writer.run('begin immediate', []), deadline)
    } catch (error) {
      leave()
      throw error
    }
    this.#leave = leave
  }

  async end(statement: 'commit' | 'rollback'): Promise<void> {
    const { writer } = this.#driver
    if (statement === 'commit') writer.run(statement, [])
    try {
      if (writer.database.isTransaction) writer.run(statement, [])
    } finally {
      this.#leave?.()
      this.#leave = undefined
    }
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { reader, writer } = this.#driver
    if (this.#leave !== undefined) return writer.run(sql, parameters)
    if (reader !== writer && /^select /i.test(sql)) return retryWhileBusy(() => reader.run(sql, parameters))
    const deadline = busyDeadline()
    const leave = await this.#driver.enterWriters()
    try {
      return await retryWhileBusy(() => writer.run(sql, parameters), deadline)
    } finally {
      leave()
    }
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
  const dialect: Dialect = {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new SqliteDriver(file),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler()
  }

  return {
    dialect,
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
