import { sql } from 'kysely'
import type { User } from '../domain/model.ts'
import { words } from './columns.ts'
import type { Tables } from './schema.ts'

/** The roles of a user, in the order of their names. */
export const ROLES = sql<
  string | null
>`(select string_agg(role, ' ' order by role) from user_roles where user_id = users.id)`
/** The scopes of the roles of a user. A scope of several roles occurs several times. */
export const SCOPES = sql<
  string | null
>`(select string_agg(scope, ' ') from user_roles r join role_scopes rs on rs.role = r.role where r.user_id = users.id)`
export const COLUMNS = [
  'users.id',
  'username',
  'email',
  'full_name',
  'disabled_at',
  'created_at',
  'updated_at'
] as const

export type UserRow = Pick<
  Tables['users'],
  'id' | 'username' | 'email' | 'full_name' | 'disabled_at' | 'created_at' | 'updated_at'
> & { roles: string | null }

export const toUser = (row: UserRow): User => ({
  id: row.id,
  username: row.username,
  email: row.email,
  fullName: row.full_name,
  disabledAt: row.disabled_at,
  roles: words(row.roles),
  createdAt: row.created_at,
  updatedAt: row.updated_at
})
