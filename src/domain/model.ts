import { ACCESS_TOKEN_TTL_MAX } from '../limits.ts'

/** An instant: milliseconds since the epoch. */
export type Millis = number
/** A span of time in seconds. */
export type Seconds = number

/** The built-in role that may administer everything. */
export const ADMIN_ROLE = 'admin'

/** The id of the built-in public client of /docs. */
export const DOCS_CLIENT = 'docs'

/** The scope of clients that may introspect tokens. */
export const INTROSPECT = 'tokens:introspect'

/** The scope of clients that may read the revocation log. */
export const READ_REVOCATIONS = 'revocations:read'

/** Scopes that only clients hold, and no user. Every caller that may register clients may grant them. */
export const CLIENT_ONLY_SCOPES = [INTROSPECT, READ_REVOCATIONS]

/** The longest time in milliseconds for which any instance accepts an access token: its longest lifetime and a minute. */
export const TOKENS_LIVE_MS = (ACCESS_TOKEN_TTL_MAX + 60) * 1000

/** The grant by which a client renews its sessions. A client without it gets no refresh tokens. */
export const REFRESH_GRANT = 'refresh_token'

/** The grant by which a client exchanges the code of an authorization response. */
export const AUTHORIZATION_CODE_GRANT = 'authorization_code'

/** The scope of a request for an ID token (OpenID Connect Core 1.0 §3.1.2.1). */
export const OPENID = 'openid'

/** The scope of a user who changes their own profile and password, and ends their own sessions. */
export const ACCOUNT = 'account'

/**
 * Scopes by which a user shows who they are (OpenID Connect Core 1.0 §5.4). Every user holds them without a role. They do not decide the
 * audience of a token: a token for any resource may have them.
 */
export const IDENTITY_SCOPES = [OPENID, 'profile', 'email']

/** Scopes of OpenID Connect Core 1.0 §5.4 and §11 that a request may name, and that grant nothing. */
export const EMPTY_SCOPES = ['address', 'phone', 'offline_access']

/** The algorithms of the signing keys. */
export const SIGNING_ALGS = ['ES256', 'EdDSA', 'RS256'] as const
export type SigningAlg = (typeof SIGNING_ALGS)[number]

/** A person. The password hash is in `Credentials`. */
export interface User {
  /** UUIDv7; the `sub` of the user's tokens. */
  id: string
  username: string
  email: string | null
  fullName: string | null
  disabledAt: Millis | null
  roles: string[]
  createdAt: Millis
  updatedAt: Millis
}

export interface Credentials {
  user: User
  /** PHC string; null for a user without a password. */
  passwordHash: string | null
  /** Increased by every change that must end the logins in browsers and the logins in progress: disabling, a new password, deletion. */
  authVersion: number
}

/** A confidential client can keep a secret, a public client cannot (RFC 6749 §2.1). */
export type ClientKind = 'confidential' | 'public'

/** `native`: an app on a device of the user; its redirect URIs may be loopback addresses with any port and private-use schemes (RFC 8252). */
export type ApplicationType = 'web' | 'native'

export interface Client {
  id: string
  name: string
  kind: ClientKind
  /** Whether the client is a program of the operator. Only such a client may handle passwords. */
  firstParty: boolean
  grantTypes: string[]
  /** The scopes that tokens of the client may hold. */
  scopes: string[]
  /** The scopes of a request that names none. */
  defaultScopes: string[]
  /** The roles that tokens of the client may carry. Null: all roles for a first-party client, no role for another client. */
  roles: string[] | null
  /** Ids of the resources that tokens may be for, the default resource first. Empty: every resource of the scopes. */
  resources: string[]
  /** Where responses to authorization requests may go. Compared exactly; for a native app the port of a loopback address is free (RFC 8252 §7.3). */
  redirectUris: string[]
  /** Where the browser may go after a logout (OpenID Connect RP-Initiated Logout 1.0). Compared exactly. */
  postLogoutRedirectUris: string[]
  applicationType: ApplicationType
  /** Pages of the client that the consent page links to. Null for none. */
  clientUri: string | null
  policyUri: string | null
  tosUri: string | null
  /** A `data:` URI, or the name of a file in the data directory: the pages load nothing from other hosts. */
  logoUri: string | null
  /** Whether authorization requests must have a code challenge (RFC 7636). */
  requirePkce: boolean
  /** Whether the user is asked for consent. Never asked for a first-party client. */
  requireConsent: boolean
  /** The algorithm of ID tokens. Null: the algorithm in the settings. */
  idTokenAlg: SigningAlg | null
  /** Where logout tokens are sent (OpenID Connect Back-Channel Logout 1.0). */
  backchannelLogoutUri: string | null
  /** The public keys that verify assertions of the client (RFC 7523); null for none. */
  jwks: ClientKey[] | null
  /** Null: the lifetime in the settings. */
  accessTokenTtl: Seconds | null
  sessionIdleTtl: Seconds
  sessionAbsoluteTtl: Seconds
  disabledAt: Millis | null
  createdAt: Millis
  updatedAt: Millis
}

/** A public key of a client, RFC 7517 §4. */
export type ClientKey = { kty: string; alg: AssertionAlg; kid?: string } & Record<string, string>

/** The algorithms of client assertions. */
export const ASSERTION_ALGS = ['ES256', 'EdDSA', 'RS256', 'PS256'] as const
export type AssertionAlg = (typeof ASSERTION_ALGS)[number]

/** A client secret as it is stored. Its text is shown once and not stored. */
export interface ClientSecret {
  /** UUIDv7. */
  id: string
  /** SHA-256, base64url. */
  hash: string
  createdAt: Millis
  /** The instant from which the secret is invalid; null for a secret that never expires. */
  expiresAt: Millis | null
  /** Precise to the hour; null for a secret that was never used. */
  lastUsedAt: Millis | null
}

/** A service that tokens are for (RFC 8707). */
export interface Resource {
  id: string
  /** An absolute URI: the `aud` of its tokens. Null for Latchkey's own API, whose `aud` is the issuer. */
  identifier: string | null
  name: string
  scopes: Pick<Scope, 'name' | 'description'>[]
  /** Ids of the clients that may introspect its tokens. */
  introspectionClients: string[]
}

export interface Scope {
  /** A scope-token of RFC 6749 §3.3: one word, or words joined by colons (usually `noun:verb`). */
  name: string
  description: string
  /** The resource that the scope belongs to. */
  resourceId: string
}

export type RegisteredScope = Scope & Pick<Resource, 'identifier'>

/** What decides which of the signing keys signs an access token. */
export type SigningTimes = Pick<StoredKey, 'kid' | 'alg' | 'createdAt' | 'signsSinceAt'>

/** A registered scope with its resource. */
export type ScopeTarget = Omit<RegisteredScope, 'description'>

export interface Role {
  name: string
  description: string
  scopes: string[]
}

/** One login of one user at one client. */
export interface Session {
  /** UUIDv7; the claim `sid`. */
  id: string
  userId: string
  clientId: string
  scopes: string[]
  /** How the user was authenticated: values of RFC 8176. */
  amr: string[]
  authAt: Millis
  createdAt: Millis
  /** The session ends at this instant unless it is renewed. */
  idleExpiresAt: Millis
  /** The session ends at this instant in any case. */
  expiresAt: Millis
  /** The instant of the last renewal, else of the login. */
  lastUsedAt: Millis
  /** The address and user agent of the login. */
  address: string | null
  userAgent: string | null
  /** Random bytes in base64url. The MAC of the refresh tokens depends on them. */
  salt: string
  /** The login in a browser by which the session was opened; null for a session opened by a password at the token endpoint. */
  loginId: string | null
}

export interface StoredSession extends Session {
  /** Number of renewals. */
  counter: number
  endedAt: Millis | null
}

/** The outcome of a renewal; see `SessionStore.rotate`. */
export type Rotation = 'rotated' | 'retried' | 'reused' | 'unknown'

/** A key that authenticates refresh tokens. */
export interface RefreshKey {
  /** 8 random bytes, base64url. */
  id: string
  /** 32 random bytes, base64url, sealed. */
  sealedKey: string
  createdAt: Millis
}

/**
 * An entry for a session, token or key revokes it. An entry for the tokens of a session, or for a user, client or role, revokes those of
 * its tokens that were issued before the entry. The tokens of a role are the tokens that carry the role. An entry of the kind `all`
 * revokes every token issued before the entry.
 */
export type RevocationKind = 'session' | 'token' | 'key' | 'session_tokens' | 'user' | 'client' | 'role' | 'all'

/** An entry of the revocation log. */
export interface Revocation {
  /**
   * Numbers are given in the order of commits, without a gap except before an entry of the kind `all`. The log itself has gaps: replaced
   * and expired entries are removed.
   */
  seq: number
  kind: RevocationKind
  id: string
  /** The instant from which no valid token is left that the entry revokes. */
  expiresAt: Millis
  /** The ids of the resources whose tokens the entry can revoke; null for all. */
  resources: string[] | null
}

/** The entries of the revocation log after a given number, read at one instant. */
export interface RevocationPage {
  /** In the order of their numbers. A later entry can have replaced an earlier one. */
  entries: Revocation[]
  /** The number up to which the page is complete. */
  next: number
  /** The number of the last entry of the log. */
  seq: number
  /** The smallest number after which no entry is missing. */
  oldest: number
}

/** `next` is published and does not sign yet; `verifying` no longer signs; `retired` no longer verifies. */
export type KeyState = 'next' | 'signing' | 'verifying' | 'retired'

export interface PublicKey {
  /** JWK thumbprint, RFC 7638. */
  kid: string
  alg: SigningAlg
  /** Public members only. */
  publicJwk: Record<string, string>
}

export interface StoredKey extends PublicKey {
  state: KeyState
  /** The sealed private key (PKCS #8 PEM); null when the key no longer signs. */
  sealedPrivateKey: string | null
  /** The instant of publication. */
  createdAt: Millis
  /** The instant from which the key signed; null when it never signed. */
  signsSinceAt: Millis | null
  /** The instant at which the last token of the key expires; null until a rotation replaces the key as the signing key. */
  verifiesUntilAt: Millis | null
  retiredAt: Millis | null
}
