import { type Connection, isBusy, retryWhileBusy } from './sqlite-connection.ts'
import type { Row } from './statements.ts'

/** A query that waits for the end of the turn of the event loop. */
interface Query {
  sql: string
  parameters: readonly unknown[]
  resolve(rows: readonly Row[] | Promise<readonly Row[]>): void
  reject(error: unknown): void
}

/** Maximum number of parameters for which the rows of a query are remembered. */
const REMEMBERED = 1000

/**
 * Reads on one connection. Queries of the same turn of the event loop run together at its end, in one transaction: this is cheaper than a
 * transaction for each. All of them see what is committed at that instant, which is after each of them was asked. The rows of a query are
 * given again while nothing was committed, by this process or another one; the transaction itself asks the database for that.
 */
export class SqliteReader {
  readonly #connection: Connection
  #queries: Query[] = []
  /** Changes with every commit of another connection (https://sqlite.org/pragma.html#pragma_data_version). Null when it is not known. */
  #version: unknown = null
  /** Changes with every change of a table (https://sqlite.org/pragma.html#pragma_schema_version). */
  #schema: unknown = null
  /** The rows of that version by their parameters, for each query. */
  readonly #rows = new Map<string, Map<string, readonly Row[]>>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  read(sql: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      if (this.#queries.push({ sql, parameters, resolve, reject }) === 1) setImmediate(() => this.#runAll())
    })
  }

  /** Runs one query now. Waits while another process holds a lock. */
  readNow<R>(sql: string, parameters: readonly unknown[]): Promise<{ rows: R[] }> {
    return retryWhileBusy(() => this.#connection.run<R>(sql, parameters))
  }

  close(): void {
    this.#connection.database.close()
  }

  /** Must not throw, because nothing would catch the error. */
  #runAll(): void {
    const queries = this.#queries
    this.#queries = []
    const isOneTransaction = this.#try('begin') !== null
    if (!isOneTransaction || this.#hasChanged()) this.#rows.clear()
    for (const { sql, parameters, resolve, reject } of queries) {
      try {
        resolve(this.#rowsOf(sql, parameters))
      } catch (error) {
        if (isBusy(error)) resolve(this.readNow<Row>(sql, parameters).then(({ rows }) => rows))
        else reject(error)
      }
    }
    if (isOneTransaction && this.#try('commit') === null) this.#try('rollback')
  }

  /** Returns whether anything was committed since the last call; true when that is not known. */
  #hasChanged(): boolean {
    const version = this.#try('pragma data_version')?.[0]?.data_version ?? null
    if (version !== null && version === this.#version) return false
    this.#version = version
    const schema = this.#try('pragma schema_version')?.[0]?.schema_version ?? null
    if (schema === null || schema !== this.#schema) this.#connection.forgetColumns()
    this.#schema = schema
    return true
  }

  #rowsOf(sql: string, parameters: readonly unknown[]): readonly Row[] {
    let remembered = this.#rows.get(sql)
    if (remembered === undefined) this.#rows.set(sql, (remembered = new Map()))
    const key = JSON.stringify(parameters)
    let rows = remembered.get(key)
    if (rows === undefined) {
      rows = this.#connection.query(sql, parameters)
      if (remembered.size < REMEMBERED) remembered.set(key, rows)
    }
    return rows
  }

  /** Returns the rows of a statement; null when it failed. A query that fails for the same reason reports it. */
  #try(sql: string): Row[] | null {
    try {
      return this.#connection.run<Row>(sql).rows
    } catch {
      return null
    }
  }
}
