import type { Caller } from '../caller.ts'
import type { Millis, Role } from '../model.ts'
import type { Page } from './page.ts'

/** Roles. A caller must hold every scope that it adds to a role, as described in `UserStore`. */
export interface RoleStore {
  /** Returns null when there is no such role. */
  get(name: string): Promise<Role | null>
  /** Returns roles in the order of their names. */
  list(page: Page): Promise<Role[]>
  /** @throws DomainError conflict when the name is taken, invalid when a scope does not exist, forbidden */
  create(caller: Caller, role: Role & { now: Millis }): Promise<void>
  /** Returns null when there is no such role. @throws DomainError invalid when a scope does not exist, forbidden */
  change(
    caller: Caller,
    change: { name: string; changes: { description?: string; scopes?: string[] }; now: Millis }
  ): Promise<Role | null>
  /** Deletes the role, also from every user who has it. Returns false when there is no such role. */
  delete(caller: Caller, role: { name: string; now: Millis }): Promise<boolean>
}
