import type { Selectable } from 'kysely'
import type { Millis } from '../domain/model.ts'
import type { Login } from '../domain/ports/logins.ts'
import { type Db, words } from './columns.ts'
import type { Tables } from './schema.ts'

export const toLogin = (row: Selectable<Tables['logins']>): Login => ({
  id: row.id,
  userId: row.user_id,
  authVersion: row.auth_version,
  amr: words(row.amr),
  authAt: row.auth_at,
  lastUsedAt: row.last_used_at,
  idleExpiresAt: row.idle_expires_at,
  expiresAt: row.expires_at,
  address: row.address,
  userAgent: row.user_agent
})

/** Selects the logins that are active at an instant: not ended, not expired, of a user who was not disabled or changed since. */
export const selectActiveLogins = (trx: Db, now: Millis) =>
  trx
    .selectFrom('logins')
    .innerJoin('users', 'users.id', 'logins.user_id')
    .whereRef('users.auth_version', '=', 'logins.auth_version')
    .where('users.disabled_at', 'is', null)
    .where('logins.ended_at', 'is', null)
    .where('logins.idle_expires_at', '>', now)
