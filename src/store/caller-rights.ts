import type { Caller } from '../domain/caller.ts'
import { DomainError, unknownName } from '../domain/errors.ts'
import { ADMIN_ROLE, CLIENT_ONLY_SCOPES, type Client, IDENTITY_SCOPES } from '../domain/model.ts'
import { type Db, needsRowLocks } from './columns.ts'

/** Maximum number of existing names that are compared with an unknown name, to suggest the one that was meant. */
const NAMES_COMPARED = 1000

/** Throws unless all rows exist. @throws DomainError invalid */
async function assertExist(trx: Db, table: 'roles' | 'scopes', names: string[]): Promise<void> {
  if (names.length === 0) return
  const rows = await trx.selectFrom(table).select('name').where('name', 'in', names).execute()
  const unknown = names.find((name) => !rows.some((row) => row.name === name))
  if (unknown === undefined) return
  const all = await trx.selectFrom(table).select('name').limit(NAMES_COMPARED).execute()
  throw unknownName(
    table === 'roles' ? 'role' : 'scope',
    unknown,
    all.map(({ name }) => name)
  )
}

const refusal = () => new DomainError('forbidden', 'You can give only roles and scopes that you have')

/** Returns the roles and scopes that the caller holds, with the identity scopes; none unless the caller is an enabled user with a role. */
async function heldBy(trx: Db, caller: Caller): Promise<{ roles: Set<string>; scopes: Set<string | null> }> {
  if (caller.kind !== 'user') return { roles: new Set(), scopes: new Set() }
  const rows = await trx
    .selectFrom('users')
    .innerJoin('user_roles', 'user_id', 'users.id')
    .leftJoin('role_scopes', 'role_scopes.role', 'user_roles.role')
    .select(['user_roles.role', 'scope'])
    .where('users.id', '=', caller.id)
    .where('disabled_at', 'is', null)
    .execute()
  const held = rows.length === 0 ? [] : IDENTITY_SCOPES
  return { roles: new Set(rows.map(({ role }) => role)), scopes: new Set([...held, ...rows.map(({ scope }) => scope)]) }
}

/**
 * Throws unless the caller may give these roles to a user or client: the caller must hold every scope of the roles, and to give the role
 * `admin` also this role. An operator may give every role. Reads in the given transaction.
 * @throws DomainError forbidden, invalid when a role does not exist
 */
export async function assertMayGrantRoles(trx: Db, caller: Caller, roles: string[]): Promise<void> {
  await assertExist(trx, 'roles', roles)
  if (roles.length === 0 || caller.kind === 'operator') return
  const held = await heldBy(trx, caller)
  const given = await trx.selectFrom('role_scopes').select('scope').where('role', 'in', roles).execute()
  const makesAdmin = roles.includes(ADMIN_ROLE)
  if (given.some(({ scope }) => !held.scopes.has(scope)) || (makesAdmin && !held.roles.has(ADMIN_ROLE))) throw refusal()
}

/**
 * Throws unless the caller may give these scopes to a role or client: the caller must hold them. An operator may give every scope.
 * Reads in the given transaction.
 * @param clientOnly scopes that no user can hold: the caller may give them if they exist
 * @throws DomainError forbidden, invalid when a scope does not exist
 */
export async function assertMayGrantScopes(
  trx: Db,
  caller: Caller,
  { scopes, clientOnly = [] }: { scopes: string[]; clientOnly?: string[] }
): Promise<void> {
  await assertExist(trx, 'scopes', scopes)
  const needed = scopes.filter((scope) => !clientOnly.includes(scope))
  if (needed.length === 0 || caller.kind === 'operator') return
  const held = await heldBy(trx, caller)
  if (needed.some((scope) => !held.scopes.has(scope))) throw refusal()
}

/**
 * Throws unless the caller may give a client these scopes, roles and resources. Locks the resources, so that they cannot be deleted
 * before the end of the transaction.
 * @throws DomainError forbidden, invalid when a scope, role or resource does not exist
 */
export async function assertMayGrantToClient(
  trx: Db,
  caller: Caller,
  { scopes, roles, resources }: Pick<Client, 'scopes' | 'roles' | 'resources'>
): Promise<void> {
  await assertMayGrantScopes(trx, caller, { scopes, clientOnly: CLIENT_ONLY_SCOPES })
  await assertMayGrantRoles(trx, caller, roles ?? [])
  if (resources.length === 0) return
  const rows = await trx
    .selectFrom('resources')
    .select('id')
    .where('id', 'in', resources)
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forKeyShare())
    .execute()
  const unknown = resources.find((id) => !rows.some((row) => row.id === id))
  if (unknown !== undefined) throw unknownName('resource', unknown)
}
