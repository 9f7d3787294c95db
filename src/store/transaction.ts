import { defined } from '../defined.ts'
import type { Event, Events } from '../domain/events.ts'
import type { Db } from './columns.ts'
import type { Statements } from './statements.ts'

/** An event of the store. The default outcome is `success`. An empty reason is left out. */
export type StoreEvent = Omit<Event, 'outcome'> & Partial<Pick<Event, 'outcome'>>

export type RecordEvent = (event: StoreEvent) => void

/** A connection of Kysely, and its statements that are compiled once. */
export interface Opened {
  /** Runs single statements, each of which is a transaction. */
  db: Db
  statements: Statements
}

/** The database, with functions that run transactions and record their events. */
export interface Database extends Opened {
  /**
   * Runs one transaction and returns the result of `body`. The events that `body` records are passed on after the commit; a rollback
   * drops them.
   */
  transaction<T>(body: (trx: Db, record: RecordEvent) => Promise<T>): Promise<T>
  /** Records the event of a single statement that succeeded. Inside a transaction, use the `record` of the transaction. */
  recordCommitted: RecordEvent
}

export function createDatabase({ db, statements }: Opened, events: Events): Database {
  const recordCommitted: RecordEvent = ({ reason, ...event }) =>
    events.record({ outcome: 'success', ...event, ...defined({ reason: reason || undefined }) })

  return {
    db,
    statements,
    recordCommitted,

    async transaction(body) {
      const recorded: StoreEvent[] = []
      const result = await db.transaction().execute((trx) => body(trx, (event) => recorded.push(event)))
      for (const event of recorded) recordCommitted(event)
      return result
    }
  }
}
