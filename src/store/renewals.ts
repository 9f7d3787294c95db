import { sql } from 'kysely'
import type { Millis } from '../domain/model.ts'
import { needsRowLocks } from './columns.ts'
import { createBatches } from './postgres-batches.ts'
import { prepared, type SlotOf } from './statements.ts'
import type { Database } from './transaction.ts'

interface Renewal {
  id: string
  clientId: string
  counter: number
  now: Millis
  idleUntil: Millis
}

type Columns = { [Name in keyof Renewal]: Renewal[Name][] }

/** Returns a function that renews an active session that has this client and counter. It returns whether it renewed the session. */
export function createRenew({ db, statements }: Database): (renewal: Renewal) => Promise<boolean> {
  const update = prepared(statements.write, (slot: SlotOf<Renewal>) =>
    db
      .updateTable('sessions')
      .set(({ eb }) => ({
        counter: eb('counter', '+', 1),
        rotated_at: slot('now'),
        idle_expires_at: sql<number>`case when expires_at < cast(${slot('idleUntil')} as bigint) then expires_at else cast(${slot('idleUntil')} as bigint) end`
      }))
      .where('id', '=', slot('id'))
      .where('client_id', '=', slot('clientId'))
      .where('counter', '=', slot('counter'))
      .where('ended_at', 'is', null)
      .where('idle_expires_at', '>', slot('now'))
      .returning('id')
  )
  const renew = async (renewal: Renewal) => (await update(renewal)).length === 1
  return needsRowLocks(db) ? together({ db, statements }, renew) : renew
}

/**
 * Returns `renew` for PostgreSQL, where renewals of the same moment are one transaction. It waits for no lock while it holds others:
 * a session that another transaction has locked is renewed by itself, and so is one whose renewal comes alone.
 */
function together(
  { db, statements }: Pick<Database, 'db' | 'statements'>,
  renew: (renewal: Renewal) => Promise<boolean>
): (renewal: Renewal) => Promise<boolean> {
  // `|| ''` keeps PostgreSQL from reading all sessions of the client, and `select` hides how long the arrays are, so that it keeps the plan.
  const updateAll = prepared(statements.write, (slot: SlotOf<Columns>) => ({
    compile: () =>
      sql`update sessions set counter = sessions.counter + 1, rotated_at = given.now, idle_expires_at = least(expires_at, idle_until)
        from unnest((select ${slot('id')}::text[]), (select ${slot('clientId')}::text[]), (select ${slot('counter')}::int8[]),
          (select ${slot('now')}::int8[]), (select ${slot('idleUntil')}::int8[]))
          with ordinality as given(id, client_id, counter, now, idle_until, place)
        cross join lateral (select s.ctid from sessions s where s.id = given.id and s.client_id || '' = given.client_id
          and s.counter = given.counter and s.ended_at is null and s.idle_expires_at > given.now
          for no key update skip locked) as free
        where sessions.ctid = free.ctid
        returning place`.compile(db)
  }))
  const renewTogether = createBatches(async (renewals: Renewal[]) => {
    if (renewals.length === 1) return [false]
    const column = <Name extends keyof Renewal>(name: Name) => renewals.map((renewal) => renewal[name])
    const rows = await updateAll({
      id: column('id'),
      clientId: column('clientId'),
      counter: column('counter'),
      now: column('now'),
      idleUntil: column('idleUntil')
    })
    const renewed = new Set(rows.map(({ place }) => place))
    return renewals.map((_, index) => renewed.has(index + 1))
  })
  // By itself a renewal runs until the deadline of its own request: nobody would learn of a later renewal.
  return async (renewal) => (await renewTogether(renewal)) || renew(renewal)
}
