import { type Kysely, sql } from 'kysely'
import type { Role } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import { assertMayGrant } from './admins.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'
import { words } from './users.ts'

const SCOPES = sql<
  string | null
>`(select string_agg(scope, ' ' order by scope) from role_scopes where role = roles.name)`

const toRole = ({ name, description, scopes }: { name: string; description: string; scopes: string | null }): Role => ({
  name,
  description,
  scopes: words(scopes)
})

async function setScopes(trx: Kysely<Tables>, role: string, scopes: string[]): Promise<void> {
  await trx.deleteFrom('role_scopes').where('role', '=', role).execute()
  for (const scope of scopes) await trx.insertInto('role_scopes').values({ role, scope }).execute()
}

/** In the caller's transaction. */
export async function insertRole(trx: Kysely<Tables>, { name, description, scopes }: Role, now: number): Promise<void> {
  await trx.insertInto('roles').values({ name, description, created_at: now, updated_at: now }).execute()
  await setScopes(trx, name, scopes)
}

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function roles(db: Kysely<Tables>, locksRows: boolean): Store['roles'] {
  const select = (trx: Kysely<Tables>) =>
    trx
      .selectFrom('roles')
      .select(['name', 'description', SCOPES.as('scopes')])
      .orderBy('name')

  async function get(trx: Kysely<Tables>, name: string): Promise<Role | null> {
    const row = await select(trx).where('name', '=', name).executeTakeFirst()
    return row === undefined ? null : toRole(row)
  }

  return {
    get: (name) => get(db, name),

    async list({ after, limit }) {
      const rows = await select(db)
        .$if(after !== null, (query) => query.where('name', '>', after))
        .limit(limit)
        .execute()
      return rows.map(toRole)
    },

    create: (role, actor, now) =>
      db.transaction().execute(async (trx) => {
        await assertMayGrant(trx, actor, 'scopes', role.scopes)
        await insertRole(trx, role, now)
      }),

    change: (name, { description, scopes }, actor, now) =>
      db.transaction().execute(async (trx) => {
        // First, so that two changes of one role happen one after the other.
        const { numUpdatedRows } = await trx
          .updateTable('roles')
          .set({ updated_at: now, ...(description === undefined ? {} : { description }) })
          .where('name', '=', name)
          .executeTakeFirstOrThrow()
        if (numUpdatedRows === 0n) return null
        if (scopes !== undefined) {
          const before = (await get(trx, name))?.scopes ?? []
          const added = scopes.filter((scope) => !before.includes(scope))
          await assertMayGrant(trx, actor, 'scopes', added)
          await setScopes(trx, name, scopes)
          if (before.some((scope) => !scopes.includes(scope))) await log(trx, [{ kind: 'role', id: name }], now)
        }
        return get(trx, name)
      }),

    delete: (name, now) =>
      db.transaction().execute(async (trx) => {
        // Whoever is being given the role just now is waited for.
        if (locksRows) await trx.selectFrom('roles').select('name').where('name', '=', name).forUpdate().execute()
        await trx.deleteFrom('user_roles').where('role', '=', name).execute()
        const { numDeletedRows } = await trx.deleteFrom('roles').where('name', '=', name).executeTakeFirstOrThrow()
        if (numDeletedRows === 1n) await log(trx, [{ kind: 'role', id: name }], now)
        return numDeletedRows === 1n
      })
  }
}
