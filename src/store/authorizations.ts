import type { Selectable } from 'kysely'
import type { Caller } from '../domain/caller.ts'
import type { Millis } from '../domain/model.ts'
import type { Authorization, AuthorizationStore } from '../domain/ports/authorizations.ts'
import { AUTHORIZATIONS_MAX } from '../limits.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { addConsent } from './consents.ts'
import { keep } from './locks.ts'
import { selectActiveLogins, toLogin } from './login-rows.ts'
import { appendRevocations } from './revocations.ts'
import type { Tables } from './schema.ts'
import { endSessions, entriesOf } from './session-ends.ts'
import { endSurplus, insertSession } from './sessions.ts'
import type { Database, RecordEvent } from './transaction.ts'

const LOGIN_COLUMNS = [
  'token_hash',
  'user_id',
  'auth_version',
  'amr',
  'auth_at',
  'last_used_at',
  'idle_expires_at',
  'ended_at',
  'address',
  'user_agent'
] as const

const selectAuthorizations = (trx: Db) =>
  trx
    .selectFrom('authorizations')
    .innerJoin('logins', 'logins.id', 'login_id')
    .selectAll('authorizations')
    .select(LOGIN_COLUMNS)
    .select('logins.expires_at as login_expires_at')

type Row = Selectable<Tables['authorizations']> &
  Pick<Selectable<Tables['logins']>, (typeof LOGIN_COLUMNS)[number]> & { login_expires_at: number }

const toAuthorization = (row: Row): Authorization => ({
  id: row.id,
  login: toLogin({ ...row, id: row.login_id, expires_at: row.login_expires_at }),
  request: JSON.parse(row.request),
  state: row.state,
  scopes: words(row.scopes),
  createdAt: row.created_at,
  expiresAt: row.expires_at
})

/** Removes the authorizations by which a login has more than `AUTHORIZATIONS_MAX`: the oldest. */
async function removeSurplus(trx: Db, loginId: string): Promise<void> {
  const rows = await trx
    .selectFrom('authorizations')
    .select('id')
    .where('login_id', '=', loginId)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    // SQLite accepts an offset only after a limit.
    .limit(1_000_000)
    .offset(AUTHORIZATIONS_MAX)
    .execute()
  if (rows.length === 0) return
  await trx
    .deleteFrom('authorizations')
    .where(
      'id',
      'in',
      rows.map(({ id }) => id)
    )
    .execute()
}

/** Ends the session that a code has opened, because the code was used again. Returns whether it was active. */
async function endReplayed(
  trx: Db,
  { id, now }: { id: string | null; now: Millis },
  { caller, record }: { caller: Caller; record: RecordEvent }
): Promise<boolean> {
  if (id === null) return false
  const ended = await endSessions(trx, { id, now })
  await appendRevocations(trx, await entriesOf(trx, ended), now)
  for (const { user_id: user, id: session } of ended)
    record({ type: 'code.replayed', caller, subject: { user, session }, outcome: 'failure' })
  return ended.length > 0
}

export function authorizations({ db, transaction }: Database): AuthorizationStore {
  return {
    add: (caller, { id, loginId, request, scopes, codeHash, createdAt, expiresAt }) =>
      transaction(async (trx, record) => {
        const row = {
          id,
          login_id: loginId,
          client_id: request.clientId,
          state: codeHash === null ? ('signed_in' as const) : ('code' as const),
          request: JSON.stringify(request),
          scopes: scopes.join(' '),
          code_hash: codeHash,
          created_at: createdAt,
          expires_at: expiresAt
        }
        const columns = Object.keys(row) as (keyof typeof row)[]
        const allowed = selectActiveLogins(trx, createdAt)
          .where('logins.id', '=', loginId)
          .select(({ val }) => columns.map((column) => val(row[column]).as(column)))
          .$if(needsRowLocks(trx), (query) => query.forShare('logins'))
        const { numInsertedOrUpdatedRows } = await trx
          .insertInto('authorizations')
          .columns(columns)
          .expression(allowed)
          .executeTakeFirstOrThrow()
        if (numInsertedOrUpdatedRows !== 1n) return false
        await removeSurplus(trx, loginId)
        if (codeHash !== null)
          record({ type: 'authorization.allowed', caller, subject: { client: request.clientId, login: loginId } })
        return true
      }),

    async get(id, { loginId, now }) {
      const row = await selectAuthorizations(db)
        .where('authorizations.id', '=', id)
        .where('login_id', '=', loginId)
        .where('authorizations.expires_at', '>', now)
        .executeTakeFirst()
      return row === undefined ? null : toAuthorization(row)
    },

    allow: (caller, { id, codeHash, scopes, now, expiresAt }) =>
      transaction(async (trx, record) => {
        const owners = await trx
          .selectFrom('authorizations')
          .innerJoin('logins', 'logins.id', 'login_id')
          .select(['user_id as userId', 'client_id as clientId'])
          .where('authorizations.id', '=', id)
          .executeTakeFirst()
        if (owners === undefined) return false
        // The consent refers to both. Locks the login before the authorization, as the end of a login does.
        await keep(trx, owners)
        const login = await selectActiveLogins(trx, now)
          .select(['logins.id', 'logins.user_id'])
          .where('logins.id', '=', trx.selectFrom('authorizations').select('login_id').where('id', '=', id))
          .$if(needsRowLocks(trx), (query) => query.forShare('logins'))
          .executeTakeFirst()
        if (login === undefined) return false
        const allowed = await trx
          .updateTable('authorizations')
          .set({ state: 'code', code_hash: codeHash, scopes: scopes.join(' '), expires_at: expiresAt })
          .where('id', '=', id)
          .where('state', '=', 'signed_in')
          .where('expires_at', '>', now)
          .returning('client_id')
          .executeTakeFirst()
        if (allowed === undefined) return false
        const { client_id: clientId } = allowed
        await addConsent(trx, { userId: login.user_id, clientId, scopes, now })
        record({
          type: 'authorization.allowed',
          caller,
          subject: { user: login.user_id, client: clientId, login: login.id },
          reason: `scopes: ${scopes.join(' ')}`
        })
        return true
      }),

    replaceCode: (caller, { id, codeHash, from, scopes, now }) =>
      transaction(async (trx, record) => {
        const replaced = await trx
          .updateTable('authorizations')
          .set({ code_hash: codeHash, scopes: scopes.join(' ') })
          .where('id', '=', id)
          .where('state', '=', 'code')
          .where('expires_at', '>', now)
          // An answer at the same time may have refused a scope that this one allows.
          .where('scopes', 'in', [from.join(' '), scopes.join(' ')])
          .returning(['client_id', 'login_id'])
          .executeTakeFirst()
        if (replaced === undefined) return false
        const subject = { client: replaced.client_id, login: replaced.login_id }
        record({ type: 'authorization.allowed', caller, subject, reason: 'the form was sent again' })
        return true
      }),

    deny: (caller, { id, now }) =>
      transaction(async (trx, record) => {
        const denied = await trx
          .updateTable('authorizations')
          .set({ state: 'ended' })
          .where('id', '=', id)
          .where('state', '=', 'signed_in')
          .where('expires_at', '>', now)
          .returning(['client_id', 'login_id'])
          .executeTakeFirst()
        if (denied === undefined) return false
        record({
          type: 'authorization.denied',
          caller,
          subject: { client: denied.client_id, login: denied.login_id },
          outcome: 'failure'
        })
        return true
      }),

    async find(codeHash) {
      const row = await selectAuthorizations(db).where('code_hash', '=', codeHash).executeTakeFirst()
      return row === undefined ? null : { authorization: toAuthorization(row), sessionId: row.session_id }
    },

    redeem: (caller, { codeHash, session, authVersion, rev, now }) =>
      transaction(async (trx, record) => {
        // Locks the user and the client before the authorization, in the same order as the opening of a login, which can
        // end other logins, and as a change of the client.
        if (needsRowLocks(trx)) {
          await trx.selectFrom('users').select('id').where('id', '=', session.userId).forNoKeyUpdate().execute()
          await trx.selectFrom('clients').select('id').where('id', '=', session.clientId).forShare().execute()
        }
        const redeemed = await trx
          .updateTable('authorizations')
          .set({ state: 'redeemed', session_id: session.id })
          .where('code_hash', '=', codeHash)
          .where('state', '=', 'code')
          .where('expires_at', '>', now)
          .returning('login_id')
          .executeTakeFirst()
        if (redeemed !== undefined) {
          const ofLogin = { ...session, loginId: redeemed.login_id }
          const isOpen = await insertSession(trx, ofLogin, { authVersion, rev })
          if (!isOpen) {
            await trx
              .updateTable('authorizations')
              .set({ state: 'ended', session_id: null })
              .where('code_hash', '=', codeHash)
              .execute()
            return 'refused'
          }
          const { userId: user, clientId: client, id } = session
          record({
            type: 'session.opened',
            caller,
            subject: { user, client, session: id },
            reason: session.amr.join(' ')
          })
          await endSurplus(trx, session, { caller, record })
          return 'opened'
        }
        const row = await trx
          .selectFrom('authorizations')
          .select(['state', 'session_id'])
          .where('code_hash', '=', codeHash)
          .executeTakeFirst()
        if (row?.state !== 'redeemed') return 'refused'
        await endReplayed(trx, { id: row.session_id, now }, { caller, record })
        return 'replayed'
      }),

    burn: (caller, { codeHash, now }) =>
      transaction(async (trx, record) => {
        const burnt = await trx
          .updateTable('authorizations')
          .set({ state: 'ended' })
          .where('code_hash', '=', codeHash)
          .where('state', '=', 'code')
          .returning('client_id')
          .executeTakeFirst()
        if (burnt !== undefined) {
          record({ type: 'code.refused', caller, subject: { client: burnt.client_id }, outcome: 'failure' })
          return true
        }
        const row = await trx
          .selectFrom('authorizations')
          .select('session_id')
          .where('code_hash', '=', codeHash)
          .executeTakeFirst()
        return endReplayed(trx, { id: row?.session_id ?? null, now }, { caller, record })
      })
  }
}
