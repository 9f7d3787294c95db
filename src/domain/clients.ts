import { OAuthError } from './errors.ts'
import type { Client } from './model.ts'
import type { Store } from './ports.ts'
import { BUILT_IN_SCOPES } from './scopes.ts'

/** The built-in public client of /docs. */
export const DOCS_CLIENT: Client = {
  id: 'docs',
  name: 'Interactive documentation',
  grantTypes: ['password'],
  scopes: BUILT_IN_SCOPES.map((scope) => scope.name),
  defaultScopes: ['profile'],
  sessionIdleTtl: 3600,
  sessionAbsoluteTtl: 12 * 3600,
  disabledAt: null
}

/** RFC 6749 §2.3.1. `none` is a public client that only names itself (RFC 7591 §2). */
export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post'

export interface ClientCredentials {
  /** Every way in which the id can be read: Basic credentials come form-encoded or raw. */
  ids: string[]
  secret: string
  method: ClientAuthMethod
}

/** @param docs whether the client of /docs may be used at all */
export function createClients({ store, docs }: { store: Store; docs: boolean }) {
  /** Whether a setting leaves it on. */
  const enabled = (id: string) => docs || id !== DOCS_CLIENT.id

  /** Null when it is unknown, disabled, or switched off by a setting. */
  async function get(id: string): Promise<Client | null> {
    const client = enabled(id) ? await store.clients.get(id) : null
    return client?.disabledAt === null ? client : null
  }

  return {
    enabled,
    get,

    /** The grants that some client may use now: in this version there is but the one of /docs. */
    grantTypes: async (): Promise<string[]> => (await get(DOCS_CLIENT.id))?.grantTypes ?? [],

    /** @throws OAuthError invalid_client, the same for an unknown client and a wrong secret */
    async authenticate({ ids, secret }: ClientCredentials): Promise<Client> {
      for (const id of ids) {
        const client = await get(id)
        if (client !== null && secret === '') return client
      }
      throw new OAuthError('invalid_client', 'Client authentication failed')
    }
  }
}
