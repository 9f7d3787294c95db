import { type Connection, isBusy, retryWhileBusy } from './sqlite-connection.ts'
import type { Row } from './statements.ts'

/** A query that waits for the end of the turn of the event loop. */
interface Query {
  sql: string
  parameters: readonly unknown[]
  resolve(rows: Row[] | Promise<Row[]>): void
  reject(error: unknown): void
}

/**
 * Reads on one connection. Queries of the same turn of the event loop run together at its end, in one transaction: this is cheaper than a
 * transaction for each. All of them see what is committed at that instant, which is after each of them was asked.
 */
export class SqliteReader {
  readonly #connection: Connection
  #queries: Query[] = []

  constructor(connection: Connection) {
    this.#connection = connection
  }

  read(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
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
    const isOneTransaction = queries.length > 1 && this.#isDone('begin')
    for (const { sql, parameters, resolve, reject } of queries) {
      try {
        resolve(this.#connection.run<Row>(sql, parameters).rows)
      } catch (error) {
        if (isBusy(error)) resolve(this.readNow<Row>(sql, parameters).then(({ rows }) => rows))
        else reject(error)
      }
    }
    if (isOneTransaction) this.#isDone('commit')
  }

  /** Runs a statement and returns whether it succeeded. A query that fails for the same reason reports it. */
  #isDone(sql: string): boolean {
    try {
      this.#connection.run(sql)
      return true
    } catch {
      return false
    }
  }
}
