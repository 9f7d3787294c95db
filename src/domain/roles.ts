import { DomainError } from './errors.ts'
import { type Actor, ADMIN_ROLE, CLIENT_ONLY_SCOPES, type Role } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock, Page, Store } from './ports.ts'
import { BUILT_IN_SCOPES } from './scopes.ts'

const NAME = /^[a-z][a-z0-9_.-]{0,63}$/
const LINE = /^[^\p{Cc}]{0,200}$/u

const found = (role: Role | null): Role => {
  if (role === null) throw new DomainError('not_found', 'There is no such role')
  return role
}

/** What of a role is given, each scope once. @throws DomainError invalid */
function checked<T extends { description?: string; scopes?: string[] }>(name: string, changes: T): T {
  const { description = '', scopes } = changes
  if (!LINE.test(description))
    throw new DomainError('invalid', 'A description has at most 200 characters, none of them a control character')
  if (scopes === undefined) return changes
  const ofClients = CLIENT_ONLY_SCOPES.find((scope) => scopes.includes(scope))
  if (ofClients !== undefined) throw new DomainError('invalid', `The scope ${ofClients} is for clients only`)
  if (name === ADMIN_ROLE && !BUILT_IN_SCOPES.every((scope) => scopes.includes(scope.name)))
    throw new DomainError('conflict', 'The role admin keeps every scope of Latchkey’s own API')
  return { ...changes, scopes: [...new Set(scopes)] }
}

/** Roles and the scopes that they allow. */
export function createRoles({ store, clock }: { store: Store; clock: Clock }) {
  return {
    /** @throws DomainError not_found */
    get: async (name: string): Promise<Role> => found(await store.roles.get(name)),

    /** One page by name. */
    list: (page: Page): Promise<Paged<Role>> => paged(page, (role) => role.name, store.roles.list),

    /** @throws DomainError conflict when the name is taken, invalid, forbidden when the actor lacks one of the scopes */
    async create(role: Role, actor: Actor): Promise<Role> {
      if (!NAME.test(role.name))
        throw new DomainError(
          'invalid',
          'The name of a role has 1 to 64 of a-z, 0-9, dot, hyphen and underscore, a letter first'
        )
      await store.roles.create(checked(role.name, role), actor, clock.now())
      return found(await store.roles.get(role.name))
    },

    /**
     * Changes what is given; `scopes` are then all that the role has. Holds for the next request of everyone with the role.
     * @throws DomainError not_found, invalid, forbidden when the actor lacks a scope that is added, conflict when the role
     *   admin would lose what administers Latchkey
     */
    change: async (name: string, changes: { description?: string; scopes?: string[] }, actor: Actor): Promise<Role> =>
      found(await store.roles.change(name, checked(name, changes), actor, clock.now())),

    /** Also takes it from everyone who has it. @throws DomainError not_found, conflict for the role admin */
    async delete(name: string): Promise<void> {
      if (name === ADMIN_ROLE) throw new DomainError('conflict', 'The role admin cannot be deleted')
      if (!(await store.roles.delete(name, clock.now()))) found(null)
    }
  }
}
