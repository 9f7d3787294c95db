import { deepFreeze } from '../deep-freeze.ts'
import { busyDeadline, type Connection, isBusy, retryWhileBusy } from './sqlite-connection.ts'
import type { Query, Row } from './statements.ts'

/** A call that waits for the end of the turn of the event loop. */
interface Call {
  query: Query<unknown>
  parameters: readonly unknown[]
  /** The instant until which the call may wait for another process. */
  deadline: number
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** Maximum number of results of one query that are remembered. */
const REMEMBERED = 1000
/** Maximum number of characters of these results together with their values, which anyone can choose. */
const CHARACTERS = 2_000_000

/** The results of one query by their values. Forgets the oldest when they take too much memory. */
class Results {
  readonly #results = new Map<string, { result: unknown; characters: number }>()
  #characters = 0

  /** Returns the result for these values; undefined when it is not remembered. */
  get(values: string): unknown {
    return this.#results.get(values)?.result
  }

  add(values: string, result: unknown, rows: Row[]): void {
    const characters = rows.reduce((sum, row) => sum + charactersOf(row), values.length)
    this.#results.set(values, { result, characters })
    this.#characters += characters
    for (const [oldest, { characters }] of this.#results) {
      if (this.#results.size <= REMEMBERED && this.#characters <= CHARACTERS) return
      this.#results.delete(oldest)
      this.#characters -= characters
    }
  }
}

function charactersOf(row: Row): number {
  let sum = 0
  for (const name in row) {
    const value = row[name]
    if (typeof value === 'string') sum += value.length
  }
  return sum
}

/**
 * Reads on one connection. Queries of the same turn of the event loop run together at its end, in one transaction: this is cheaper than a
 * transaction for each. All of them see what is committed at that instant, which is after each of them was asked. A result is returned
 * again while nothing was committed, by this process or another one: the transaction first compares the version of the database.
 */
export class SqliteReader {
  readonly #connection: Connection
  #calls: Call[] = []
  /** Changes with every commit of another connection (https://sqlite.org/pragma.html#pragma_data_version). Null when it is not known. */
  #version: unknown = null
  /** Changes with every change of a table (https://sqlite.org/pragma.html#pragma_schema_version). */
  #schema: unknown = null
  /** The results of that version by their parameters, for each query. */
  #results = new Map<Query<unknown>, Results>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  read<Result>(query: Query<Result>, parameters: readonly unknown[]): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const call = { query, parameters, deadline: busyDeadline(), resolve: resolve as Call['resolve'], reject }
    if (this.#calls.push(call) === 1) setImmediate(() => this.#runAll())
    return promise
  }

  /** Runs one query now. Waits while another process holds a lock. */
  readNow<R>(sql: string, parameters: readonly unknown[], deadline = busyDeadline()): Promise<{ rows: R[] }> {
    return retryWhileBusy(() => this.#connection.run<R>(sql, parameters), deadline)
  }

  close(): void {
    this.#connection.database.close()
  }

  /** Must not throw, because nothing would catch the error. */
  #runAll(): void {
    const calls = this.#calls
    this.#calls = []
    const { database } = this.#connection
    // A transaction that could not be ended would see the same old snapshot forever. The database can have been closed since the calls.
    if (database.isOpen && database.isTransaction) this.#try('rollback')
    const isOneTransaction = this.#try('begin') !== null
    // A map that is cleared would leave its former contents in the old generation, where they keep requests alive.
    if (!isOneTransaction || this.#hasChanged()) this.#results = new Map()
    for (const { query, parameters, deadline, resolve, reject } of calls) {
      try {
        resolve(this.#resultOf(query, parameters))
      } catch (error) {
        if (!isBusy(error)) reject(error)
        else resolve(this.readNow<Row>(query.sql, parameters, deadline).then(({ rows }) => query.toResult(rows)))
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

  #resultOf(query: Query<unknown>, parameters: readonly unknown[]): unknown {
    let results = this.#results.get(query)
    if (results === undefined) {
      results = new Results()
      this.#results.set(query, results)
    }
    const values = JSON.stringify(parameters)
    const known = results.get(values)
    if (known !== undefined) return known
    const rows = this.#connection.query(query.sql, parameters)
    // Each caller gets the same object, so a change by one would reach the others.
    const result = deepFreeze(query.toResult(rows))
    results.add(values, result, rows)
    return result
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
