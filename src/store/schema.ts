import type { ClientKind, KeyState, RevocationKind, SigningAlg } from '../domain/model.ts'

/** The tables. Instants are epoch milliseconds in columns ending `_at`; lists of names are joined by a space. */
export interface Tables {
  schema_version: { version: number; compatible_from: number }
  /** One row for each rule over several rows: updating it first is the lock under which the rule is kept. */
  invariants: { name: string; version: number }
  counters: { name: string; seq: number }
  sealed_values: { name: string; value: string }
  resources: { id: string; name: string; created_at: number; identifier: string | null }
  introspection_clients: { resource_id: string; client_id: string }
  scopes: { name: string; description: string; resource_id: string }
  roles: { name: string; description: string; created_at: number; updated_at: number }
  role_scopes: { role: string; scope: string }
  users: {
    id: string
    username: string
    username_key: string
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
    grant_types: string
    session_idle_ttl: number
    session_absolute_ttl: number
    disabled_at: number | null
    created_at: number
    updated_at: number
    kind: ClientKind
    first_party: number
    resources: string
    redirect_uris: string
    /** JSON. */
    jwks: string | null
    access_token_ttl: number | null
    /** Tokens with a lower `rev` are good no more. */
    revoked_seq: number
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
    salt: string | null
    rotated_at: number | null
  }
  /** `current` signs; the others still verify. */
  refresh_keys: {
    id: string
    sealed_key: string
    state: 'current' | 'verifying'
    created_at: number
    verifies_until_at: number | null
  }
  /** The revocation log. */
  revocations: { seq: number; kind: RevocationKind; id: string; expires_at: number }
  /** Who does what only one instance does at a time, until when. */
  leases: { name: string; until_at: number }
  /** What is counted against guessing, by kind and (hashed) account or network. */
  guesses: { key: string; count: number; last_at: number; expires_at: number }
  signing_keys: {
    kid: string
    alg: SigningAlg
    public_jwk: string
    /** Empty once the key signs no more. */
    sealed_private_key: string
    state: KeyState
    created_at: number
    signs_since_at: number | null
    verifies_until_at: number | null
    retired_at: number | null
  }
}
