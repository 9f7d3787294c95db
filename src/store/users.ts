import { type Kysely, sql } from 'kysely'
import type { User } from '../domain/model.ts'
import type { NewUser, Store, UserChanges } from '../domain/ports.ts'
import { assertMayGrant, keepingAnAdmin, takeName } from './admins.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'
import { endSessions } from './sessions.ts'

export const words = (text: string | null): string[] => (text === null || text === '' ? [] : text.split(' '))

const ROLES = sql<string | null>`(select string_agg(role, ' ' order by role) from user_roles where user_id = users.id)`
const COLUMNS = ['users.id', 'username', 'email', 'full_name', 'disabled_at', 'created_at', 'updated_at'] as const

type UserRow = Pick<
  Tables['users'],
  'id' | 'username' | 'email' | 'full_name' | 'disabled_at' | 'created_at' | 'updated_at'
> & {
  roles: string | null
}

const toUser = (row: UserRow): User => ({
  id: row.id,
  username: row.username,
  email: row.email,
  fullName: row.full_name,
  disabledAt: row.disabled_at,
  roles: words(row.roles),
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

/** In the caller's transaction. */
export async function insertUser(db: Kysely<Tables>, user: NewUser): Promise<void> {
  await takeName(db, user)
  await db
    .insertInto('users')
    .values({
      id: user.id,
      username: user.username,
      username_key: user.usernameKey,
      email: user.email,
      email_key: user.emailKey,
      full_name: user.fullName,
      auth_version: 1,
      created_at: user.now,
      updated_at: user.now
    })
    .execute()
  await db.insertInto('credentials').values({ user_id: user.id, password_hash: user.passwordHash }).execute()
  for (const role of user.roles) await db.insertInto('user_roles').values({ user_id: user.id, role }).execute()
}

/** What `UserChanges` says of the columns of `users`. */
const columns = ({ username, usernameKey, email, emailKey, fullName }: UserChanges) => ({
  ...(username === undefined ? {} : { username }),
  ...(usernameKey === undefined ? {} : { username_key: usernameKey }),
  ...(email === undefined ? {} : { email }),
  ...(emailKey === undefined ? {} : { email_key: emailKey }),
  ...(fullName === undefined ? {} : { full_name: fullName })
})

/**
 * Ends the user's sessions but one, and the logins that are under way, in the caller's transaction.
 * @param which `from`: only if the user has this `auth_version`, else nothing happens
 * @returns the sessions that ended; null when nothing happened
 */
async function endLogins(
  trx: Kysely<Tables>,
  id: string,
  { keep, from }: { keep: string | null; from: number | null },
  now: number,
  locksRows: boolean
): Promise<string[] | null> {
  const { numUpdatedRows } = await trx
    .updateTable('users')
    .set(({ eb }) => ({ auth_version: eb('auth_version', '+', 1), updated_at: now }))
    .where('id', '=', id)
    .$if(from !== null, (query) => query.where('auth_version', '=', from as number))
    .executeTakeFirstOrThrow()
  if (numUpdatedRows === 0n) return null
  return endSessions(trx, { userId: id, except: keep }, now, locksRows)
}

const simply = <T>(db: Kysely<Tables>, run: (trx: Kysely<Tables>) => Promise<T>): Promise<T> =>
  db.transaction().execute(run)

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function users(db: Kysely<Tables>, locksRows: boolean): Store['users'] {
  const selectFrom = (trx: Kysely<Tables>) => trx.selectFrom('users').select(COLUMNS).select(ROLES.as('roles'))
  const select = selectFrom(db)

  async function get(trx: Kysely<Tables>, id: string): Promise<User | null> {
    const row = await selectFrom(trx).where('users.id', '=', id).executeTakeFirst()
    return row === undefined ? null : toUser(row)
  }

  return {
    create: (user, actor) =>
      db.transaction().execute(async (trx) => {
        await assertMayGrant(trx, actor, 'roles', user.roles)
        await insertUser(trx, user)
      }),

    get: (id) => get(db, id),

    async credentials(username) {
      const row = await select
        .innerJoin('credentials', 'user_id', 'users.id')
        .select(['auth_version', 'password_hash'])
        .where('username_key', '=', username)
        .executeTakeFirst()
      return row === undefined
        ? null
        : { user: toUser(row), passwordHash: row.password_hash, authVersion: row.auth_version }
    },

    async list({ after, limit }, { search, role, disabled }) {
      const beginning = `${search?.replace(/[\\%_]/g, '\\$&')}%`
      const rows = await select
        .$if(after !== null, (query) => query.where('users.id', '>', after))
        .$if(search !== undefined, (query) =>
          query.where(
            sql<boolean>`(username_key like ${beginning} escape '\\' or email_key like ${beginning} escape '\\')`
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

    change: (id, { roles, disabled, ...profile }, actor, now) =>
      (roles === undefined && disabled === undefined ? simply : keepingAnAdmin)(db, async (trx) => {
        const before = await get(trx, id)
        if (before === null) return null
        if (profile.usernameKey !== undefined) await takeName(trx, { usernameKey: profile.usernameKey })
        await trx
          .updateTable('users')
          .set({ ...columns(profile), updated_at: now })
          .where('id', '=', id)
          .execute()
        const lost = roles === undefined ? [] : before.roles.filter((role) => !roles.includes(role))
        const added = roles === undefined ? [] : roles.filter((role) => !before.roles.includes(role))
        await assertMayGrant(trx, actor, 'roles', added)
        if (lost.length > 0)
          await trx.deleteFrom('user_roles').where('user_id', '=', id).where('role', 'in', lost).execute()
        for (const role of added) await trx.insertInto('user_roles').values({ user_id: id, role }).execute()
        if (disabled === false) await trx.updateTable('users').set({ disabled_at: null }).where('id', '=', id).execute()
        const ends = disabled === true && before.disabledAt === null
        if (ends) {
          await trx.updateTable('users').set({ disabled_at: now }).where('id', '=', id).execute()
          await endLogins(trx, id, { keep: null, from: null }, now, locksRows)
        }
        if (ends || lost.length > 0) await log(trx, [{ kind: 'user', id }], now)
        return get(trx, id)
      }),

    delete: (id, now) =>
      keepingAnAdmin(db, async (trx) => {
        // The sessions first, in the order in which everyone ends them.
        if ((await endLogins(trx, id, { keep: null, from: null }, now, locksRows)) === null) return false
        await trx.deleteFrom('users').where('id', '=', id).execute()
        await log(trx, [{ kind: 'user', id }], now)
        return true
      }),

    setPassword: (id, { hash, from, keep }, now) =>
      db.transaction().execute(async (trx) => {
        const sessions = await endLogins(trx, id, { keep, from }, now, locksRows)
        if (sessions === null) return false
        await trx.updateTable('credentials').set({ password_hash: hash }).where('user_id', '=', id).execute()
        await log(
          trx,
          sessions.map((session) => ({ kind: 'session', id: session })),
          now
        )
        return true
      }),

    async replaceHash(id, from, to) {
      await db
        .updateTable('credentials')
        .set({ password_hash: to })
        .where('user_id', '=', id)
        .where('password_hash', '=', from)
        .execute()
    },

    async scopes(id) {
      const rows = await db
        .selectFrom('users')
        .leftJoin('user_roles', 'user_id', 'users.id')
        .leftJoin('role_scopes', 'role_scopes.role', 'user_roles.role')
        .select('scope')
        .distinct()
        .where('users.id', '=', id)
        .execute()
      return rows.length === 0 ? null : rows.flatMap((row) => row.scope ?? [])
    }
  }
}
