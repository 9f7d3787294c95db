import { sql } from 'kysely'
import type { KeyStore } from '../domain/ports/keys.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { ERASED, insertKey, isCanary } from './keys.ts'
import { lock } from './locks.ts'
import { addLogoutNotices } from './logout-notices.ts'
import { insertRefreshKey } from './refresh-keys.ts'
import { appendRevocations } from './revocations.ts'
import { endedAt } from './session-ends.ts'
import type { Database } from './transaction.ts'

/** The id of the only entry of the kind `all`. */
const EVERY_TOKEN = '*'

/** @param database has no limit for the time of a statement: there can be millions of sessions */
export const revokeEverything =
  ({ transaction }: Database): KeyStore['revokeEverything'] =>
  (caller, { canary, keys, refreshKey, clock }) =>
    transaction(async (trx, record) => {
      await lock(trx, 'keys')
      const now = clock()
      if (!(await isCanary(trx, canary))) return null
      const retired = await trx
        .updateTable('signing_keys')
        .set({ state: 'retired', sealed_private_key: ERASED, retired_at: now })
        .where('state', '!=', 'retired')
        .returning('kid')
        .execute()
      for (const key of keys)
        await insertKey(trx, { ...key, createdAt: now, signsSinceAt: key.state === 'signing' ? now : null })
      await trx.deleteFrom('refresh_keys').execute()
      await insertRefreshKey(trx, { ...refreshKey, createdAt: now })
      // Locks logins before sessions, in the same order as the end of a login: waits for the redemption of codes, and ends their sessions too.
      await trx.updateTable('logins').set(endedAt(now)).where('ended_at', 'is', null).execute()
      await endAuthorizations(trx, {})
      await addLogoutNotices(trx, { now })
      const { numUpdatedRows } = await trx
        .updateTable('sessions')
        .set(endedAt(now))
        .where('ended_at', 'is', null)
        .executeTakeFirstOrThrow()
      // After the restore of a backup, readers of the log may know numbers above `seq`. The log grows more slowly than one entry in a
      // millisecond, so `now` is above every such number.
      await trx
        .updateTable('counters')
        .set({ seq: sql<number>`case when seq < ${now} then ${now} else seq end` })
        .where('name', '=', 'revocations')
        .execute()
      const entries = retired.map(({ kid }) => ({ kind: 'key' as const, id: kid }))
      await appendRevocations(trx, [{ kind: 'all', id: EVERY_TOKEN }, ...entries], now)
      const counts = { sessions: Number(numUpdatedRows), keys: retired.length }
      record({
        type: 'everything.revoked',
        caller,
        subject: {},
        reason: `sessions: ${counts.sessions}, keys: ${counts.keys}`
      })
      return counts
    })
