import { createHash, randomBytes, randomUUIDv7 } from 'node:crypto'
import { clientRefused, DomainError } from './errors.ts'
import type { Client, ClientKind, Seconds } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock, Page, Store } from './ports.ts'
import { BUILT_IN_SCOPES } from './scopes.ts'
import { REFRESH_GRANT } from './sessions.ts'

/** How long a session may be idle, and how long it may last. */
const SESSION_IDLE_TTL: Seconds = 14 * 86_400
const SESSION_ABSOLUTE_TTL: Seconds = 90 * 86_400

/** RFC 6749 §A.1, without what nobody can type. */
const CLIENT_ID = /^[\x20-\x7e]{1,255}$/
const LINE = /^[^\p{Cc}]{1,200}$/u
/** Users have such ids, and a client's own token has its id for `sub`. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The built-in public client of /docs. */
export const DOCS_CLIENT: Client = {
  id: 'docs',
  name: 'Interactive documentation',
  kind: 'public',
  grantTypes: ['password', REFRESH_GRANT],
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
  /** Likewise; none for a client that only names itself. */
  secrets: string[]
  method: ClientAuthMethod
}

export interface NewClient {
  /** Generated, if none is given. */
  id?: string
  name: string
  kind: ClientKind
  grantTypes: string[]
  scopes: string[]
  /** Of `scopes`: what is granted when a request names none. */
  defaultScopes?: string[]
}

/** A client in the names of RFC 7591 §2. */
export const view = (client: Client) => ({
  client_id: client.id,
  client_name: client.name,
  grant_types: client.grantTypes,
  scope: client.scopes.join(' '),
  token_endpoint_auth_method: client.kind === 'public' ? 'none' : 'client_secret_basic',
  disabled: client.disabledAt !== null
})

/** 256 random bits need no slow hash. */
const hashed = (secret: string): string => createHash('sha256').update(secret).digest('base64url')

/** Programs that ask for tokens, or about them. */
export function createClients(deps: {
  store: Store
  clock: Clock
  /** Whether the client of /docs may be used at all. */
  docs: boolean
  /** Every value of `grant_type`. */
  types: string[]
}) {
  const { store, clock, docs, types } = deps
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
    view,

    /** Whatever its state is. @throws DomainError not_found */
    async find(id: string): Promise<Client> {
      const client = await store.clients.get(id)
      if (client === null) throw new DomainError('not_found', 'There is no such client')
      return client
    },

    /** The client that is meant by a request of /docs, which names none. @throws OAuthError invalid_client when it is switched off */
    async docs(): Promise<Client> {
      const client = await get(DOCS_CLIENT.id)
      if (client === null) throw clientRefused()
      return client
    },

    /** The grants that some client may use now. */
    async grantTypes(): Promise<string[]> {
      const clients = await store.clients.list({ after: null, limit: 1000 })
      const usable = clients.filter(({ id, disabledAt }) => enabled(id) && disabledAt === null)
      return [...new Set(usable.flatMap((client) => client.grantTypes))].sort()
    },

    /** @throws OAuthError invalid_client, the same for an unknown client and a wrong secret */
    async authenticate({ ids, secrets }: ClientCredentials): Promise<Client> {
      const presented = secrets.map(hashed)
      for (const id of ids) {
        const [client, hashes] = await Promise.all([get(id), store.clients.secretHashes(id)])
        if (client?.kind === 'public' && secrets.length === 0) return client
        if (client?.kind === 'confidential' && presented.some((hash) => hashes.includes(hash))) return client
      }
      throw clientRefused()
    },

    /** One page by id, whatever their state is. */
    list: (page: Page): Promise<Paged<Client>> => paged(page, (client) => client.id, store.clients.list),

    /**
     * Registers a client.
     * @returns the secret of a confidential client, which is kept nowhere; null for a public one
     * @throws DomainError conflict when the id is taken, invalid when a scope does not exist
     */
    async create(input: NewClient): Promise<{ client: Client; secret: string | null }> {
      const { id = randomUUIDv7(), name, kind, grantTypes, scopes, defaultScopes = [] } = input
      if (!CLIENT_ID.test(id) || (input.id !== undefined && UUID.test(id)))
        throw new DomainError('invalid', 'A client id has 1 to 255 printable ASCII characters and is no UUID')
      if (!LINE.test(name))
        throw new DomainError('invalid', 'A name has 1 to 200 characters, none of them a control character')
      const unknown = grantTypes.find((type) => !types.includes(type))
      if (unknown !== undefined)
        throw new DomainError('invalid', `There is no grant ${JSON.stringify(unknown)}: ${types.join(', ')}`)
      const client: Client = {
        id,
        name,
        kind,
        grantTypes,
        scopes: [...new Set(scopes)],
        defaultScopes: defaultScopes.filter((scope) => scopes.includes(scope)),
        sessionIdleTtl: SESSION_IDLE_TTL,
        sessionAbsoluteTtl: SESSION_ABSOLUTE_TTL,
        disabledAt: null
      }
      const secret = kind === 'public' ? null : `lks_${randomBytes(32).toString('base64url')}`
      await store.clients.create(
        client,
        secret === null ? null : { id: randomUUIDv7(), hash: hashed(secret) },
        clock.now()
      )
      return { client, secret }
    },

    /** Disabling ends the client's sessions; enabling revives none. @throws DomainError not_found, conflict for the client of /docs */
    async setDisabled(id: string, disabled: boolean): Promise<void> {
      if (id === DOCS_CLIENT.id)
        throw new DomainError('conflict', 'The client of /docs is switched off by LATCHKEY_DOCS=false')
      if (!(await store.clients.setDisabled(id, disabled, clock.now())))
        throw new DomainError('not_found', 'There is no such client')
    }
  }
}
