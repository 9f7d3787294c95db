import { SCOPE_ITEMS_MAX, SCOPE_PARAMETER_MAX, SCOPE_TOKEN_PATTERN } from '../limits.ts'
import type { Config } from '../settings.ts'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from './built-in.ts'
import { OAuthError } from './errors.ts'
import { type Client, EMPTY_SCOPES, IDENTITY_SCOPES, type ScopeTarget } from './model.ts'
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

const resourceRefused = () => new OAuthError('invalid_target', 'The client may not request this resource')

const isIdentity = (name: string): boolean => IDENTITY_SCOPES.includes(name)

/** Returns whether a token with these scopes only shows who its user is. Such scopes do not decide the audience of the token. */
export const areIdentity = (scopes: string[]): boolean => scopes.every(isIdentity)

/** Returns the scopes that a user holds: those of the roles, and the identity scopes, which need no role. */
export const heldByUser = (ofRoles: string[]): string[] => [...IDENTITY_SCOPES, ...ofRoles]

/** Decides the scopes and the audience of every token, for all grants. */
export function createScopes({ store, settings }: { store: Store; settings: Config }) {
  const { issuer } = settings
  const audienceOf = (scope: Pick<ScopeTarget, 'identifier'>) => scope.identifier ?? issuer

  /**
   * Returns the audience of a token: the requested resource, else the resource of the scopes that are no identity scopes. If the request
   * names neither scopes nor a resource, and one of its default scopes belongs to the default resource of the client, returns the default
   * resource. Returns undefined when nothing decides the audience.
   * @throws OAuthError invalid_target for more than one resource
   */
  function audience(
    { scope, resources }: { scope: string | undefined; resources: string[] },
    registered: ScopeTarget[],
    client: Client
  ): string | undefined {
    const ofDefaultResource = registered.find(({ resourceId }) => resourceId === client.resources[0])
    const deciding = registered.filter(({ name }) => !isIdentity(name))
    const considered = scope === undefined && ofDefaultResource !== undefined ? [ofDefaultResource] : deciding
    const [first, ...more] = new Set(resources.length > 0 ? resources : considered.map(audienceOf))
    if (more.length > 0)
      throw new OAuthError(
        'invalid_target',
        'A token is for one resource: name one resource, or scopes of one resource'
      )
    return first
  }

  /**
   * Returns the audience of a token with identity scopes only: one of the resources that the client lists, by default the first; Latchkey
   * for a client without a list. Returns undefined if such a client requests another service: identity scopes alone give no access to it.
   * @throws OAuthError invalid_target for a resource that the client does not list
   */
  async function audienceOfIdentity(requested: string[], { resources }: Client): Promise<string | undefined> {
    if (requested.length === 0 && resources.length > 0)
      return (await store.resources.get(resources[0] as string))?.identifier ?? issuer
    const [aud = issuer] = requested
    if (resources.length === 0) return aud === issuer ? issuer : undefined
    for (const id of resources) if (((await store.resources.get(id))?.identifier ?? issuer) === aud) return aud
    throw resourceRefused()
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
     * Returns the requested scopes that grant, client, user and resource allow, and the audience. Leaves out all other scopes. Every
     * resource and every user has the identity scopes. A client's own token gets none of them, because it has no user to show.
     * @param request  `scope` is the parameter of the request; if it is missing, `defaultScopes` are requested (RFC 6749 §3.3)
     * @param limits   `registered` are the scopes that were read with the client; the others are looked up. `session` holds the scopes of the session that is renewed; null for a new session and for a client's own token.
     *   `user` holds the scopes of the user's roles; null for a client's own token
     * @throws OAuthError invalid_scope when a requested scope is not registered or not a scope of the session (RFC 6749 §6), or when
     *   none is allowed; invalid_target (RFC 8707 §2)
     */
    async narrow(
      request: { scope: string | undefined; defaultScopes: string[]; resources: string[] },
      limits: {
        grant: string[]
        client: Client
        registered: ScopeTarget[]
        session: string[] | null
        user: string[] | null
      }
    ): Promise<{ scopes: string[]; aud: string }> {
      const named = request.scope === undefined ? request.defaultScopes : parseScope(request.scope)
      const requested = named.filter((name) => !EMPTY_SCOPES.includes(name))
      const known = limits.registered.filter(({ name }) => requested.includes(name))
      const others = requested.filter((name) => !known.some((scope) => scope.name === name))
      const registered = [...known, ...(await store.scopes.find(others))]
      // A scope of a session may have been deleted since the login, so only named scopes must exist.
      if (request.scope !== undefined && registered.length < requested.length)
        throw new OAuthError('invalid_scope', 'A requested scope is not registered')
      if (!requested.every((scope) => limits.session?.includes(scope) ?? true))
        throw new OAuthError(
          'invalid_scope',
          'The session does not have a requested scope; a refresh cannot add scopes'
        )

      const aud = audience(request, registered, limits.client)
      const chosen = registered.filter((scope) => !isIdentity(scope.name) && audienceOf(scope) === aud)
      const { resources } = limits.client
      const permitted = new Set(resources)
      if (permitted.size > 0 && chosen.some(({ resourceId }) => !permitted.has(resourceId))) throw resourceRefused()
      if (chosen.length === 0 && aud !== undefined && aud !== issuer && !(await store.resources.exists(aud)))
        throw new OAuthError('invalid_target', 'The resource is not registered')

      const allowed = intersect(
        requested,
        [...IDENTITY_SCOPES, ...chosen.map((scope) => scope.name)],
        limits.grant,
        limits.client.scopes,
        limits.user === null ? requested.filter((name) => !isIdentity(name)) : heldByUser(limits.user)
      )
      const target =
        allowed.length > 0 && areIdentity(allowed) ? await audienceOfIdentity(request.resources, limits.client) : aud
      if (target === undefined || allowed.length === 0)
        throw new OAuthError('invalid_scope', 'None of the requested scopes is allowed')
      return { scopes: allowed, aud: target }
    },

    /**
     * Returns the scopes that an authorization request can grant: those of every resource that it names. A token is for one of them.
     * @throws OAuthError invalid_scope, invalid_target, as `narrow`
     */
    async grantable(
      { scope, resources }: { scope: string | undefined; resources: string[] },
      { client, user }: { client: Client; user: string[] }
    ): Promise<string[]> {
      const limits = { grant: client.scopes, client, registered: [], session: null, user }
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
