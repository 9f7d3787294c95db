import { SCOPE_ITEMS_MAX, SCOPE_PARAMETER_MAX, SCOPE_TOKEN_PATTERN } from '../limits.ts'
import type { Config } from '../settings.ts'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from './built-in.ts'
import { OAuthError } from './errors.ts'
import type { Client, RegisteredScope } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'

const SCOPE_TOKEN = new RegExp(SCOPE_TOKEN_PATTERN, 'u')

/** Returns the scope-tokens of a `scope` parameter, each once (RFC 6749 §3.3). @throws OAuthError invalid_scope */
export function parseScope(text: string): string[] {
  const tooLong = () =>
    new OAuthError(
      'invalid_scope',
      `The scope is longer than ${SCOPE_PARAMETER_MAX} characters or ${SCOPE_ITEMS_MAX} items`
    )
  if (text.length > SCOPE_PARAMETER_MAX) throw tooLong()
  const names = text.split(' ').filter((name) => name !== '')
  if (names.length > SCOPE_ITEMS_MAX) throw tooLong()
  if (!names.every((name) => SCOPE_TOKEN.test(name)))
    throw new OAuthError('invalid_scope', 'The scope holds a character that is not allowed')
  return [...new Set(names)]
}

/** Returns the names that every list holds, in the order of the first list. Reads each list once. */
export function intersect(names: string[], ...allowed: string[][]): string[] {
  const sets = allowed.map((list) => new Set(list))
  return names.filter((name) => sets.every((set) => set.has(name)))
}

/** Returns the roles that tokens of the client may carry. Without a list of its own, a first-party client carries all roles, another client none. */
export function narrowRoles(roles: string[], client: Pick<Client, 'roles' | 'firstParty'>): string[] {
  if (client.roles !== null) return intersect(roles, client.roles)
  return client.firstParty ? roles : []
}

/** Decides the scopes and the audience of every token, for all grants. */
export function createScopes({ store, settings }: { store: Store; settings: Config }) {
  const { issuer } = settings
  const audienceOf = (scope: RegisteredScope) => scope.identifier ?? issuer

  /**
   * Returns the audience of a token: the requested resource, else the resource of the scopes. If the request names neither scopes nor
   * a resource, and one of its default scopes belongs to the default resource of the client, returns the default resource. Returns
   * undefined without any scope and resource.
   * @throws OAuthError invalid_target for more than one resource
   */
  function audience(
    { scope, resources }: { scope: string | undefined; resources: string[] },
    registered: RegisteredScope[],
    client: Client
  ): string | undefined {
    const ofDefaultResource = registered.find(({ resourceId }) => resourceId === client.resources[0])
    const considered = scope === undefined && ofDefaultResource !== undefined ? [ofDefaultResource] : registered
    const [first, ...more] = new Set(resources.length > 0 ? resources : considered.map(audienceOf))
    if (more.length > 0)
      throw new OAuthError(
        'invalid_target',
        'A token is for one resource: name one resource, or scopes of one resource'
      )
    return first
  }

  const scopes = {
    /** The names of the scopes of Latchkey’s own API, in alphabetical order. */
    own: [...BUILT_IN_SCOPES, ...CLIENT_SCOPES].map(({ name }) => name).toSorted(),

    /** Returns one page of scopes in the order of their names, each with the identifier of its resource. */
    list: (page: Page): Promise<Paged<{ name: string; description: string; resource: string }>> =>
      paged(
        page,
        (scope) => scope.name,
        async (rows) =>
          (await store.scopes.list(rows)).map((scope) => ({
            name: scope.name,
            description: scope.description,
            resource: audienceOf(scope)
          }))
      ),

    /**
     * Returns the requested scopes that grant, client, user and resource allow, and the audience. Leaves out all other scopes.
     * @param request  `scope` is the parameter of the request; if it is missing, `defaultScopes` are requested (RFC 6749 §3.3)
     * @param limits   `session` holds the scopes of the session that is renewed; null for a new session and for a client's own token.
     *   `user` holds the scopes of the user's roles; null for a client's own token
     * @throws OAuthError invalid_scope when a requested scope is not registered or not a scope of the session (RFC 6749 §6), or when
     *   none is allowed; invalid_target (RFC 8707 §2)
     */
    async narrow(
      request: { scope: string | undefined; defaultScopes: string[]; resources: string[] },
      limits: { grant: string[]; client: Client; session: string[] | null; user: string[] | null }
    ): Promise<{ scopes: string[]; aud: string }> {
      const requested = request.scope === undefined ? request.defaultScopes : parseScope(request.scope)
      const registered = await store.scopes.find(requested)
      // A scope of a session may have been deleted since the login, so only named scopes must exist.
      if (request.scope !== undefined && registered.length < requested.length)
        throw new OAuthError('invalid_scope', 'A requested scope is not registered')
      if (!requested.every((scope) => limits.session?.includes(scope) ?? true))
        throw new OAuthError(
          'invalid_scope',
          'The session does not have a requested scope; a refresh cannot add scopes'
        )

      const aud = audience(request, registered, limits.client)
      const chosen = registered.filter((scope) => audienceOf(scope) === aud)
      const { resources } = limits.client
      const permitted = new Set(resources)
      if (permitted.size > 0 && chosen.some(({ resourceId }) => !permitted.has(resourceId)))
        throw new OAuthError('invalid_target', 'The client may not request this resource')
      if (chosen.length === 0 && aud !== undefined && aud !== issuer && !(await store.resources.exists(aud)))
        throw new OAuthError('invalid_target', 'The resource is not registered')

      const ofResource = chosen.map((scope) => scope.name)
      const granted = intersect(requested, ofResource, limits.grant, limits.client.scopes, limits.user ?? requested)
      if (aud === undefined || granted.length === 0)
        throw new OAuthError('invalid_scope', 'None of the requested scopes is allowed')
      return { scopes: granted, aud }
    },

    /**
     * Returns the scopes that an authorization request can grant: those of every resource that it names. A token is for one of them.
     * @throws OAuthError invalid_scope, invalid_target, as `narrow`
     */
    async grantable(
      { scope, resources }: { scope: string | undefined; resources: string[] },
      { client, user }: { client: Client; user: string[] }
    ): Promise<string[]> {
      const limits = { grant: client.scopes, client, session: null, user }
      const targets = resources.length === 0 ? [[]] : resources.map((resource) => [resource])
      const granted: string[] = []
      for (const target of targets) {
        const request = { scope, defaultScopes: client.defaultScopes, resources: target }
        granted.push(...(await scopes.narrow(request, limits)).scopes)
      }
      return [...new Set(granted)]
    }
  }
  return scopes
}

export type Scopes = ReturnType<typeof createScopes>
