import { isAbsoluteUri, isHostAndPort } from '../absolute-uri.ts'
import { defined } from '../defined.ts'
import {
  IDENTIFIER_MAX,
  INTROSPECTION_CLIENTS_MAX,
  LINE_MAX,
  NAME_MAX,
  NAME_PATTERN,
  RESOURCE_SCOPES_MAX,
  SCOPE_NAME_MAX,
  SCOPE_NAME_PATTERN
} from '../limits.ts'
import type { Config } from '../settings.ts'
import { quoted } from '../token/refusal.ts'
import { isReservedScope, OWN_RESOURCE } from './built-in.ts'
import type { Caller } from './caller.ts'
import { DomainError, invalid, noSuch, notServed, SetupError } from './errors.ts'
import { isLine } from './line.ts'
import type { Resource } from './model.ts'
import { normalUri } from './normal-uri.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'

const ID = new RegExp(NAME_PATTERN, 'u')
const SCOPE = new RegExp(SCOPE_NAME_PATTERN, 'u')

const noSuchResource = (id: string) => noSuch('resource', id)

/** Refuses a text that may not identify a resource. @throws DomainError invalid */
function assertIdentifier(text: string): void {
  if (text.length <= IDENTIFIER_MAX && isAbsoluteUri(text)) return
  const rule = 'A resource must be an absolute URI without fragment (RFC 8707)'
  throw invalid(isHostAndPort(text) ? `${rule}; write the scheme too: ${quoted(`http://${text}`)}` : rule)
}

type Scopes = Resource['scopes']

/** The members to change; a list replaces the whole list. */
export interface ResourceEdit {
  name?: string
  introspectionClients?: string[]
  /** The new scopes, or a function that returns them for the current scopes. */
  scopes?: Scopes | ((current: Scopes) => Scopes)
}

/** Returns the scopes. @throws DomainError invalid, conflict for a reserved name that is not among the current scopes */
function validScopes(scopes: Scopes, current: Scopes = []): Scopes {
  if (scopes.length > RESOURCE_SCOPES_MAX) throw invalid(`A resource has at most ${RESOURCE_SCOPES_MAX} scopes`)
  const names = scopes.map((scope) => scope.name)
  if (new Set(names).size < names.length) throw invalid('A scope is named twice')
  if (!names.every((name) => name.length <= SCOPE_NAME_MAX && SCOPE.test(name)))
    throw invalid(
      `A scope name is one or more words joined by colons (orders:read), at most ${SCOPE_NAME_MAX} characters; a word begins with a letter and has only a-z, 0-9, dot, hyphen and underscore`
    )
  const reserved = names.find((name) => isReservedScope(name) && !current.some((scope) => scope.name === name))
  if (reserved !== undefined) throw new DomainError('conflict', `The scope name ${reserved} is reserved for Latchkey`)
  if (!scopes.every(({ description }) => isLine(description)))
    throw invalid(`A description has at most ${LINE_MAX} characters and no control characters`)
  return scopes
}

/** Returns the given members, each introspection client once. @throws DomainError invalid */
function validMembers({ name, introspectionClients }: Pick<ResourceEdit, 'name' | 'introspectionClients'>) {
  if (name !== undefined && (name === '' || !isLine(name)))
    throw invalid(`A name has 1 to ${LINE_MAX} characters and no control characters`)
  if (introspectionClients !== undefined && introspectionClients.length > INTROSPECTION_CLIENTS_MAX)
    throw invalid(`At most ${INTROSPECTION_CLIENTS_MAX} clients may introspect the tokens of a resource`)
  return defined({ name, introspectionClients: introspectionClients && [...new Set(introspectionClients)] })
}

/** Manages resources: the services that tokens are for (RFC 8707), with their scopes. Latchkey's own API is one of them. */
export function createResources({ store, clock, settings }: { store: Store; clock: Clock; settings: Config }) {
  /** Returns a resource. @throws DomainError not_found */
  async function get(id: string): Promise<Resource> {
    const resource = await store.resources.get(id)
    if (resource === null) throw noSuchResource(id)
    return resource
  }

  return {
    get,

    /**
     * Returns the names of the scopes of a resource that the client serves.
     * @throws DomainError forbidden for every other identifier, whether or not there is such a resource
     */
    async scopesFor({ clientId, identifier }: { clientId: string; identifier: string }): Promise<string[]> {
      const served = await store.resources.servedBy(clientId)
      const resource = served.find((each) => (each.identifier ?? settings.issuer) === identifier)
      if (resource === undefined) throw notServed()
      return (await get(resource.id)).scopes.map(({ name }) => name)
    },

    /** Refuses an issuer that became the URI of a resource by a change of the settings: two audiences would be one. @throws SetupError */
    async assertIssuerIsFree(): Promise<void> {
      const normal = normalUri(settings.issuer)
      for (const identifier of [normal, `${normal}/`])
        if (await store.resources.exists(identifier))
          throw new SetupError(
            `LATCHKEY_ISSUER must not be the URI of a resource; got ${identifier}: delete this resource with "latchkey resource delete", or set another issuer`
          )
    },

    /** Returns one page of resources in the order of their ids. */
    list: (page: Page): Promise<Paged<Resource>> => paged(page, (resource) => resource.id, store.resources.list),

    /**
     * Registers a resource. The role admin gets its scopes too.
     * @throws DomainError invalid, conflict when the id, the identifier or a scope is taken, or a scope is reserved
     */
    async create(
      caller: Caller,
      input: Pick<Resource, 'id' | 'name'> & { identifier: string } & Partial<Resource>
    ): Promise<Resource> {
      const { id, identifier, name, scopes = [], introspectionClients = [] } = input
      if (!ID.test(id))
        throw invalid(
          `The id of a resource has 1 to ${NAME_MAX} characters of a-z, 0-9, dot, hyphen and underscore, and begins with a letter`
        )
      assertIdentifier(identifier)
      const normal = normalUri(identifier)
      if (normal === normalUri(settings.issuer))
        throw new DomainError('conflict', 'This URI identifies Latchkey’s own API')
      // The store refuses two identifiers that differ only in the slash, so no two resources have one normal form.
      if (identifier !== normal && identifier !== `${normal}/`)
        throw invalid(`A resource must be a normalised URI without credentials: write ${normal}`)
      const members = { introspectionClients, ...validMembers({ name, introspectionClients }) }
      const resource = { id, identifier, name, scopes: validScopes(scopes), ...members }
      await store.resources.create(caller, { ...resource, now: clock.now() })
      return get(id)
    },

    /**
     * Changes a resource. A removed scope is removed from every role and client, and guards refuse the earlier tokens of these roles and
     * clients.
     * @throws DomainError not_found, invalid, conflict when a scope is taken or reserved, and for the scopes of Latchkey's own API
     */
    async change(caller: Caller, id: string, { scopes, ...edit }: ResourceEdit): Promise<Resource> {
      if (scopes !== undefined && id === OWN_RESOURCE)
        throw new DomainError('conflict', 'The scopes of Latchkey’s own API cannot be changed')
      const decide = typeof scopes === 'function' ? scopes : () => scopes ?? []
      const decideValid = (current: Scopes) => validScopes(decide(current), current)
      const changes = { ...validMembers(edit), ...defined({ scopes: scopes && decideValid }) }
      const resource = await store.resources.change(caller, { id, changes, now: clock.now() })
      if (resource === null) throw noSuchResource(id)
      return resource
    },

    /**
     * Deletes a resource with its scopes.
     * @throws DomainError not_found, conflict for Latchkey's own API and for a resource that a client names
     */
    async delete(caller: Caller, id: string): Promise<void> {
      if (id === OWN_RESOURCE) throw new DomainError('conflict', 'Latchkey’s own API cannot be deleted')
      if (!(await store.resources.delete(caller, { id, now: clock.now() }))) throw noSuchResource(id)
    }
  }
}
