import { randomBytes } from 'node:crypto'
import { defined } from '../defined.ts'
import type { Config } from '../settings.ts'
import { CLIENT_DEFAULTS, completed, isSwitchedOff } from './built-in.ts'
import type { Caller } from './caller.ts'
import { type ClientAuthMethod, isClientId } from './client-authentication.ts'
import { parseJwks, validClient } from './client-registration.ts'
import { createClientSecrets, generateSecret } from './client-secrets.ts'
import { DomainError, invalid, noSuch } from './errors.ts'
import type { Events } from './events.ts'
import type { Grant } from './grants/grant.ts'
import type { KeyChains } from './key-chains.ts'
import { ASSERTION_ALGS, type Client, DOCS_CLIENT } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { ClientChanges } from './ports/clients.ts'
import type { Clock } from './ports/clock.ts'
import type { Page } from './ports/page.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

/** The form of user ids. A client must not have such an id, because the `sub` of its own tokens is its id. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The registration of a client. A missing `id` is generated. */
export type NewClient = Pick<Client, 'name'> &
  Partial<Omit<Client, 'kind' | 'jwks' | 'disabledAt' | 'createdAt' | 'updatedAt'>> & {
    /** `none` for a public client. Default: `private_key_jwt` with `jwks`, else `client_secret_basic`. */
    method?: ClientAuthMethod | undefined
    /** A JWK Set. */
    jwks?: unknown
  }

/** The members to change; a list replaces the whole list. `jwks` is a JWK Set, or null for none. */
export type ClientEdit = Omit<ClientChanges, 'jwks'> & { jwks?: unknown }

function assertChangeable(id: string): void {
  if (id === DOCS_CLIENT)
    throw new DomainError('conflict', 'The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off')
}

/** Manages clients: programs that request or introspect tokens. */
export function createClients(deps: {
  store: Store
  signer: Signer
  events: Events
  clock: Clock
  settings: Config
  grants: Grant[]
  keyChains: KeyChains
}) {
  const { store, signer, events, clock, settings, grants, keyChains } = deps

  /** Returns a client in any state. @throws DomainError not_found */
  async function get(id: string): Promise<Client> {
    const client = await store.clients.get(id)
    if (client === null) throw noSuch('client', id)
    return completed(client, settings)
  }

  /** Warns that codes of the client can be stolen and used: without PKCE nothing binds a code to the browser that asked for it. */
  function warnWithoutPkce(caller: Caller, { id, requirePkce }: Client): void {
    if (requirePkce) return
    const reason = 'require_pkce is false: turn it on as soon as the client sends a code_challenge'
    events.record({ type: 'client.without_pkce', caller, subject: { client: id }, outcome: 'success', reason })
  }

  return {
    ...createClientSecrets(deps),
    get,

    /** The algorithms that may sign assertions. */
    assertionAlgs: [...ASSERTION_ALGS],

    /** Returns a client; null when it is unknown, disabled, or switched off by a setting. */
    async enabled(id: string): Promise<Client | null> {
      const client = isSwitchedOff(id, settings) ? null : await store.clients.get(id)
      return client?.disabledAt === null ? completed(client, settings) : null
    },

    /** Returns one page of all clients in the order of their ids, in any state. */
    async list(page: Page): Promise<Paged<Client>> {
      const { items, ...rest } = await paged(page, (client) => client.id, store.clients.list)
      return { ...rest, items: items.map((client) => completed(client, settings)) }
    },

    /**
     * Registers a client.
     * @returns the client and its secret, which is not stored; the secret is null for a public client and for a client with keys
     * @throws DomainError conflict when the id is taken by a client or a username; forbidden when the caller may not
     *   grant the scopes or roles of the client; invalid
     */
    async create(
      caller: Caller,
      { jwks, method = jwks === undefined ? 'client_secret_basic' : 'private_key_jwt', ...input }: NewClient
    ): Promise<{ client: Client; secret: string | null }> {
      const { id = randomBytes(16).toString('hex') } = input
      if (!isClientId(id) || UUID.test(id))
        throw invalid('A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID')
      const now = clock.now()
      const keys = jwks === undefined ? null : parseJwks(jwks, signer)
      if ((method === 'private_key_jwt') !== (keys !== null))
        throw invalid('A client must have jwks with the method private_key_jwt, and with no other method')
      const client = validClient(
        {
          ...CLIENT_DEFAULTS,
          defaultScopes: input.scopes ?? [],
          ...input,
          id,
          kind: method === 'none' ? 'public' : 'confidential',
          jwks: keys,
          disabledAt: null,
          createdAt: now,
          updatedAt: now
        },
        grants
      )
      const secret = method === 'none' || keys !== null ? null : generateSecret(now, null)
      await store.clients.create(caller, { client, secret: secret?.stored ?? null })
      if (client.idTokenAlg !== null) await keyChains.begin(caller, client.idTokenAlg)
      warnWithoutPkce(caller, client)
      return { client: await get(id), secret: secret?.secret ?? null }
    },

    /**
     * Changes a client. A client that loses a scope, a role, a resource, a grant or `firstParty`, or is disabled, also loses the tokens
     * issued before. The loss of a grant or of `firstParty`, and disabling, end its sessions too. Enabling the client revives nothing.
     * @throws DomainError not_found, invalid, forbidden when the caller may not grant the scopes or roles of the client (not checked
     *   when the change only disables it), conflict for the client of /docs
     */
    async change(caller: Caller, id: string, { jwks, ...edit }: ClientEdit): Promise<Client> {
      assertChangeable(id)
      const keys = jwks === undefined || jwks === null ? jwks : parseJwks(jwks, signer)
      const { disabled, ...members } = { ...edit, ...defined({ jwks: keys }) } as ClientChanges
      const current = await get(id)
      // The store keeps the current default scopes within the scopes, so only new default scopes are checked.
      const after = validClient({ ...current, defaultScopes: [], ...members }, grants)
      const names = Object.keys(members) as (keyof typeof members)[]
      const changes = {
        ...Object.fromEntries(names.map((name) => [name, after[name]])),
        ...defined({ disabled })
      } as ClientChanges
      const changed = await store.clients.change(caller, { id, changes, now: clock.now() })
      if (changed === null) throw noSuch('client', id)
      warnWithoutPkce(caller, changed)
      if (changed.idTokenAlg !== null) await keyChains.begin(caller, changed.idTokenAlg)
      return changed
    },

    /** Deletes a client with its sessions. Its tokens become invalid. @throws DomainError not_found, conflict for the client of /docs */
    async delete(caller: Caller, id: string): Promise<void> {
      assertChangeable(id)
      if (!(await store.clients.delete(caller, { id, now: clock.now() }))) throw noSuch('client', id)
    }
  }
}

export type Clients = ReturnType<typeof createClients>
