import type { Caller } from '../caller.ts'
import type { Millis, RegisteredScope, Resource } from '../model.ts'
import type { Page } from './page.ts'

export interface ScopeStore {
  /** Returns the registered scopes among the names. */
  find(names: string[]): Promise<RegisteredScope[]>
  /** Returns scopes in the order of their names. */
  list(page: Page): Promise<RegisteredScope[]>
}

/** The members to change. */
export interface ResourceChanges {
  name?: string
  /** Replaces all introspection clients. */
  introspectionClients?: string[]
  /** Gets the current scopes and returns the new scopes, which replace them. Must not wait for anything. */
  scopes?: (current: Resource['scopes']) => Resource['scopes']
}

export interface ResourceStore {
  /** Returns null when there is no such resource. */
  get(id: string): Promise<Resource | null>
  /** Returns resources in the order of their ids. */
  list(page: Page): Promise<Resource[]>
  /** Returns the resources that list the client: it serves them, so it may introspect their tokens and read their revocations. */
  servedBy(clientId: string): Promise<Pick<Resource, 'id' | 'identifier'>[]>
  /** Returns whether the client may introspect tokens for that resource. @param identifier null for Latchkey's own API */
  mayIntrospect(clientId: string, identifier: string | null): Promise<boolean>
  /** Returns whether a resource with this identifier is registered. */
  exists(identifier: string): Promise<boolean>
  /**
   * Registers a resource. The role `admin` gets its scopes too.
   * @throws DomainError conflict when the id, the identifier or a scope is taken, invalid when a client does not exist
   */
  create(caller: Caller, resource: Resource & { now: Millis }): Promise<void>
  /**
   * Returns null when there is no such resource. The role `admin` gets a new scope too. A removed scope is removed from every
   * role and client, and ends the tokens issued before.
   * @throws DomainError conflict when a scope is taken, invalid when a client does not exist
   */
  change(caller: Caller, change: { id: string; changes: ResourceChanges; now: Millis }): Promise<Resource | null>
  /** Deletes the resource with its scopes. Returns false when there is no such resource. */
  delete(caller: Caller, resource: { id: string; now: Millis }): Promise<boolean>
}
