import { LINE_MAX, NAME_MAX, NAME_PATTERN } from '../limits.ts'
import { ROLE_SCOPES } from './built-in.ts'
import type { Caller } from './caller.ts'
import { DomainError, invalid, noSuch } from './errors.ts'
import { isLine } from './line.ts'
import { ADMIN_ROLE, CLIENT_ONLY_SCOPES, type Role } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'

/** Maximum number of role names that are compared with an unknown name. */
const NAMES_COMPARED = 1000
const NAME = new RegExp(NAME_PATTERN, 'u')

/** The members to change; `scopes` replaces all scopes of the role. */
export interface RoleEdit {
  description?: string
  scopes?: string[]
}

/**
 * Returns the changes with each scope once.
 * @throws DomainError invalid, conflict when the role admin would lose a scope of Latchkey's own API
 */
function validChanges<T extends RoleEdit>(name: string, changes: T): T {
  const { description = '', scopes } = changes
  if (!isLine(description)) throw invalid(`A description has at most ${LINE_MAX} characters and no control characters`)
  if (scopes === undefined) return changes
  const clientOnly = CLIENT_ONLY_SCOPES.find((scope) => scopes.includes(scope))
  if (clientOnly !== undefined) throw invalid(`The scope ${clientOnly} is for clients only`)
  if (name === ADMIN_ROLE && !ROLE_SCOPES.every((scope) => scopes.includes(scope)))
    throw new DomainError('conflict', 'The role admin keeps every scope of Latchkey’s own API')
  return { ...changes, scopes: [...new Set(scopes)] }
}

/** Manages roles and their scopes. */
export function createRoles({ store, clock }: { store: Store; clock: Clock }) {
  /** Returns the error for an unknown name, with the names of roles that it may propose instead. */
  async function noSuchRole(name: string): Promise<DomainError> {
    const roles = await store.roles.list({ after: null, limit: NAMES_COMPARED })
    return noSuch(
      'role',
      name,
      roles.map((role) => role.name)
    )
  }

  /** Returns a role. @throws DomainError not_found */
  async function get(name: string): Promise<Role> {
    const role = await store.roles.get(name)
    if (role === null) throw await noSuchRole(name)
    return role
  }

  return {
    get,

    /** Returns one page of roles in the order of their names. */
    list: (page: Page): Promise<Paged<Role>> => paged(page, (role) => role.name, store.roles.list),

    /** Creates a role. @throws DomainError conflict when the name is taken, invalid, forbidden when the caller lacks a scope */
    async create(caller: Caller, role: Role): Promise<Role> {
      if (!NAME.test(role.name))
        throw invalid(
          `The name of a role has 1 to ${NAME_MAX} characters of a-z, 0-9, dot, hyphen and underscore, and begins with a letter`
        )
      await store.roles.create(caller, { ...validChanges(role.name, role), now: clock.now() })
      return get(role.name)
    },

    /**
     * Changes a role. Users with the role lose a removed scope at their next request to Latchkey, and get an added scope at their next
     * login. Guards refuse the earlier tokens that carry the role, and those of clients that may request the scope and whose
     * tokens do not carry the role.
     * @throws DomainError not_found, invalid, forbidden when the caller lacks an added scope, conflict when the role admin would
     *   lose a scope of Latchkey's own API
     */
    async change(caller: Caller, name: string, edit: RoleEdit): Promise<Role> {
      const role = await store.roles.change(caller, { name, changes: validChanges(name, edit), now: clock.now() })
      if (role === null) throw await noSuchRole(name)
      return role
    },

    /** Deletes a role and removes it from all users. @throws DomainError not_found, conflict for the role admin */
    async delete(caller: Caller, name: string): Promise<void> {
      if (name === ADMIN_ROLE) throw new DomainError('conflict', 'The role admin cannot be deleted')
      if (!(await store.roles.delete(caller, { name, now: clock.now() }))) throw await noSuchRole(name)
    }
  }
}
