import { type Kysely, sql } from 'kysely'
import type { User } from '../domain/model.ts'
import type { NewUser, Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

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

export function users(db: Kysely<Tables>): Store['users'] {
  const select = db.selectFrom('users').select(COLUMNS).select(ROLES.as('roles'))

  return {
    create: (user) => db.transaction().execute((trx) => insertUser(trx, user)),

    async get(id) {
      const row = await select.where('users.id', '=', id).executeTakeFirst()
      return row === undefined ? null : toUser(row)
    },

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

    async list({ after, limit }) {
      const rows = await select
        .$if(after !== null, (query) => query.where('users.id', '>', after))
        .orderBy('users.id')
        .limit(limit)
        .execute()
      return rows.map(toUser)
    },

    async update(id, { email, emailKey, fullName }, now) {
      const row = await db
        .updateTable('users')
        .set({
          updated_at: now,
          ...(email === undefined ? {} : { email }),
          ...(emailKey === undefined ? {} : { email_key: emailKey }),
          ...(fullName === undefined ? {} : { full_name: fullName })
        })
        .where('users.id', '=', id)
        .returning(COLUMNS)
        .returning(ROLES.as('roles'))
        .executeTakeFirst()
      return row === undefined ? null : toUser(row)
    },

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
        .selectFrom('user_roles')
        .innerJoin('role_scopes', 'role_scopes.role', 'user_roles.role')
        .select('scope')
        .distinct()
        .where('user_id', '=', id)
        .execute()
      return rows.map((row) => row.scope)
    }
  }
}
