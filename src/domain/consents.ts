import type { Caller } from './caller.ts'
import { noSuch } from './errors.ts'
import type { Client, Millis, Scope } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Consent } from './ports/authorizations.ts'
import type { Clock } from './ports/clock.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'

/** What a user has allowed a client, with the client and the descriptions of the scopes. */
export interface DescribedConsent {
  client: Client
  scopes: Pick<Scope, 'name' | 'description'>[]
  createdAt: Millis
  updatedAt: Millis
}

/** Lists and removes what users have allowed clients. */
export function createConsents(deps: { store: Store; clock: Clock }) {
  const { store, clock } = deps

  return {
    /** Returns one page of the consents of a user, in the order of the clients' ids. */
    async list(userId: string, page: Page): Promise<Paged<DescribedConsent>> {
      const { items, next } = await paged(
        page,
        (consent: Consent) => consent.clientId,
        (rows) => store.consents.list(userId, rows)
      )
      const described = await Promise.all(
        items.map(async ({ clientId, scopes, createdAt, updatedAt }) => {
          const [client, found] = await Promise.all([store.clients.get(clientId), store.scopes.find(scopes)])
          // The client was deleted since the consents were read.
          return client === null ? [] : [{ client, scopes: found, createdAt, updatedAt }]
        })
      )
      return { items: described.flat(), next }
    },

    /**
     * Removes a consent and ends the user's sessions at the client. Codes that the client has not redeemed yet become invalid.
     * @throws DomainError not_found
     */
    async remove(caller: Caller, { userId, clientId }: { userId: string; clientId: string }): Promise<void> {
      if (!(await store.consents.remove(caller, { userId, clientId, now: clock.now() })))
        throw noSuch('consent', clientId)
    }
  }
}

export type Consents = ReturnType<typeof createConsents>
