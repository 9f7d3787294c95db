import type { Caller } from '../caller.ts'
import type { Client, Millis, RefreshKey, Resource, Role, Scope, StoredKey } from '../model.ts'
import type { AuthorizationStore, ConsentStore } from './authorizations.ts'
import type { ClientStore } from './clients.ts'
import type { GuessStore } from './guesses.ts'
import type { IdentityStore } from './identities.ts'
import type { KeyStore } from './keys.ts'
import type { LoginStore } from './logins.ts'
import type { LogoutNoticeStore } from './logouts.ts'
import type { ResourceStore, ScopeStore } from './resources.ts'
import type { ExpiryStore, LiveState, RevocationStore, TokenReference } from './revocations.ts'
import type { RoleStore } from './roles.ts'
import type { RefreshKeyStore, SessionStore } from './sessions.ts'
import type { NewUser, UserStore } from './users.ts'

/** The rows of a first start, stored all or none. */
export interface Seed {
  now: Millis
  resources: Pick<Resource, 'id' | 'identifier' | 'name'>[]
  scopes: Scope[]
  roles: Role[]
  clients: Client[]
  keys: StoredKey[]
  refreshKey: RefreshKey
  sealed: { name: string; value: string }[]
}

export interface Schema {
  /** The number of the last migration that ran. */
  version: number
  /** The oldest program version (the number of its last migration) that may run on this schema. */
  compatibleFrom: number
}

/**
 * The database. Every method is one statement or one transaction, so it takes effect completely or not at all. Throws
 * `DomainError('unavailable')` when the database cannot be reached in time, `DomainError('conflict')` when a unique value is taken,
 * `SetupError` when the database is missing. A change records its event, after the commit.
 */
export interface Store {
  /** Brings the schema to the version of this program. One of concurrent calls migrates; the others wait and then do nothing. */
  migrate(): Promise<void>
  /** Returns null for a missing or empty database. @throws SetupError when the database holds tables of another program */
  schema(): Promise<Schema | null>
  /**
   * Checks that the server of the connections takes writes, and writes nothing. After a failover the pool may still be connected to the
   * previous primary. Checks nothing on SQLite.
   * @throws DomainError unavailable
   */
  assertWritable(): Promise<void>
  /** The version that `migrate` brings a database to. */
  readonly version: number

  /**
   * Stores the seed unless a seed was ever stored, and the admin (with the role `admin`) unless an enabled admin exists. Takes the
   * locks `setup` and `admins`, so each is stored by exactly one of concurrent calls.
   */
  setUp(
    caller: Caller,
    rows: { seed: Seed; admin: NewUser | null }
  ): Promise<{ seedStored: boolean; adminCreated: boolean }>
  /** Returns whether the seed is stored, and whether an enabled user has the role `admin`. */
  setupState(): Promise<{ seeded: boolean; admin: boolean }>

  users: UserStore
  roles: RoleStore
  guesses: GuessStore
  clients: ClientStore
  scopes: ScopeStore
  resources: ResourceStore
  sessions: SessionStore
  logins: LoginStore
  authorizations: AuthorizationStore
  consents: ConsentStore
  logoutNotices: LogoutNoticeStore
  identities: IdentityStore
  refreshKeys: RefreshKeyStore
  keys: KeyStore
  /** Values that were sealed before they were stored. */
  sealed: {
    /** Returns null when no value has that name. */
    get(name: string): Promise<string | null>
    /** Stores a value unless one has that name. */
    add(name: string, value: string): Promise<void>
  }
  revocations: RevocationStore
  expiry: ExpiryStore
  /** Reads everything that a token depends on in one statement, so the result is one consistent snapshot. */
  state(token: TokenReference): Promise<LiveState>
  /**
   * Marks this process as a server of the database, until `close` or the end of the process. Returns false if the database is embedded and
   * another server has marked it.
   */
  claimServer(): Promise<boolean>
  /** Closes the connections. */
  close(): Promise<void>
}
