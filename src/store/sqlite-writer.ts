import type { QueryResult } from 'kysely'
import { runOutsideRequest } from '../deadline.ts'
import { createQueue, type Leave } from '../queue.ts'
import { busyDeadline, type Connection, retryWhileBusy } from './sqlite-connection.ts'

/** Transactions that SQLite commits as one, with one sync of the disk. */
interface Group {
  /** Resolves when the group is committed. Rejects when the whole group is rolled back. */
  committed: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

/** One transaction of a group. */
export interface Part {
  /** Runs one statement. A failure rolls back the statement only, or the whole group (a full disk, for example). */
  run<R>(sql: string, parameters: readonly unknown[]): QueryResult<R>
  /** Ends the transaction. A commit resolves when the group is on the disk. */
  end(how: 'commit' | 'rollback'): Promise<void>
}

/**
 * Writes on one connection. Transactions run one after the other. Those that begin in the same two turns of the event loop form a group: a
 * sync of the disk takes much longer than the statements of a transaction, and the group needs only one. The group runs at the
 * end of the second turn, and never keeps the lock while the event loop waits. No transaction of the group is acknowledged before the group is
 * committed. Each can be rolled back alone.
 */
export class SqliteWriter {
  readonly #connection: Connection
  /** Needs no limits: the deadline of a caller includes its wait in this queue. */
  readonly #turns = createQueue({ concurrency: 1, refuse: () => new Error('unreachable') })
  /** The group that takes further transactions. */
  #group: Group | undefined
  /** Resolves at the end of the turn of the event loop after the first call. */
  #endOfTurns: Promise<void> | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Begins a transaction. The caller must end it. */
  async begin(): Promise<Part> {
    const deadline = busyDeadline()
    const leave = await this.#enter()
    try {
      // The first transaction can be rolled back with its group, because no other has begun then. The others need a savepoint.
      const isFirst = this.#group === undefined
      this.#group ??= await this.#open(deadline)
      const group = this.#group
      if (!isFirst) this.#run(group, 'savepoint part')
      return {
        run: (sql, parameters) => this.#run(group, sql, parameters),
        end: async (how) => {
          try {
            if (how === 'rollback') this.#undo(group, isFirst)
            else if (!isFirst) this.#run(group, 'release part')
          } catch (error) {
            // A commit of the group would store a part of this transaction, or a transaction that its caller believes to have failed.
            this.#abandon(group, error)
            throw error
          } finally {
            leave()
          }
          if (how === 'commit') await group.committed
        }
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  /** Runs one statement as a transaction of its own in a group. */
  async write<R>(sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    const deadline = busyDeadline()
    const leave = await this.#enter()
    let group: Group
    let result: QueryResult<R>
    try {
      this.#group ??= await this.#open(deadline)
      group = this.#group
      result = this.#run(group, sql, parameters)
    } finally {
      leave()
    }
    await group.committed
    return result
  }

  /** Runs one statement outside of a group, because it may not be allowed inside a transaction. */
  async runAlone<R>(sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    const deadline = busyDeadline()
    const leave = await this.#turns.enter()
    try {
      this.#commit()
      return await retryWhileBusy(() => this.#connection.run<R>(sql, parameters), deadline)
    } finally {
      leave()
    }
  }

  /** Commits the open group and closes the connection. */
  async close(): Promise<void> {
    const leave = await this.#turns.enter()
    this.#commit()
    this.#connection.database.close()
    leave()
  }

  /**
   * Waits for the end of the next turn of the event loop, in which requests that read in this turn begin their transactions, and for the
   * transactions before this one.
   */
  async #enter(): Promise<Leave> {
    this.#endOfTurns ??= new Promise((resolve) =>
      setImmediate(() =>
        setImmediate(() => {
          this.#endOfTurns = undefined
          resolve()
        })
      )
    )
    await this.#endOfTurns
    return this.#turns.enter()
  }

  async #open(deadline: number): Promise<Group> {
    await retryWhileBusy(() => this.#connection.run('begin immediate'), deadline)
    const { promise: committed, resolve, reject } = Promise.withResolvers<void>()
    committed.catch(() => {}) // each transaction of the group handles it
    const group = { committed, resolve, reject }
    // The commit must not depend on the deadline of the request that opened the group.
    void runOutsideRequest(() => this.#close(group))
    return group
  }

  /** Commits the group when the transactions that already wait have joined it. */
  async #close(group: Group): Promise<void> {
    const leave = await this.#turns.enter()
    if (this.#group === group) this.#commit()
    leave()
  }

  #commit(): void {
    const group = this.#group
    if (group === undefined) return
    try {
      this.#connection.run('commit')
      this.#group = undefined
      group.resolve()
    } catch (error) {
      this.#abandon(group, error)
    }
  }

  /** Rolls back a whole group, and rejects its transactions. */
  #abandon(group: Group, error: unknown): void {
    this.#group = undefined
    group.reject(error)
    if (this.#connection.database.isTransaction) this.#connection.run('rollback')
  }

  #run<R>(group: Group, sql: string, parameters: readonly unknown[] = []): QueryResult<R> {
    if (this.#group !== group) throw new Error('the transaction was rolled back')
    try {
      return this.#connection.run(sql, parameters)
    } catch (error) {
      // Errors such as a full disk roll back the whole transaction of SQLite (https://sqlite.org/lang_transaction.html).
      if (!this.#connection.database.isTransaction) this.#abandon(group, error)
      throw error
    }
  }

  #undo(group: Group, isFirst: boolean): void {
    if (this.#group !== group) return
    if (isFirst) {
      this.#group = undefined
      this.#connection.run('rollback')
    } else {
      this.#run(group, 'rollback to part')
      this.#run(group, 'release part')
    }
  }
}
