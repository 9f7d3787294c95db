import type { Config } from '../settings.ts'
import {
  ACCOUNT,
  ADMIN_ROLE,
  AUTHORIZATION_CODE_GRANT,
  type Client,
  DOCS_CLIENT,
  EMPTY_SCOPES,
  IDENTITY_SCOPES,
  INTROSPECT,
  type Millis,
  OPENID,
  READ_REVOCATIONS,
  REFRESH_GRANT,
  type Role,
  type Scope
} from './model.ts'

/** The resource of Latchkey's own API. Its identifier on the wire (`aud`, `resource`) is the issuer. */
export const OWN_RESOURCE = 'latchkey'

const own = (name: string, description: string): Scope => ({ name, description, resourceId: OWN_RESOURCE })

/** The scopes of users at Latchkey's own API. */
export const BUILT_IN_SCOPES: Scope[] = [
  own(OPENID, 'Know who you are'),
  own('profile', 'See your name and your roles'),
  own('email', 'See your e-mail address'),
  own(ACCOUNT, 'Change your profile and your password, and end your sessions'),
  own('users:read', 'See every user'),
  own('users:write', 'Create, change and delete users'),
  own('roles:read', 'See every role and scope'),
  own('roles:write', 'Create, change and delete roles'),
  own('clients:read', 'See every client'),
  own('clients:write', 'Register, change and delete clients'),
  own('resources:read', 'See every resource'),
  own('resources:write', 'Register, change and delete resources'),
  own('keys:read', 'See the keys that sign tokens'),
  own('keys:write', 'Rotate and retire keys')
]

/** The scopes of users at Latchkey's own API that come from roles. */
export const ROLE_SCOPES = BUILT_IN_SCOPES.map(({ name }) => name).filter((name) => !IDENTITY_SCOPES.includes(name))

/** The scopes at Latchkey's own API that only clients hold, in their own name. No role holds them. */
export const CLIENT_SCOPES: Scope[] = [
  own(INTROSPECT, 'Introspect tokens'),
  own(READ_REVOCATIONS, 'Read the revocation log')
]

/** The parts before the first colon that only scopes of Latchkey, or of a later version of it, may have. */
const RESERVED_NOUNS = [
  'latchkey',
  'users',
  'roles',
  'clients',
  'resources',
  'keys',
  'tokens',
  'revocations',
  'sessions',
  'consents',
  'providers',
  'events',
  'audit',
  'settings'
]
/** Scopes of one word that only Latchkey may register: of OpenID Connect Core §3.1.2.1, §5.4 and §11, and its own. */
const RESERVED_WORDS = [...IDENTITY_SCOPES, ...EMPTY_SCOPES, ACCOUNT]

/** Returns whether a scope name is reserved for Latchkey. No other resource may register such a name. */
export function isReservedScope(name: string): boolean {
  const [noun = ''] = name.split(':')
  return RESERVED_NOUNS.includes(noun) || RESERVED_WORDS.includes(name)
}

/** The roles of a first start. */
export const BUILT_IN_ROLES: Role[] = [
  { name: ADMIN_ROLE, description: 'May do everything', scopes: ROLE_SCOPES },
  { name: 'user', description: 'May change their own profile', scopes: [ACCOUNT] }
]

/** The members of a client that its registration may leave out. */
export const CLIENT_DEFAULTS = {
  firstParty: false,
  grantTypes: [],
  scopes: [],
  roles: null,
  resources: [],
  redirectUris: [],
  postLogoutRedirectUris: [],
  applicationType: 'web',
  clientUri: null,
  policyUri: null,
  tosUri: null,
  logoUri: null,
  requirePkce: true,
  requireConsent: true,
  idTokenAlg: null,
  backchannelLogoutUri: null,
  accessTokenTtl: null,
  sessionIdleTtl: 14 * 86_400,
  sessionAbsoluteTtl: 90 * 86_400
} satisfies Partial<Client>

/** Creates the client of /docs for a first start. */
export const docsClient = (now: Millis): Client => ({
  ...CLIENT_DEFAULTS,
  id: DOCS_CLIENT,
  name: 'Interactive documentation',
  kind: 'public',
  firstParty: true,
  grantTypes: [AUTHORIZATION_CODE_GRANT, 'password', REFRESH_GRANT],
  scopes: BUILT_IN_SCOPES.map((scope) => scope.name),
  defaultScopes: ['profile'],
  jwks: null,
  sessionIdleTtl: 3600,
  sessionAbsoluteTtl: 12 * 3600,
  disabledAt: null,
  createdAt: now,
  updatedAt: now
})

/** Returns whether a setting switches the client off. */
export const isSwitchedOff = (clientId: string, { docs }: Pick<Config, 'docs'>): boolean =>
  clientId === DOCS_CLIENT && !docs

/** Returns a stored client as the settings complete it: the client of /docs returns to the pages of the issuer. */
export const completed = (client: Client, { issuer }: Pick<Config, 'issuer'>): Client =>
  client.id === DOCS_CLIENT ? { ...client, redirectUris: [`${issuer}/docs/static/oauth2-redirect.html`] } : client
