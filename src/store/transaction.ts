import { defined } from '../defined.ts'
import type { Event, Events } from '../domain/events.ts'
import type { Db } from './columns.ts'

/** An event of the store. The default outcome is `success`. An empty reason is left out. */
export type StoreEvent = Omit<Event, 'outcome'> & Partial<Pick<Event, 'outcome'>>

export type RecordEvent = (event: StoreEvent) => void

/** The database, with functions that run transactions and record their events. */
export interface Database {
  /** Runs single statements, each of which is a transaction. */
  db: Db
  /**
   * Runs one transaction and returns the result of `body`. The events that `body` records are passed on after the commit; a rollback
   * drops them.
   */
  transaction<T>(body: (trx: Db, record: RecordEvent) => Promise<T>): Promise<T>
  /** Records the event of a single statement that succeeded. Inside a transaction, use the `record` of the transaction. */
  recordCommitted: RecordEvent
}

export function createDatabase(db: Db, events: Events): Database {
  const recordCommitted: RecordEvent = ({ reason, ...event }) =>
    events.record({ outcome: 'success', ...event, ...defined({ reason: reason || undefined }) })

  return {
    db,
    recordCommitted,

    async transaction(body) {
      const recorded: StoreEvent[] = []
      const result = await db.transaction().execute((trx) => body(trx, (event) => recorded.push(event)))
      for (const event of recorded) recordCommitted(event)
      return result
    }
  }
}
