import { sql } from 'kysely'
import { defined } from '../defined.ts'
import type { Millis, User } from '../domain/model.ts'
import type { NewUser, UserChanges, UserStore } from '../domain/ports/users.ts'
import { caseFold } from '../text.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { assertMayGrantRoles } from './caller-rights.ts'
import { type Db, words } from './columns.ts'
import { describeChanges, describeGiven } from './event-reasons.ts'
import { lockForDeletion, reserveUsername, withAdminLock } from './locks.ts'
import { appendRevocations } from './revocations.ts'
import { endSessions, entriesOf } from './session-ends.ts'
import { preparedRead, type SlotOf } from './statements.ts'
import type { Database, RecordEvent } from './transaction.ts'
import { COLUMNS, ROLES, SCOPES, toUser } from './user-rows.ts'

const selectUsers = (trx: Db) => trx.selectFrom('users').select(COLUMNS).select(ROLES.as('roles'))

async function getUser(trx: Db, id: string): Promise<User | null> {
  const row = await selectUsers(trx).where('users.id', '=', id).executeTakeFirst()
  return row === undefined ? null : toUser(row)
}

async function insertRoles(trx: Db, userId: string, roles: string[]): Promise<void> {
  if (roles.length === 0) return
  await trx
    .insertInto('user_roles')
    .values(roles.map((role) => ({ user_id: userId, role })))
    .execute()
}

/**
 * Returns the value of the column `email_key`, by whose beginning a user is found. Several users may have one address, because nobody has
 * verified it. The column is unique, and SQLite cannot drop this constraint, so the id is part of the value.
 */
const emailKeyOf = (emailKey: string | null, id: string): string | null =>
  emailKey === null ? null : `${emailKey} ${id}`

async function setHash(trx: Db, userId: string, hash: string): Promise<void> {
  await trx
    .insertInto('credentials')
    .values({ user_id: userId, password_hash: hash })
    .onConflict((conflict) => conflict.column('user_id').doUpdateSet({ password_hash: hash }))
    .execute()
}

/** Inserts a user with credentials and roles. @throws the errors of `reserveUsername` */
export async function insertUser(trx: Db, user: NewUser): Promise<void> {
  await reserveUsername(trx, user)
  await trx
    .insertInto('users')
    .values({
      id: user.id,
      username: user.username,
      username_key: user.usernameKey,
      look_alike: user.lookAlike,
      email: user.email,
      email_key: emailKeyOf(user.emailKey, user.id),
      full_name: user.fullName,
      auth_version: 1,
      created_at: user.now,
      updated_at: user.now
    })
    .execute()
  if (user.passwordHash !== null) await setHash(trx, user.id, user.passwordHash)
  await insertRoles(trx, user.id, user.roles)
}

const toColumns = (id: string, { username, usernameKey, lookAlike, email, emailKey, fullName }: UserChanges) =>
  defined({
    username,
    username_key: usernameKey,
    look_alike: lookAlike,
    email,
    email_key: emailKey === undefined ? undefined : emailKeyOf(emailKey, id),
    full_name: fullName
  })

/**
 * Ends the sessions of the user. Increases the `auth_version` of the user, which ends the logins in browsers and the logins in progress.
 * @param options `keep` is a session that does not end; `keepLogin` is a login that does not end, with its new token, and needs `from`;
 *   `from` is the required `auth_version`, or null for any
 * @returns the ended sessions; null when nothing changed because there is no such user or the version differs
 */
async function endEverySignIn(
  trx: Db,
  id: string,
  {
    keep = null,
    keepLogin = null,
    from = null,
    now
  }: { keep?: string | null; keepLogin?: { id: string; tokenHash: string } | null; from?: number | null; now: Millis }
): Promise<Awaited<ReturnType<typeof endSessions>> | null> {
  const { numUpdatedRows } = await trx
    .updateTable('users')
    .set(({ eb }) => ({ auth_version: eb('auth_version', '+', 1), updated_at: now }))
    .where('id', '=', id)
    .$if(from !== null, (query) => query.where('auth_version', '=', from as number))
    .executeTakeFirstOrThrow()
  if (numUpdatedRows === 0n) return null
  // Locks the login before the sessions, in the same order as the end of a login. A login whose `auth_version` differs from that of its user
  // counts as ended, so the login that is kept gets the new one.
  if (keepLogin !== null && from !== null) {
    const ofUser = trx.selectFrom('logins').select('id').where('id', '=', keepLogin.id).where('user_id', '=', id)
    await trx
      .updateTable('logins')
      .set({ auth_version: from + 1, token_hash: keepLogin.tokenHash })
      .where('id', 'in', ofUser)
      .where('auth_version', '=', from)
      .execute()
    await endAuthorizations(trx, { loginIds: ofUser })
  }
  return endSessions(trx, { userId: id, except: keep, now })
}

function changeUser(database: Database): UserStore['change'] {
  return (caller, { id, changes, now }) => {
    const { roles, disabled, ...profile } = changes

    async function change(trx: Db, record: RecordEvent): Promise<User | null> {
      const before = await getUser(trx, id)
      if (before === null) return null
      const { usernameKey, lookAlike = '', mixesScripts = false } = profile
      if (usernameKey !== undefined) await reserveUsername(trx, { id, usernameKey, lookAlike, mixesScripts })
      await trx
        .updateTable('users')
        .set({ ...toColumns(id, profile), updated_at: now })
        .where('id', '=', id)
        .execute()
      const removed = roles === undefined ? [] : before.roles.filter((role) => !roles.includes(role))
      const added = roles === undefined ? [] : roles.filter((role) => !before.roles.includes(role))
      await assertMayGrantRoles(trx, caller, added)
      if (removed.length > 0)
        await trx.deleteFrom('user_roles').where('user_id', '=', id).where('role', 'in', removed).execute()
      await insertRoles(trx, id, added)
      if (disabled === false) await trx.updateTable('users').set({ disabled_at: null }).where('id', '=', id).execute()
      const disables = disabled === true && before.disabledAt === null
      if (disables) {
        await trx.updateTable('users').set({ disabled_at: now }).where('id', '=', id).execute()
        await endEverySignIn(trx, id, { now })
      }
      if (disables || removed.length > 0) await appendRevocations(trx, [{ kind: 'user', id, userId: id }], now)
      const after = (await getUser(trx, id)) as User
      // The domain unlocks the account after every change with `disabled: false`, also of a user who was enabled before.
      const reason =
        describeChanges(before, { ...after, updatedAt: before.updatedAt }) || (disabled === false ? 'unlocked' : '')
      if (reason !== '')
        record({ type: 'user.changed', caller, subject: { user: id, username: after.username }, reason })
      return after
    }

    const canRemoveAdmin = roles !== undefined || disabled !== undefined
    return canRemoveAdmin ? withAdminLock(database, change) : database.transaction(change)
  }
}

export function users(database: Database): UserStore {
  const { db, statements, transaction } = database
  const findAccess = preparedRead(
    statements,
    (slot: SlotOf<{ id: string }>) =>
      db
        .selectFrom('users')
        .select([ROLES.as('roles'), SCOPES.as('scopes')])
        .where('id', '=', slot('id'))
        .where('disabled_at', 'is', null),
    ([row]) => (row === undefined ? null : { roles: words(row.roles), scopes: [...new Set(words(row.scopes))] })
  )
  const findCredentials = preparedRead(
    statements,
    (slot: SlotOf<{ username: string }>) =>
      selectUsers(db)
        .leftJoin('credentials', 'user_id', 'users.id')
        .select(['auth_version', 'password_hash'])
        .where('username_key', '=', slot('username')),
    ([row]) =>
      row === undefined ? null : { user: toUser(row), passwordHash: row.password_hash, authVersion: row.auth_version }
  )

  return {
    create: (caller, user) =>
      transaction(async (trx, record) => {
        const { id, username, roles } = user
        await assertMayGrantRoles(trx, caller, roles)
        await insertUser(trx, user)
        record({ type: 'user.created', caller, subject: { user: id, username }, reason: describeGiven({ roles }) })
      }),

    get: (id) => getUser(db, id),

    credentials: (username) => findCredentials({ username }),

    async hashSample(limit) {
      // The end of a UUID of version 7 is random. The index `credentials_at_random` has the same expression.
      const rows = await db
        .selectFrom('credentials')
        .select(sql<string>`substr(password_hash, 1, 64)`.as('head'))
        .orderBy(sql`substr(user_id, 25)`)
        .limit(limit)
        .execute()
      return rows.map(({ head }) => head)
    },

    access: (id) => findAccess({ id }),

    async list({ after, limit }, { search, role, disabled }) {
      // `search` and the stored e-mail addresses are in lower case. The stored usernames are in case folding.
      const beginning = (text: string) => `${text.replace(/[\\%_]/g, '\\$&')}%`
      const rows = await selectUsers(db)
        .$if(after !== null, (query) => query.where('users.id', '>', after))
        .$if(search !== undefined, (query) =>
          query.where(
            sql<boolean>`(username_key like ${beginning(caseFold(search ?? ''))} escape '\\' or email_key like ${beginning(search ?? '')} escape '\\')`
          )
        )
        .$if(role !== undefined, (query) =>
          query.where(({ exists, selectFrom }) =>
            exists(
              selectFrom('user_roles')
                .select('role')
                .whereRef('user_id', '=', 'users.id')
                .where('role', '=', role as string)
            )
          )
        )
        .$if(disabled !== undefined, (query) => query.where('disabled_at', disabled ? 'is not' : 'is', null))
        .orderBy('users.id')
        .limit(limit)
        .execute()
      return rows.map(toUser)
    },

    change: changeUser(database),

    delete: (caller, { id, now }) =>
      withAdminLock(database, async (trx, record) => {
        await lockForDeletion(trx, 'users', id)
        // Locks authorizations and sessions in the order of their ids before the deletion cascades to them, to avoid deadlocks.
        await endAuthorizations(trx, { loginIds: trx.selectFrom('logins').select('id').where('user_id', '=', id) })
        if ((await endEverySignIn(trx, id, { now })) === null) return false
        const { username } = await trx
          .deleteFrom('users')
          .where('id', '=', id)
          .returning('username')
          .executeTakeFirstOrThrow()
        await appendRevocations(trx, [{ kind: 'user', id, userId: id }], now)
        record({ type: 'user.deleted', caller, subject: { user: id, username } })
        return true
      }),

    setPassword: (caller, { id, hash, from, keep, keepLogin = null, now }) =>
      transaction(async (trx, record) => {
        const ended = await endEverySignIn(trx, id, { keep, keepLogin, from, now })
        if (ended === null) return false
        await setHash(trx, id, hash)
        await appendRevocations(trx, await entriesOf(trx, ended), now)
        const isOwn = (caller.kind === 'user' || caller.kind === 'login') && caller.id === id
        record({ type: isOwn ? 'password.changed' : 'password.reset', caller, subject: { user: id } })
        return true
      }),

    async replaceHash(id, from, to) {
      await db
        .updateTable('credentials')
        .set({ password_hash: to })
        .where('user_id', '=', id)
        .where('password_hash', '=', from)
        .execute()
    }
  }
}
