import type { Expression } from 'kysely'
import { type Db, needsRowLocks } from './columns.ts'

/**
 * Makes codes invalid, and ends requests that wait for consent: of a client, of logins, or all. Without a lock on the client or the logins,
 * new ones can begin at the same time.
 */
export async function endAuthorizations(
  trx: Db,
  { clientId, loginIds }: { clientId?: string; loginIds?: string[] | Expression<{ id: string }> }
): Promise<void> {
  const matching = trx
    .selectFrom('authorizations')
    .select('id')
    .$if(clientId !== undefined, (query) => query.where('client_id', '=', clientId as string))
    .$if(loginIds !== undefined, (query) => query.where('login_id', 'in', loginIds as string[]))
    .where('state', 'in', ['signed_in', 'code'])
    // In one order, so that two such transactions cannot deadlock.
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forUpdate())
  await trx.updateTable('authorizations').set({ state: 'ended' }).where('id', 'in', matching).execute()
}
