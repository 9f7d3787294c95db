import type { Caller } from '../caller.ts'
import type { Client, ClientSecret, Millis, ScopeTarget, SigningAlg, SigningTimes } from '../model.ts'
import type { Page } from './page.ts'

/** The members to change. A list replaces the whole list of the client. */
export type ClientChanges = Partial<
  Omit<Client, 'id' | 'kind' | 'disabledAt' | 'createdAt' | 'updatedAt'> & { disabled: boolean }
>

/**
 * Clients. A caller that adds or changes a client, or adds a secret, must hold every scope of the client after the change and every
 * scope of its listed roles, and the role `admin` if it is listed. Scopes that no user can hold are exempt, and so is a change that only
 * disables the client. Otherwise the method throws `DomainError('forbidden')`. An operator may grant every scope and role.
 */
export interface ClientStore {
  /** Returns a client in any state; null when there is no such client. */
  get(id: string): Promise<Client | null>
  /** Returns the algorithms that clients have registered for their ID tokens, in any state of the client. */
  idTokenAlgs(): Promise<SigningAlg[]>
  /** Returns clients in the order of their ids. */
  list(page: Page): Promise<Client[]>
  /**
   * Returns the existing clients among the ids, each with its valid secrets, the resources of its scopes, the signing keys and the number
   * of the revocation log, all read in one statement.
   * @param ids one or two
   */
  credentials(
    ids: string[],
    now: Millis
  ): Promise<
    { client: Client; secrets: ClientSecret[]; registered: ScopeTarget[]; signing: SigningTimes[]; rev: number }[]
  >
  /** @throws DomainError conflict when the id is taken, invalid when a scope, role or resource does not exist, forbidden */
  create(caller: Caller, registration: { client: Client; secret: ClientSecret | null }): Promise<void>
  /**
   * Returns null when there is no such client. If the client loses a scope, role or resource, the tokens issued before end. If it
   * is disabled, or loses a grant or `firstParty`, its sessions end too. Each of these changes, the loss of a redirect URI and a new demand
   * for PKCE also make its codes invalid.
   * @throws DomainError invalid when a scope, role or resource does not exist, forbidden
   */
  change(caller: Caller, change: { id: string; changes: ClientChanges; now: Millis }): Promise<Client | null>
  /** Deletes the client with its sessions and secrets. Returns false when there is no such client. */
  delete(caller: Caller, client: { id: string; now: Millis }): Promise<boolean>
  /** Returns the secrets of a client that have not expired, oldest first. */
  secrets(id: string, now: Millis): Promise<ClientSecret[]>
  /**
   * Returns false when there is no such client.
   * @param addition `othersEndAt` is the latest `expiresAt` of the other secrets, or null to leave them unchanged; `maxSecrets` is the
   *   maximum number of secrets
   * @throws DomainError conflict when there would be more than `maxSecrets`, forbidden
   */
  addSecret(
    caller: Caller,
    addition: { id: string; secret: ClientSecret; othersEndAt: Millis | null; maxSecrets: number }
  ): Promise<boolean>
  /** Returns false when the client has no such secret. */
  deleteSecret(caller: Caller, secret: { id: string; secretId: string }): Promise<boolean>
  /** Records the time of the last use of a secret. */
  recordSecretUse(secretId: string, now: Millis): Promise<void>
  /** Records the use of an assertion. Returns false when the assertion was used before, and when there is no such client. */
  useAssertion(id: string, jti: string, expiresAt: Millis): Promise<boolean>
}
