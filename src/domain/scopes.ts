import { OAuthError } from './errors.ts'
import {
  ADMIN_ROLE,
  type Client,
  INTROSPECT,
  READ_REVOCATIONS,
  type RegisteredScope,
  type Role,
  type Scope
} from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Page, Store } from './ports.ts'

/** The resource that Latchkey's own API is; its identifier on the wire (`aud`, `resource`) is the issuer. */
export const OWN_RESOURCE = 'latchkey'

/** The scopes of people at Latchkey's own API. */
export const BUILT_IN_SCOPES: Scope[] = [
  { name: 'profile', description: 'See and change your own profile', resourceId: OWN_RESOURCE },
  { name: 'users:read', description: 'See every user', resourceId: OWN_RESOURCE },
  { name: 'users:write', description: 'Create, change and delete users', resourceId: OWN_RESOURCE },
  { name: 'roles:read', description: 'See every role and scope', resourceId: OWN_RESOURCE },
  { name: 'roles:write', description: 'Create, change and delete roles', resourceId: OWN_RESOURCE },
  { name: 'clients:read', description: 'See every client', resourceId: OWN_RESOURCE },
  { name: 'clients:write', description: 'Register, change and delete clients', resourceId: OWN_RESOURCE },
  { name: 'resources:read', description: 'See every resource', resourceId: OWN_RESOURCE },
  { name: 'resources:write', description: 'Register, change and delete resources', resourceId: OWN_RESOURCE },
  { name: 'keys:read', description: 'See the keys that tokens are signed with', resourceId: OWN_RESOURCE },
  { name: 'keys:write', description: 'Rotate and retire keys', resourceId: OWN_RESOURCE }
]

/** Those of `CLIENT_ONLY_SCOPES`. */
export const CLIENT_SCOPES: Scope[] = [
  { name: INTROSPECT, description: 'Ask whether tokens are good', resourceId: OWN_RESOURCE },
  { name: READ_REVOCATIONS, description: 'Read the revocation log', resourceId: OWN_RESOURCE }
]

/** The roles of a first start. */
export const BUILT_IN_ROLES: Role[] = [
  { name: ADMIN_ROLE, description: 'May do everything', scopes: BUILT_IN_SCOPES.map((scope) => scope.name) },
  { name: 'user', description: 'May see and change their own profile', scopes: ['profile'] }
]

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/** The scope-tokens of a `scope` parameter, each once (RFC 6749 §3.3). @throws OAuthError invalid_scope */
export function parseScope(text: string): string[] {
  const names = text.split(' ').filter((name) => name !== '')
  if (text.length > 1024 || names.length > 50)
    throw new OAuthError('invalid_scope', 'The scope is longer than 1024 characters or 50 items')
  if (!names.every((name) => SCOPE_TOKEN.test(name)))
    throw new OAuthError('invalid_scope', 'The scope holds a character that is not allowed')
  return [...new Set(names)]
}

/** The names that every list allows, in the order of the first. */
export const intersect = (names: string[], ...allowed: string[][]): string[] =>
  names.filter((name) => allowed.every((list) => list.includes(name)))

/** The scopes and the audience of a token, decided for every grant at this one place. */
export function createScopes({ store, issuer }: { store: Store; issuer: string }) {
  const audience = (scope: RegisteredScope) => scope.identifier ?? issuer

  return {
    /** One page by name. */
    list: (page: Page): Promise<Paged<{ name: string; description: string; resource: string }>> =>
      paged(
        page,
        (scope) => scope.name,
        async (rows) =>
          (await store.scopes.list(rows)).map((scope) => ({
            name: scope.name,
            description: scope.description,
            resource: audience(scope)
          }))
      ),

    /**
     * Granted = requested ∩ the grant's ∩ client ∩ the user's roles ∩ resource. What is registered but not allowed is
     * left out; a scope that is asked for and not registered is refused. Scopes of more than one resource, when none was
     * asked for, are those of the client's default resource, if it has one.
     * @param request  `scope` and `resource` as sent; without `scope` that is meant which the grant says (RFC 6749 §3.3)
     * @param limits   `user` is null for a client's own token
     * @throws OAuthError invalid_scope, invalid_target (RFC 8707 §2)
     */
    async narrow(
      request: { scope: string | undefined; otherwise: string[]; resources: string[] },
      limits: { grant: string[]; client: Client; user: string[] | null }
    ): Promise<{ scopes: string[]; aud: string }> {
      const requested = request.scope === undefined ? request.otherwise : parseScope(request.scope)
      const registered = await store.scopes.find(requested)
      // What a session was given can be gone since.
      if (request.scope !== undefined && registered.length < requested.length)
        throw new OAuthError('invalid_scope', 'A requested scope is not registered')

      const named = request.resources.length > 0
      // Of scopes that nobody asked for, those of the client's default resource, if they are of several.
      const byDefault = registered.find(({ resourceId }) => resourceId === limits.client.resources[0])
      const fallback = request.scope === undefined && byDefault !== undefined ? [byDefault] : registered
      const [aud, ...more] = new Set(named ? request.resources : fallback.map(audience))
      if (more.length > 0)
        throw new OAuthError('invalid_target', 'A token is for one resource: name one, or scopes of one')
      const chosen = registered.filter((scope) => audience(scope) === aud)
      const { resources } = limits.client
      if (resources.length > 0 && chosen.some(({ resourceId }) => !resources.includes(resourceId)))
        throw new OAuthError('invalid_target', 'The client may not ask for this resource')
      if (chosen.length === 0 && aud !== undefined && aud !== issuer && !(await store.resources.known(aud)))
        throw new OAuthError('invalid_target', 'The resource is not registered')

      const ofResource = chosen.map((scope) => scope.name)
      const scopes = intersect(requested, ofResource, limits.grant, limits.client.scopes, limits.user ?? requested)
      if (aud === undefined || scopes.length === 0)
        throw new OAuthError('invalid_scope', 'None of the requested scopes is allowed')
      return { scopes, aud }
    }
  }
}
