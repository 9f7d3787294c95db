import type {
  AccessTokenClaims,
  Client,
  Credentials,
  KeyState,
  Millis,
  PublicKey,
  Role,
  Scope,
  Session,
  SigningAlg,
  StoredKey,
  User
} from './model.ts'

/** The only source of time. */
export interface Clock {
  /** The instant at which it is asked. */
  now(): Millis
}

/**
 * Passwords to argon2id strings and back. At most a fixed number are worked on at once and a fixed number wait; beyond
 * that every method that hashes throws `DomainError('unavailable')` and has done no work.
 */
export interface Hasher {
  /** A PHC string with the current parameters. */
  hash(password: string): Promise<string>
  /** Exactly one verification. With null it costs what a hash with the current parameters costs, and is false. */
  verify(hash: string | null, password: string): Promise<boolean>
  /** Whether the hash was made with other than the current parameters. */
  outdated(hash: string): boolean
}

/** Makes and checks JWTs; knows nothing of who may hold one. */
export interface Signer {
  /** A new key pair; the private key as PKCS #8 PEM. */
  generate(alg: SigningAlg): Promise<PublicKey & { privateKey: string }>
  /** A JWS in compact form with the header `{ alg, typ: 'at+jwt', kid }`. */
  sign(claims: AccessTokenClaims, key: PublicKey & { privateKey: string }): string
  /**
   * The signed content, or null for everything that is not a strict compact JWS of type `at+jwt`, signed with the key
   * that `find` gives for its `kid` and with that key's algorithm. Claims are not judged here. Never throws because of
   * what the token holds; what `find` throws passes through. `find` is asked at every call, also for a token seen before.
   */
  verify(
    token: string,
    find: (kid: string) => Promise<PublicKey | null>
  ): Promise<{ kid: string; claims: Record<string, unknown> } | null>
}

/** Encrypts what must be read again, with a key that is not in the database. */
export interface Sealer {
  /** @param context what the text is and where it is kept; it opens in the same context only */
  seal(text: string, context: string): string
  /** @throws SetupError when it was sealed with another key, for another context, or altered */
  open(sealed: string, context: string): string
}

/** The rows that a first start puts in, all or none. */
export interface Seed {
  now: Millis
  resources: { id: string; name: string }[]
  scopes: Scope[]
  roles: Role[]
  clients: Client[]
  keys: StoredKey[]
  sealed: { name: string; value: string }[]
}

export type NewUser = Pick<User, 'id' | 'username' | 'email' | 'fullName' | 'roles'> & {
  /** The canonical forms, which are unique. */
  usernameKey: string
  emailKey: string | null
  passwordHash: string
  now: Millis
}

export interface Schema {
  /** The number of the last migration that ran. */
  version: number
  /** The oldest program version (by its last migration) that may run on this schema. */
  compatibleFrom: number
}

/** What is true now of everything that an access token rests on; null for what does not exist. */
export interface LiveState {
  keyState: KeyState | null
  session: (Pick<Session, 'userId' | 'clientId' | 'idleExpiresAt' | 'expiresAt'> & { endedAt: Millis | null }) | null
  user: { disabledAt: Millis | null; roles: string[]; scopes: string[] } | null
  client: { disabledAt: Millis | null; scopes: string[] } | null
}

/**
 * The database. Every method is one statement or one transaction, so it happens whole or not at all. Throws
 * `DomainError('unavailable')` when the database cannot be reached in time, `DomainError('conflict')` when a unique
 * value is taken, `SetupError` when the database is missing.
 */
export interface Store {
  /** Brings the schema up to this program's version. Of concurrent calls one migrates, the others wait and find it done. */
  migrate(): Promise<void>
  /** Null when there is no database or nothing of ours in it. @throws SetupError when another program's tables are there */
  schema(): Promise<Schema | null>
  /** The version that `migrate` brings a database to. */
  readonly version: number

  /**
   * Puts the seed in unless that was ever done, and the admin (with the role `admin`) unless a user with that role
   * exists. One transaction, which first takes the lock `bootstrap`: of concurrent calls one does each.
   */
  bootstrap(seed: Seed, admin: NewUser | null): Promise<{ seeded: boolean; adminCreated: boolean }>
  /** Whether the seed is in, and whether any user has the role `admin`. */
  bootstrapped(): Promise<{ seeded: boolean; admin: boolean }>

  users: {
    /** @throws DomainError conflict when the canonical username or e-mail is taken */
    create(user: NewUser): Promise<void>
    /** Null when there is no such user. */
    get(id: string): Promise<User | null>
    /** What a password is checked against; null for an unknown name. @param username in canonical form */
    credentials(username: string): Promise<Credentials | null>
    /** By id, which is by age: those after the given id, at most `limit`. */
    list(page: { after: string | null; limit: number }): Promise<User[]>
    /** Null when there is no such user. @throws DomainError conflict when the e-mail is taken */
    update(
      id: string,
      changes: { email?: string | null; emailKey?: string | null; fullName?: string | null },
      now: Millis
    ): Promise<User | null>
    /** Does nothing when the hash is no longer `from`: a password set in the meantime stays. */
    replaceHash(id: string, from: string, to: string): Promise<void>
    /** The scopes that the user's roles allow now. */
    scopes(id: string): Promise<string[]>
  }
  clients: {
    /** Whatever its state is; null when there is no such client. */
    get(id: string): Promise<Client | null>
  }
  scopes: {
    /** Those of the names that are registered. */
    find(names: string[]): Promise<Scope[]>
    /** All that are registered, by name. */
    list(): Promise<Scope[]>
  }
  sessions: {
    /**
     * Opens a session if the user is enabled and still has the `authVersion` that the password was checked against, and
     * the client is enabled; else false. A disabling or a new password that commits first wins, one that comes later
     * finds the session and ends it.
     */
    open(session: Session, authVersion: number): Promise<boolean>
  }
  keys: {
    /** Those that are not retired. */
    list(): Promise<StoredKey[]>
    /** The one key that signs; null before the first start. */
    signing(): Promise<StoredKey | null>
    /** Whatever its state is; null when there is no such key. */
    find(kid: string): Promise<StoredKey | null>
  }
  /** Values that were sealed before they came here. */
  sealed: {
    /** Null when nothing was kept under that name. */
    get(name: string): Promise<string | null>
  }
  revocations: {
    /** The sequence number of the last committed entry of the revocation log; 0 when it is empty. */
    seq(): Promise<number>
  }
  /** All that must hold for a token, in one statement, as committed at this instant. */
  state(ref: { kid: string; sid: string | null; sub: string; clientId: string }): Promise<LiveState>
  /** Ends the connections. Nothing can be asked afterwards. */
  close(): Promise<void>
}
