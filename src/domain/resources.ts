import { DomainError } from './errors.ts'
import type { Resource } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock, Page, Store } from './ports.ts'
import { OWN_RESOURCE } from './scopes.ts'

const ID = /^[a-z][a-z0-9_.-]{0,63}$/
/** What a scope is called: `orders:read`, or one word; a scope-token of RFC 6749 §3.3. */
const SCOPE = /^[a-z][a-z0-9_.-]*(:[a-z][a-z0-9_.-]*)*$/
const LINE = /^[^\p{Cc}]{0,200}$/u
const MOST_SCOPES = 100
const MOST_CLIENTS = 100

const invalid = (message: string) => new DomainError('invalid', message)
const found = (resource: Resource | null): Resource => {
  if (resource === null) throw new DomainError('not_found', 'There is no such resource')
  return resource
}

/** An absolute URI without fragment (RFC 8707 §2). */
const isIdentifier = (text: string): boolean =>
  text.length <= 255 && /^[\x21-\x7e]+$/.test(text) && !text.includes('#') && URL.canParse(text)

type Scopes = Resource['scopes']

/** What is given changes. */
export type ResourceEdit = Partial<Pick<Resource, 'name' | 'introspectionClients'>> & {
  /** All that it has then; or what it has then, of what it has now. */
  scopes?: Scopes | ((before: Scopes) => Scopes)
}

/** @throws DomainError invalid */
function checkedScopes(scopes: Scopes): Scopes {
  if (scopes.length > MOST_SCOPES) throw invalid(`A resource has at most ${MOST_SCOPES} scopes`)
  const names = scopes.map((scope) => scope.name)
  if (new Set(names).size < names.length) throw invalid('A scope is named twice')
  if (!names.every((each) => each.length <= 128 && SCOPE.test(each)))
    throw invalid('A scope is called noun:verb or one word, of a-z, 0-9, dot, hyphen and underscore')
  if (!scopes.every(({ description }) => LINE.test(description)))
    throw invalid('A description has at most 200 characters, none of them a control character')
  return scopes
}

/** @throws DomainError invalid */
function checkedRest({ name, introspectionClients }: Pick<ResourceEdit, 'name' | 'introspectionClients'>) {
  if (name !== undefined && (name === '' || !LINE.test(name)))
    throw invalid('A name has 1 to 200 characters, none of them a control character')
  if (introspectionClients !== undefined && introspectionClients.length > MOST_CLIENTS)
    throw invalid(`At most ${MOST_CLIENTS} clients may ask about the tokens of a resource`)
  return {
    ...(name === undefined ? {} : { name }),
    ...(introspectionClients === undefined ? {} : { introspectionClients: [...new Set(introspectionClients)] })
  }
}

/** The services that tokens are for (RFC 8707), with their scopes. Latchkey's own API is one of them. */
export function createResources({ store, clock, issuer }: { store: Store; clock: Clock; issuer: string }) {
  return {
    /** A resource in the names of the wire. */
    view: ({ id, identifier, name, scopes, introspectionClients }: Resource) => ({
      id,
      resource: identifier ?? issuer,
      name,
      scopes,
      introspection_clients: introspectionClients
    }),

    /** @throws DomainError not_found */
    get: async (id: string): Promise<Resource> => found(await store.resources.get(id)),

    /** One page by id. */
    list: (page: Page): Promise<Paged<Resource>> => paged(page, (resource) => resource.id, store.resources.list),

    /**
     * The role admin gets its scopes too.
     * @throws DomainError conflict when the id, the identifier or a scope is taken, invalid
     */
    async create(input: Pick<Resource, 'id' | 'name'> & { identifier: string } & Partial<Resource>): Promise<Resource> {
      const { id, identifier, name, scopes = [], introspectionClients = [] } = input
      if (!ID.test(id))
        throw invalid('The id of a resource has 1 to 64 of a-z, 0-9, dot, hyphen and underscore, a letter first')
      if (!isIdentifier(identifier)) throw invalid('A resource is an absolute URI without fragment (RFC 8707)')
      if (identifier === issuer)
        throw new DomainError('conflict', 'This is Latchkey’s own API, which is registered already')
      const rest = { introspectionClients, ...checkedRest({ name, introspectionClients }) }
      await store.resources.create({ id, identifier, name, scopes: checkedScopes(scopes), ...rest }, clock.now())
      return found(await store.resources.get(id))
    },

    /**
     * Changes what is given; lists are then all that the resource has. A scope that is taken away is gone from every role and
     * client, with the tokens of before.
     * @throws DomainError not_found, conflict when a scope is taken or is one of Latchkey's own, invalid
     */
    async change(id: string, { scopes, ...edit }: ResourceEdit): Promise<Resource> {
      if (scopes !== undefined && id === OWN_RESOURCE)
        throw new DomainError('conflict', 'The scopes of Latchkey’s own API stay as they are')
      const decide = typeof scopes === 'function' ? scopes : () => scopes ?? []
      const changes = {
        ...checkedRest(edit),
        ...(scopes === undefined ? {} : { scopes: (before: Scopes) => checkedScopes(decide(before)) })
      }
      return found(await store.resources.change(id, changes, clock.now()))
    },

    /** With its scopes. @throws DomainError not_found, conflict for Latchkey's own API and while a client names it */
    async delete(id: string): Promise<void> {
      if (id === OWN_RESOURCE) throw new DomainError('conflict', 'Latchkey’s own API stays')
      if (!(await store.resources.delete(id, clock.now()))) found(null)
    }
  }
}
