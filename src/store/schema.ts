import type { Generated } from 'kysely'
import type { ApplicationType, ClientKind, KeyState, RevocationKind, SigningAlg } from '../domain/model.ts'
import type { AuthorizationState } from '../domain/ports/authorizations.ts'

/**
 * The tables. A column that ends in `_at` holds milliseconds since the epoch. A column with a list of names separates them by spaces.
 */
export interface Tables {
  schema_version: { version: number; compatible_from: number }
  /** One row for each rule over several rows. An update of the row takes the lock that protects the rule. */
  invariants: { name: string; version: number }
  counters: { name: string; seq: number }
  sealed_values: { name: string; value: string }
  resources: { id: string; identifier: string | null; name: string; created_at: number }
  introspection_clients: { resource_id: string; client_id: string }
  scopes: { name: string; description: string; resource_id: string }
  roles: { name: string; description: string; created_at: number; updated_at: number }
  role_scopes: { role: string; scope: string }
  users: {
    id: string
    username: string
    username_key: string
    look_alike: string
    email: string | null
    email_key: string | null
    full_name: string | null
    disabled_at: number | null
    auth_version: number
    created_at: number
    updated_at: number
  }
  user_roles: { user_id: string; role: string }
  credentials: { user_id: string; password_hash: string }
  clients: {
    id: string
    name: string
    kind: ClientKind
    /** 1 or 0. */
    first_party: number
    grant_types: string
    /** Null for the default: all roles for a first-party client, no role for another client. */
    roles: string | null
    /** Empty for all resources. */
    resources: string
    redirect_uris: string
    post_logout_redirect_uris: Generated<string>
    application_type: Generated<ApplicationType>
    client_uri: string | null
    logo_uri: string | null
    policy_uri: string | null
    tos_uri: string | null
    /** 1 or 0. */
    require_pkce: Generated<number>
    require_consent: Generated<number>
    id_token_alg: SigningAlg | null
    backchannel_logout_uri: string | null
    /** A JSON array. */
    jwks: string | null
    /** Seconds. */
    access_token_ttl: number | null
    session_idle_ttl: number
    session_absolute_ttl: number
    disabled_at: number | null
    /** Tokens with a lower `rev` are revoked. */
    revoked_seq: number
    created_at: number
    updated_at: number
  }
  client_secrets: {
    id: string
    client_id: string
    secret_hash: string
    created_at: number
    expires_at: number | null
    last_used_at: number | null
  }
  client_assertions: { client_id: string; jti_hash: string; expires_at: number }
  client_scopes: { client_id: string; scope: string; is_default: number }
  sessions: {
    id: string
    user_id: string
    client_id: string
    scopes: string
    amr: string
    auth_at: number
    created_at: number
    idle_expires_at: number
    expires_at: number
    ended_at: number | null
    address: string | null
    user_agent: string | null
    counter: number
    salt: string
    rotated_at: number | null
    /** Access tokens of the session with a lower `rev` are revoked. */
    revoked_seq: Generated<number>
    /** The login in a browser by which the session was opened. */
    login_id: string | null
  }
  /** Logins of browsers. */
  logins: {
    id: string
    token_hash: string
    user_id: string
    auth_version: number
    amr: string
    auth_at: number
    last_used_at: number
    idle_expires_at: number
    expires_at: number
    ended_at: number | null
    address: string | null
    user_agent: string | null
  }
  /** Requests of apps to sign in a user, from the sign-in to the redemption of the code. */
  authorizations: {
    id: string
    login_id: string
    client_id: string
    state: AuthorizationState
    /** An `AuthorizationRequest` as JSON. */
    request: string
    /** The granted scopes. */
    scopes: string
    code_hash: string | null
    session_id: string | null
    created_at: number
    expires_at: number
  }
  /** What users have allowed clients. */
  consents: { user_id: string; client_id: string; scopes: string; created_at: number; updated_at: number }
  /** Providers, through which users sign in. `settings` is JSON; `version` grows with each change. */
  providers: {
    id: string
    kind: string
    name: string
    client_id: string
    sealed_client_secret: string
    settings: string
    version: number
    disabled_at: number | null
    created_at: number
    updated_at: number
  }
  /** Identities of users at providers. */
  identities: {
    provider_id: string
    issuer: string
    subject: string
    user_id: string
    label: string | null
    created_at: number
    last_used_at: number | null
  }
  /** Logout tokens that clients have not received yet (OpenID Connect Back-Channel Logout 1.0). */
  logout_notices: {
    session_id: string
    client_id: string
    user_id: string
    attempts: number
    next_at: number
    expires_at: number
  }
  /** The `current` key creates and verifies refresh tokens. A `verifying` key only verifies. */
  refresh_keys: {
    id: string
    sealed_key: string
    state: 'current' | 'verifying'
    created_at: number
    verifies_until_at: number | null
  }
  revocations: {
    seq: number
    kind: RevocationKind
    id: string
    expires_at: number
    /** The user and the session of the entry, so that a later entry can replace it. */
    user_id: string | null
    session_id: string | null
    /** The resources whose tokens the entry can revoke; null for all. */
    resources: string | null
  }
  /** How much each user and client has written into the revocation log: see `src/store/revocation-quotas.ts`. */
  revocation_quotas: { writer: string; until_at: number }
  /** Tasks that only one instance runs at a time. `until_at` is the end of the current lease of the task. */
  leases: { name: string; until_at: number }
  /**
   * Counters of failed guesses, and the networks from which an account logged in. The key holds the kind of the row, then the hash of
   * the account, the network, or both.
   */
  guesses: { key: string; count: number; last_at: number; expires_at: number }
  signing_keys: {
    kid: string
    alg: SigningAlg
    public_jwk: string
    /** Empty when the key no longer signs. */
    sealed_private_key: string
    state: KeyState
    created_at: number
    signs_since_at: number | null
    verifies_until_at: number | null
    retired_at: number | null
  }
}
