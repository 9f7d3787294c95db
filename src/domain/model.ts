/** An instant: milliseconds since the epoch. */
export type Millis = number
/** A span of time in seconds. */
export type Seconds = number

/** The built-in role without which nobody could administer. */
export const ADMIN_ROLE = 'admin'

/** The id of the built-in public client of /docs. */
export const DOCS_CLIENT = 'docs'

/** The scope of clients that may ask whether tokens are good. */
export const INTROSPECT = 'tokens:introspect'

/** The scope of clients that may read the revocation log. */
export const READ_REVOCATIONS = 'revocations:read'

/** Scopes that only clients hold, for themselves, and no role does; whoever may register clients may give them. */
export const CLIENT_ONLY_SCOPES = [INTROSPECT, READ_REVOCATIONS]

/** As long as any access token can live (`LATCHKEY_ACCESS_TOKEN_TTL` at its most), and a minute. */
export const TOKENS_LIVE_MS = 3_660_000

export type SigningAlg = 'ES256' | 'EdDSA' | 'RS256'

/** Who does something: a user’s id, or null for the operator at the terminal, who may grant everything. */
export type Actor = string | null

/** A person. The password's hash is no part of it: see `Credentials`. */
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
  /** PHC string. */
  passwordHash: string
  /** Raised by whatever must end a login that is under way: disabling, a new password, deletion. */
  authVersion: number
}

/** A confidential client has a secret; a public one cannot keep any (RFC 6749 §2.1). */
export type ClientKind = 'confidential' | 'public'

export interface Client {
  id: string
  name: string
  kind: ClientKind
  /** The operator's own: only such a one may see passwords. */
  firstParty: boolean
  grantTypes: string[]
  /** What its tokens may hold at most. */
  scopes: string[]
  /** What is granted when the request names no scope. */
  defaultScopes: string[]
  /** Ids of the resources that its tokens may be for, the default first; none for every one that its scopes belong to. */
  resources: string[]
  redirectUris: string[]
  /** The keys that its assertions are signed with (RFC 7523); null for none. */
  jwks: ClientKey[] | null
  /** Null for that of the settings. */
  accessTokenTtl: Seconds | null
  sessionIdleTtl: Seconds
  sessionAbsoluteTtl: Seconds
  disabledAt: Millis | null
  createdAt: Millis
  updatedAt: Millis
}

/** A public key of a client, RFC 7517 §4. */
export type ClientKey = { kty: string; alg: AssertionAlg; kid?: string } & Record<string, string>

/** What assertions of clients may be signed with. */
export const ASSERTION_ALGS = ['ES256', 'EdDSA', 'RS256', 'PS256'] as const
export type AssertionAlg = (typeof ASSERTION_ALGS)[number]

/** A secret of a client as it is stored; the secret itself is shown once and kept nowhere. */
export interface ClientSecret {
  /** UUIDv7. */
  id: string
  /** SHA-256, base64url. */
  hash: string
  createdAt: Millis
  /** Not good from this instant on; null for one without an end. */
  expiresAt: Millis | null
  /** To the hour; null for one that was never used. */
  lastUsedAt: Millis | null
}

/** A service that tokens are for (RFC 8707). */
export interface Resource {
  id: string
  /** An absolute URI: the `aud` of its tokens. Null for Latchkey's own API, where it is the issuer. */
  identifier: string | null
  name: string
  scopes: Pick<Scope, 'name' | 'description'>[]
  /** Ids of the clients that may ask about its tokens. */
  introspectionClients: string[]
}

export interface Scope {
  /** A scope-token of RFC 6749 §3.3: `noun:verb`, or `profile`. */
  name: string
  description: string
  /** The one resource that the scope belongs to. */
  resourceId: string
}

export type RegisteredScope = Scope & Pick<Resource, 'identifier'>

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
  /** Not alive after this instant unless it is renewed. */
  idleExpiresAt: Millis
  /** Not alive after this instant in any case. */
  expiresAt: Millis
  /** When it was last renewed; at the login, if never. */
  lastUsedAt: Millis
  /** The address and user agent of the login. */
  address: string | null
  userAgent: string | null
  /** Random; a part of what its refresh tokens are made from. Null for a session that cannot be renewed. */
  salt: string | null
}

export interface StoredSession extends Session {
  /** How often it was renewed. */
  counter: number
  endedAt: Millis | null
}

/** What became of a refresh token that was presented; see `Store.sessions.rotate`. */
export type Rotation = 'rotated' | 'retried' | 'reused' | 'unknown'

/** The key that refresh tokens are made with. */
export interface RefreshKey {
  /** 8 random bytes, base64url. */
  id: string
  /** 32 random bytes, base64url, sealed. */
  sealedKey: string
  createdAt: Millis
}

/** What ends: this session, token or key; for the others every token from before the entry. */
export type RevocationKind = 'session' | 'token' | 'key' | 'user' | 'client' | 'role'

/** An entry of the revocation log. */
export interface Revocation {
  /** Dense, in the order of commits. */
  seq: number
  kind: RevocationKind
  id: string
}

/** What the revocation log holds after some number, as it was at one instant. */
export interface RevocationPage {
  /** In the order of their numbers. */
  entries: Revocation[]
  /** How far the log had come. */
  seq: number
  /** The smallest number after which nothing is missing. */
  oldest: number
}

/** `next` is published and does not sign yet; `verifying` signs no more. */
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
  /** The private key, PKCS #8 PEM, sealed; null once the key signs no more. */
  sealedPrivateKey: string | null
  /** When it was published. */
  createdAt: Millis
  /** From when on it signed; null for one that never did. */
  signsSinceAt: Millis | null
  /** Until when a token that it signed can live; null while it signs or never did. */
  verifiesUntilAt: Millis | null
  retiredAt: Millis | null
}

/** The claims of an access token, RFC 9068 §2.2. */
export interface AccessTokenClaims {
  iss: string
  sub: string
  aud: string
  client_id: string
  /** Seconds since the epoch. */
  iat: number
  exp: number
  jti: string
  /** Space-separated, RFC 6749 §3.3. */
  scope: string
  roles: string[]
  /** The session; only in a user's token. */
  sid?: string
  /** How far the revocation log had come before the state was read that this token was made from. */
  rev: number
}

/** Who is calling, as the live state says at this very request. */
export interface Principal {
  kind: 'user' | 'client'
  /** The user's id, or the client's for its own token. */
  sub: string
  clientId: string
  sid: string | null
  /** Token ∩ live client ∩ live roles. */
  scopes: string[]
  roles: string[]
  token: AccessTokenClaims
}

/** From where a request came. */
export interface Origin {
  address: string | null
  userAgent: string | null
}
