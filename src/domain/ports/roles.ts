import type { Caller } from '../caller.ts'
import type { Millis, Role } from '../model.ts'
import type { Page } from './page.ts'

/** Roles. The rule of `UserStore` about giving scopes holds here too. */
export interface RoleStore {
  /** Returns null when there is no such role. */
  get(name: string): Promise<Role | null>
  /** Returns roles by name. */
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
