import type { Selectable } from 'kysely'
import type { Millis } from '../domain/model.ts'
import type { Consent, ConsentStore } from '../domain/ports/authorizations.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { type Db, words } from './columns.ts'
import { keep } from './locks.ts'
import { appendRevocations } from './revocations.ts'
import type { Tables } from './schema.ts'
import { endSessions, entriesOf } from './session-ends.ts'
import type { Database } from './transaction.ts'

const toConsent = (row: Selectable<Tables['consents']>): Consent => ({
  userId: row.user_id,
  clientId: row.client_id,
  scopes: words(row.scopes),
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

const selectConsent = (db: Db, { userId, clientId }: Pick<Consent, 'userId' | 'clientId'>) =>
  db.selectFrom('consents').selectAll().where('user_id', '=', userId).where('client_id', '=', clientId)

/** Adds scopes to what a user has allowed a client. The caller holds a lock on the user's login. */
export async function addConsent(
  trx: Db,
  { userId, clientId, scopes, now }: { userId: string; clientId: string; scopes: string[]; now: Millis }
): Promise<void> {
  const before = await selectConsent(trx, { userId, clientId }).executeTakeFirst()
  const all = [...new Set([...words(before?.scopes ?? null), ...scopes])].toSorted().join(' ')
  await trx
    .insertInto('consents')
    .values({ user_id: userId, client_id: clientId, scopes: all, created_at: now, updated_at: now })
    .onConflict((conflict) => conflict.columns(['user_id', 'client_id']).doUpdateSet({ scopes: all, updated_at: now }))
    .execute()
}

export function consents({ db, transaction }: Database): ConsentStore {
  return {
    async get(userId, clientId) {
      const row = await selectConsent(db, { userId, clientId }).executeTakeFirst()
      return row === undefined ? null : toConsent(row)
    },

    async list(userId, { after, limit }) {
      const rows = await db
        .selectFrom('consents')
        .selectAll()
        .where('user_id', '=', userId)
        .$if(after !== null, (query) => query.where('client_id', '>', after as string))
        .orderBy('client_id')
        .limit(limit)
        .execute()
      return rows.map(toConsent)
    },

    remove: (caller, { userId, clientId, now }) =>
      transaction(async (trx, record) => {
        await keep(trx, { userId, clientId })
        const loginIds = trx
          .selectFrom('consents')
          .innerJoin('logins', 'logins.user_id', 'consents.user_id')
          .select('logins.id')
          .where('consents.user_id', '=', userId)
          .where('consents.client_id', '=', clientId)
        // Before the sessions, so that it waits for the redemption of a code. Before the consent, as `allow` in authorizations.ts does.
        await endAuthorizations(trx, { clientId, loginIds })
        const { numDeletedRows } = await trx
          .deleteFrom('consents')
          .where('user_id', '=', userId)
          .where('client_id', '=', clientId)
          .executeTakeFirstOrThrow()
        if (numDeletedRows === 0n) return false
        const ended = await endSessions(trx, { userId, clientId, now })
        await appendRevocations(trx, await entriesOf(trx, ended), now)
        record({ type: 'consent.removed', caller, subject: { user: userId, client: clientId } })
        return true
      })
  }
}
