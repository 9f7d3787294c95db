import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { CLIENT_ID, type ClientAuthMethod, createClientAuth, hashed } from './client-auth.ts'
import { DomainError } from './errors.ts'
import {
  type Actor,
  ASSERTION_ALGS,
  CLIENT_ONLY_SCOPES,
  type Client,
  type ClientKey,
  type ClientSecret,
  DOCS_CLIENT,
  type Millis,
  type Seconds
} from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { ClientChanges, Clock, Page, Signer, Store } from './ports.ts'
import { BUILT_IN_SCOPES } from './scopes.ts'
import { REFRESH_GRANT } from './sessions.ts'

const DAY: Seconds = 86_400
/** How long a session may be idle, and how long it may last, where the client says nothing else. */
const SESSION_IDLE_TTL: Seconds = 14 * DAY
const SESSION_ABSOLUTE_TTL: Seconds = 90 * DAY
/** No access token and no session of any client lives longer. */
const LONGEST_ACCESS_TOKEN: Seconds = 3600
const LONGEST_SESSION: Seconds = 365 * DAY
/** No end of a secret that has one is further ahead. */
const LONGEST_SECRET: Seconds = 3650 * DAY

const LINE = /^[^\p{Cc}]{1,200}$/u
/** Users have such ids, and a client's own token has its id for `sub`. */
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const MOST_LISTED = 100
const MOST_SECRETS = 10
const MOST_KEYS = 10

/** The client of /docs, as a first start makes it. */
export const docsClient = (now: Millis): Client => ({
  id: DOCS_CLIENT,
  name: 'Interactive documentation',
  kind: 'public',
  firstParty: true,
  grantTypes: ['password', REFRESH_GRANT],
  scopes: BUILT_IN_SCOPES.map((scope) => scope.name),
  defaultScopes: ['profile'],
  resources: [],
  redirectUris: [],
  jwks: null,
  accessTokenTtl: null,
  sessionIdleTtl: 3600,
  sessionAbsoluteTtl: 12 * 3600,
  disabledAt: null,
  createdAt: now,
  updatedAt: now
})

/** What a client is registered with; `id` is generated, if none is given. */
export type NewClient = Pick<Client, 'name'> &
  Partial<Omit<Client, 'kind' | 'jwks' | 'disabledAt' | 'createdAt' | 'updatedAt'>> & {
    /** `none` for a public one; if none is given, `private_key_jwt` with `jwks`, else `client_secret_basic`. */
    method?: ClientAuthMethod | undefined
    /** A JWK Set. */
    jwks?: unknown
  }

/** What is given changes. */
export type ClientEdit = Omit<ClientChanges, 'jwks'> & { jwks?: unknown }

const seconds = (at: Millis): Seconds => Math.floor(at / 1000)

/** A secret, without itself, in the names of the wire. */
export const secretView = ({ id, createdAt, expiresAt, lastUsedAt }: ClientSecret) => ({
  id,
  created_at: new Date(createdAt).toISOString(),
  client_secret_expires_at: expiresAt === null ? 0 : seconds(expiresAt),
  last_used_at: lastUsedAt === null ? null : new Date(lastUsedAt).toISOString()
})

function methodOf({ kind, jwks }: Pick<Client, 'kind' | 'jwks'>): ClientAuthMethod {
  if (kind === 'public') return 'none'
  return jwks === null ? 'client_secret_basic' : 'private_key_jwt'
}

/** A client in the names of RFC 7591 §2, where it has one. */
export const view = (client: Client) => ({
  client_id: client.id,
  client_name: client.name,
  grant_types: client.grantTypes,
  scope: client.scopes.join(' '),
  default_scope: client.defaultScopes.join(' '),
  resources: client.resources,
  redirect_uris: client.redirectUris,
  token_endpoint_auth_method: methodOf(client),
  ...(client.jwks === null ? {} : { jwks: { keys: client.jwks } }),
  first_party: client.firstParty,
  access_token_ttl: client.accessTokenTtl,
  session_idle_ttl: client.sessionIdleTtl,
  session_absolute_ttl: client.sessionAbsoluteTtl,
  disabled: client.disabledAt !== null,
  client_id_issued_at: seconds(client.createdAt),
  updated_at: new Date(client.updatedAt).toISOString()
})

const invalid = (message: string) => new DomainError('invalid', message)
const found = (client: Client | null): Client => {
  if (client === null) throw new DomainError('not_found', 'There is no such client')
  return client
}

/** RFC 8252 §7, RFC 9700 §4.1.1: https, http on this machine only, or an app's own scheme, which has a dot. */
function isRedirectUri(text: string): boolean {
  if (!/^[\x21-\x7e]{1,2000}$/.test(text) || !URL.canParse(text) || text.includes('#')) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  if (protocol === 'http:') return ['127.0.0.1', '[::1]', 'localhost'].includes(hostname)
  return protocol === 'https:' || protocol.includes('.')
}

/** Programs that ask for tokens, or about them. */
export function createClients(deps: {
  store: Store
  signer: Signer
  clock: Clock
  issuer: string
  /** Whether the client of /docs may be used at all. */
  docs: boolean
  /** Every value of `grant_type`, and which clients can have it. */
  grants: { type: string; only: (client: Client) => boolean }[]
}) {
  const { store, signer, clock, issuer, docs, grants } = deps
  /** Whether a setting leaves it on. */
  const enabled = (id: string) => docs || id !== DOCS_CLIENT

  /** Null when it is unknown, disabled, or switched off by a setting. */
  async function get(id: string): Promise<Client | null> {
    const client = enabled(id) ? await store.clients.get(id) : null
    return client?.disabledAt === null ? client : null
  }

  /** The public keys of a JWK Set (RFC 7517 §5). @throws DomainError invalid */
  function keysOf(jwks: unknown): ClientKey[] {
    const { keys } = (typeof jwks === 'object' && jwks !== null ? jwks : {}) as { keys?: unknown }
    if (!Array.isArray(keys) || keys.length === 0 || keys.length > MOST_KEYS)
      throw invalid(`A JWK Set has a list "keys" of 1 to ${MOST_KEYS} keys`)
    const checkedKeys = keys.map((jwk) => {
      const key = typeof jwk === 'object' && jwk !== null ? signer.clientKey(jwk) : null
      if (key === null)
        throw invalid(
          'A key is a public JWK for ES256 (P-256), EdDSA (Ed25519), or RS256 or PS256 (RSA, 2048 to 4096 bits)'
        )
      return key
    })
    const same = (a: ClientKey, b: ClientKey) => a.alg === b.alg && (a.kid === b.kid || !a.kid || !b.kid)
    if (checkedKeys.some((key, at) => checkedKeys.slice(at + 1).some((other) => same(key, other))))
      throw invalid('Keys for the same algorithm have each a kid of their own')
    return checkedKeys
  }

  /** The client as it would be. @throws DomainError invalid */
  function checked(client: Client): Client {
    const { name, kind, grantTypes, redirectUris, resources, accessTokenTtl, sessionIdleTtl, sessionAbsoluteTtl } =
      client
    if (!LINE.test(name)) throw invalid('A name has 1 to 200 characters, none of them a control character')
    for (const type of grantTypes) {
      const grant = grants.find((each) => each.type === type)
      const all = grants.map((each) => each.type).join(', ')
      if (grant === undefined) throw invalid(`There is no grant ${JSON.stringify(type)}: ${all}`)
      if (!grant.only(client))
        throw invalid(
          type === 'password'
            ? 'The password grant is for first-party clients only'
            : `The grant ${type} is for confidential clients only`
        )
    }
    if (kind === 'public' && client.jwks !== null) throw invalid('A public client has no keys')
    const confidential = CLIENT_ONLY_SCOPES.find((scope) => kind === 'public' && client.scopes.includes(scope))
    if (confidential !== undefined) throw invalid(`The scope ${confidential} is for confidential clients only`)
    const lists = [client.scopes, resources, redirectUris]
    if (lists.some((list) => list.length > MOST_LISTED))
      throw invalid(`A client has at most ${MOST_LISTED} scopes, resources and redirect URIs`)
    const { scopes, defaultScopes } = client
    if (!defaultScopes.every((scope) => scopes.includes(scope))) throw invalid('A default scope is one of the scopes')
    if (defaultScopes.length > 50 || defaultScopes.join(' ').length > 1024)
      throw invalid('The default scopes are at most 50, and 1024 characters: name fewer')
    if (!redirectUris.every(isRedirectUri))
      throw invalid(
        'A redirect URI is an absolute URI without fragment: https, http on a loopback host, or a scheme with a dot'
      )
    const within = (ttl: Seconds, most: Seconds) => Number.isInteger(ttl) && ttl >= 1 && ttl <= most
    if (accessTokenTtl !== null && !within(accessTokenTtl, LONGEST_ACCESS_TOKEN))
      throw invalid(`An access token lives for 1 to ${LONGEST_ACCESS_TOKEN} seconds`)
    if (!within(sessionIdleTtl, LONGEST_SESSION) || !within(sessionAbsoluteTtl, LONGEST_SESSION))
      throw invalid(`A session lives for 1 to ${LONGEST_SESSION} seconds`)
    const unique = (list: string[]) => [...new Set(list)]
    return {
      ...client,
      grantTypes: unique(grantTypes),
      scopes: unique(client.scopes),
      defaultScopes: unique(client.defaultScopes),
      resources: unique(resources),
      redirectUris: unique(redirectUris)
    }
  }

  function newSecret(now: Millis, expiresAt: Millis | null): { secret: string; stored: ClientSecret } {
    const secret = `lks_${randomBytes(32).toString('base64url')}`
    return {
      secret,
      stored: { id: randomUUIDv7(), hash: hashed(secret), createdAt: now, expiresAt, lastUsedAt: null }
    }
  }

  function assertOwn(id: string): void {
    if (id === DOCS_CLIENT)
      throw new DomainError('conflict', 'The client of /docs stays as it is; LATCHKEY_DOCS=false switches it off')
  }

  return {
    ...createClientAuth({ store, signer, clock, issuer, enabled }),
    enabled,
    get,
    view,
    secretView,
    /** What assertions may be signed with. */
    assertionAlgs: [...ASSERTION_ALGS],

    /** Whatever its state is. @throws DomainError not_found */
    find: async (id: string): Promise<Client> => found(await store.clients.get(id)),

    /** One page by id, whatever their state is. */
    list: (page: Page): Promise<Paged<Client>> => paged(page, (client) => client.id, store.clients.list),

    /**
     * Registers a client.
     * @returns the secret of a confidential client that has no keys, which is kept nowhere; else null
     * @throws DomainError conflict when the id is taken, also by a username; forbidden when the actor lacks a scope of it;
     *   invalid
     */
    async create(
      { jwks, method = jwks === undefined ? 'client_secret_basic' : 'private_key_jwt', ...input }: NewClient,
      actor: Actor = null
    ): Promise<{ client: Client; secret: string | null }> {
      const { id = randomBytes(16).toString('hex') } = input
      if (!CLIENT_ID.test(id) || UUID.test(id))
        throw invalid('A client id has 1 to 255 printable ASCII characters, no space, and is no UUID')
      const now = clock.now()
      const keys = jwks === undefined ? null : keysOf(jwks)
      if ((method === 'private_key_jwt') !== (keys !== null))
        throw invalid('A client with the method private_key_jwt has jwks, and no other has')
      const client = checked({
        grantTypes: [],
        scopes: [],
        defaultScopes: input.scopes ?? [],
        resources: [],
        redirectUris: [],
        firstParty: false,
        accessTokenTtl: null,
        sessionIdleTtl: SESSION_IDLE_TTL,
        sessionAbsoluteTtl: SESSION_ABSOLUTE_TTL,
        ...input,
        id,
        kind: method === 'none' ? 'public' : 'confidential',
        jwks: keys,
        disabledAt: null,
        createdAt: now,
        updatedAt: now
      })
      const secret = method === 'none' || keys !== null ? null : newSecret(now, null)
      await store.clients.create(client, secret?.stored ?? null, actor)
      return { client: found(await store.clients.get(id)), secret: secret?.secret ?? null }
    },

    /**
     * Changes what is given; lists are then all that the client has. What takes something away ends the tokens of before,
     * disabling the sessions too; enabling revives none.
     * @throws DomainError not_found, forbidden when the actor lacks a scope of it, conflict for the client of /docs, invalid
     */
    async change(id: string, { jwks, ...edit }: ClientEdit, actor: Actor): Promise<Client> {
      assertOwn(id)
      const changes: ClientChanges = {
        ...edit,
        ...(jwks === undefined ? {} : { jwks: jwks === null ? null : keysOf(jwks) })
      }
      const { disabled, ...rest } = changes
      const { defaultScopes: _, ...before } = found(await store.clients.get(id))
      const after = checked({ ...before, defaultScopes: [], ...rest })
      const given = Object.keys(rest) as (keyof typeof rest)[]
      const valid = Object.fromEntries(given.map((name) => [name, after[name]])) as ClientChanges
      return found(
        await store.clients.change(
          id,
          { ...valid, ...(disabled === undefined ? {} : { disabled }) },
          actor,
          clock.now()
        )
      )
    },

    /** With its sessions; its tokens are good no more. @throws DomainError not_found, conflict for the client of /docs */
    async delete(id: string): Promise<void> {
      assertOwn(id)
      if (!(await store.clients.delete(id, clock.now()))) found(null)
    },

    /** All that are not over, oldest first. @throws DomainError not_found */
    async secrets(id: string): Promise<ClientSecret[]> {
      found(await store.clients.get(id))
      return store.clients.secrets(id, clock.now())
    },

    /**
     * One more secret, beside those that are there.
     * @param spans `expiresIn` of this one, `othersExpireIn` of those that would last longer, for a change without a gap
     * @throws DomainError not_found, forbidden when the actor lacks a scope of the client, conflict when it has too many or
     *   is a public one, invalid
     */
    async addSecret(
      id: string,
      { expiresIn, othersExpireIn }: { expiresIn?: Seconds | undefined; othersExpireIn?: Seconds | undefined },
      actor: Actor = null
    ): Promise<{ secret: string; stored: ClientSecret }> {
      if (found(await store.clients.get(id)).kind === 'public')
        throw new DomainError('conflict', 'A public client cannot keep a secret')
      const within = (span: Seconds, least: Seconds) =>
        Number.isInteger(span) && span >= least && span <= LONGEST_SECRET
      if (!within(expiresIn ?? 1, 1) || !within(othersExpireIn ?? 0, 0))
        throw invalid(`A secret ends after at most ${LONGEST_SECRET} seconds, a new one not at once`)
      const now = clock.now()
      const after = (span: Seconds | undefined) => (span === undefined ? null : now + span * 1000)
      const made = newSecret(now, after(expiresIn))
      const options = { othersEndAt: after(othersExpireIn), most: MOST_SECRETS }
      if (!(await store.clients.addSecret(id, made.stored, options, actor))) found(null)
      return made
    },

    /** It is refused from the next request on; tokens that it got live on. @throws DomainError not_found */
    async deleteSecret(id: string, secretId: string): Promise<void> {
      if (!(await store.clients.deleteSecret(id, secretId)))
        throw new DomainError('not_found', 'The client has no such secret')
    }
  }
}
