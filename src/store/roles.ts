import { sql } from 'kysely'
import type { Millis, Role } from '../domain/model.ts'
import type { RoleStore } from '../domain/ports/roles.ts'
import { assertMayGrantScopes } from './caller-rights.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { describeChanges, describeGiven } from './event-reasons.ts'
import { appendRevocations, type NewRevocation } from './revocations.ts'
import type { Database } from './transaction.ts'

const SCOPES = sql<
  string | null
>`(select string_agg(scope, ' ' order by scope) from role_scopes where role = roles.name)`

const toRole = ({ name, description, scopes }: { name: string; description: string; scopes: string | null }): Role => ({
  name,
  description,
  scopes: words(scopes)
})

async function insertScopes(trx: Db, role: string, scopes: string[]): Promise<void> {
  if (scopes.length === 0) return
  await trx
    .insertInto('role_scopes')
    .values(scopes.map((scope) => ({ role, scope })))
    .execute()
}

export async function insertRole(trx: Db, { name, description, scopes }: Role, now: Millis): Promise<void> {
  await trx.insertInto('roles').values({ name, description, created_at: now, updated_at: now }).execute()
  await insertScopes(trx, name, scopes)
}

const selectRoles = (trx: Db) =>
  trx
    .selectFrom('roles')
    .select(['name', 'description', SCOPES.as('scopes')])
    .orderBy('name')

async function getRole(trx: Db, name: string): Promise<Role | null> {
  const row = await selectRoles(trx).where('name', '=', name).executeTakeFirst()
  return row === undefined ? null : toRole(row)
}

/**
 * Returns the entries that revoke all tokens with a lost scope of the role. The entry of the role covers the tokens that carry the role.
 * The entries of clients cover the tokens that do not carry it. Locks these clients before `appendRevocations` locks the counter, in the
 * same order as a change of a client, so that the two cannot deadlock.
 */
async function entriesOf(trx: Db, role: string, lost: string[]): Promise<NewRevocation[]> {
  const own = { kind: 'role' as const, id: role }
  if (lost.length === 0) return [own]
  const rows = await trx
    .selectFrom('clients')
    .select(['id', 'roles', 'first_party'])
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('client_scopes').select('scope').whereRef('client_id', '=', 'clients.id').where('scope', 'in', lost)
      )
    )
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forNoKeyUpdate())
    .execute()
  const others = rows.filter((row) => (row.roles === null ? row.first_party === 0 : !words(row.roles).includes(role)))
  return [own, ...others.map(({ id }) => ({ kind: 'client' as const, id }))]
}

export function roles({ db, transaction }: Database): RoleStore {
  return {
    get: (name) => getRole(db, name),

    async list({ after, limit }) {
      const rows = await selectRoles(db)
        .$if(after !== null, (query) => query.where('name', '>', after))
        .limit(limit)
        .execute()
      return rows.map(toRole)
    },

    create: (caller, { now, ...role }) =>
      transaction(async (trx, record) => {
        const { name, scopes } = role
        await assertMayGrantScopes(trx, caller, { scopes })
        await insertRole(trx, role, now)
        record({ type: 'role.created', caller, subject: { role: name }, reason: describeGiven({ scopes }) })
      }),

    change: (caller, { name, changes, now }) =>
      transaction(async (trx, record) => {
        // Must be the first statement: it locks the role, so that changes of one role run one after the other.
        const locked = await trx
          .updateTable('roles')
          .set({ updated_at: now })
          .where('name', '=', name)
          .returning('description')
          .executeTakeFirst()
        if (locked === undefined) return null
        const { description = locked.description, scopes } = changes
        const previous = scopes === undefined ? [] : ((await getRole(trx, name)) as Role).scopes
        if (scopes !== undefined) {
          const added = scopes.filter((scope) => !previous.includes(scope))
          await assertMayGrantScopes(trx, caller, { scopes: added })
          await trx.deleteFrom('role_scopes').where('role', '=', name).execute()
          await insertScopes(trx, name, scopes)
        }
        const row = await trx
          .updateTable('roles')
          .set({ description })
          .where('name', '=', name)
          .returning(['name', 'description', SCOPES.as('scopes')])
          .executeTakeFirstOrThrow()
        const after = toRole(row)
        const before = { description: locked.description, scopes: scopes === undefined ? after.scopes : previous }
        const lost = before.scopes.filter((scope) => !after.scopes.includes(scope))
        if (lost.length > 0) await appendRevocations(trx, await entriesOf(trx, name, lost), now)
        const reason = describeChanges(before, { description: after.description, scopes: after.scopes })
        if (reason !== '') record({ type: 'role.changed', caller, subject: { role: name }, reason })
        return after
      }),

    delete: (caller, { name, now }) =>
      transaction(async (trx, record) => {
        // Waits for transactions that give the role to a user.
        if (needsRowLocks(trx))
          await trx.selectFrom('roles').select('name').where('name', '=', name).forUpdate().execute()
        const { scopes: lost = [] } = (await getRole(trx, name)) ?? {}
        await trx.deleteFrom('user_roles').where('role', '=', name).execute()
        const { numDeletedRows } = await trx.deleteFrom('roles').where('name', '=', name).executeTakeFirstOrThrow()
        if (numDeletedRows === 0n) return false
        await appendRevocations(trx, await entriesOf(trx, name, lost), now)
        record({ type: 'role.deleted', caller, subject: { role: name } })
        return true
      })
  }
}
