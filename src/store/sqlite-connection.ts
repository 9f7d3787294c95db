import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import type { QueryResult } from 'kysely'
import { timeLeft } from '../deadline.ts'
import { SQLITE_WAIT_MS } from '../limits.ts'
import type { Row } from './statements.ts'

/** Maximum number of prepared statements that one connection keeps. */
const MAX_STATEMENTS = 500
const SQLITE_BUSY = 5
/** SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC. */
const FSYNC_FAILED = [1034, 1290]

/** Returns whether a statement failed because another process holds a lock. */
export const isBusy = (error: unknown): boolean => {
  const { errcode } = error as { errcode?: number }
  return errcode !== undefined && errcode % 256 === SQLITE_BUSY
}

/** Returns the instant until which a statement may wait for another process. */
export const busyDeadline = (): number => performance.now() + Math.min(SQLITE_WAIT_MS, timeLeft())

/**
 * Retries while another process holds the lock, until the deadline. Waits with timers, because the busy handler of SQLite would block
 * the event loop.
 */
export async function retryWhileBusy<T>(run: () => T, deadline = busyDeadline()): Promise<T> {
  for (;;) {
    try {
      return run()
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
    }
    await sleep(1 + Math.random() * 20)
  }
}

/** One connection to a database, with its prepared statements. */
export class Connection {
  readonly database: DatabaseSync
  readonly #statements = new Map<string, { statement: StatementSync; hasRows: boolean }>()
  /** Queries whose rows are arrays. */
  readonly #queries = new Map<string, { statement: StatementSync; columns: string[] | null }>()

  constructor(file: string, readOnly: boolean) {
    this.database = new DatabaseSync(file, { readOnly, timeout: 0, enableForeignKeyConstraints: true })
  }

  /**
   * Runs one statement. Rethrows the error of a failed fsync in the next microtask, so that the process exits before anything else
   * runs: the content of the file is then unknown, and stays unknown if a later fsync succeeds.
   */
  run<R>(sql: string, parameters: readonly unknown[] = []): QueryResult<R> {
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

  /**
   * Runs a query that is not part of a transaction that writes. Faster than `run`, because the objects of node:sqlite have no hidden class.
   * The names of the columns are read once, so a change of the schema needs a call of `forgetColumns`.
   */
  query(sql: string, parameters: readonly unknown[]): Row[] {
    let query = this.#queries.get(sql)
    if (query === undefined) {
      query = { statement: this.database.prepare(sql), columns: null }
      query.statement.setReturnArrays(true)
      this.#queries.set(sql, query)
    }
    const rows = query.statement.all(...(parameters as SQLInputValue[])) as unknown as unknown[][]
    // SQLite learns of a change of the schema when a statement runs.
    query.columns ??= query.statement.columns().map(({ name }) => name)
    const { columns } = query
    return rows.map((values) => {
      const row: Record<string, unknown> = {}
      for (let index = 0; index < columns.length; index++) row[columns[index] as string] = values[index]
      return row
    })
  }

  forgetColumns(): void {
    this.#queries.clear()
  }

  #execute<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    const { statement, hasRows } = this.#statements.get(sql) ?? this.#prepare(sql)
    const values = parameters as SQLInputValue[]
    if (hasRows) return { rows: statement.all(...values) as R[] }
    return { numAffectedRows: BigInt(statement.run(...values).changes), rows: [] }
  }

  #prepare(sql: string) {
    if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear()
    const statement = this.database.prepare(sql)
    const prepared = { statement, hasRows: statement.columns().length > 0 }
    this.#statements.set(sql, prepared)
    return prepared
  }
}
