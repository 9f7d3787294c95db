import type {
  AccessTokenClaims,
  Actor,
  Client,
  ClientKey,
  ClientSecret,
  Credentials,
  KeyState,
  Millis,
  PublicKey,
  RefreshKey,
  RegisteredScope,
  Resource,
  RevocationPage,
  Role,
  Rotation,
  Scope,
  Session,
  SigningAlg,
  StoredKey,
  StoredSession,
  User
} from './model.ts'

/** The only source of time. */
export interface Clock {
  /** The instant at which it is asked. */
  now(): Millis
  /** Lets the time pass. */
  sleep(span: Millis): Promise<void>
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
  /** Whether the claims are those of an access token of ours and of no other kind, whoever signed them (RFC 9068 §2.2). */
  isAccessToken(claims: Record<string, unknown>): claims is Record<string, unknown> & AccessTokenClaims
  /**
   * The claims of a JWT that a client has signed with one of its keys and with that key's algorithm, or null for
   * everything else. Claims are not judged here. Never throws because of what the token holds.
   * @param keysOf told the claims before they are proved
   */
  verifyAssertion(
    token: string,
    keysOf: (claims: Record<string, unknown>) => Promise<ClientKey[]>
  ): Promise<Record<string, unknown> | null>
  /** A client's public key with its algorithm and nothing private; null for one that no assertion may be signed with. */
  clientKey(jwk: Record<string, unknown>): ClientKey | null
}

/** Encrypts what must be read again, with a key that is not in the database. */
export interface Sealer {
  /** @param context what the text is and where it is kept; it opens in the same context only */
  seal(text: string, context: string): string
  /** @throws SetupError when it was sealed with another key, for another context, or altered */
  open(sealed: string, context: string): string
  /** Whether it is sealed with the key that seals now, and not with the one before. */
  isCurrent(sealed: string): boolean
}

/** What a rotation rests on. */
export interface KeyBasis {
  /** The kid of the key that signs, and of the next one. */
  signing: string
  next: string
  /** The sealed canary: another one when everything was sealed anew. */
  canary: string
}

/** The rows that a first start puts in, all or none. */
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

export type NewUser = Pick<User, 'id' | 'username' | 'email' | 'fullName' | 'roles'> & {
  /** The canonical forms, which are unique. */
  usernameKey: string
  emailKey: string | null
  passwordHash: string
  now: Millis
}

/** What is given changes; `roles` are then all that the user has. */
export interface UserChanges {
  username?: string
  usernameKey?: string
  email?: string | null
  emailKey?: string | null
  fullName?: string | null
  disabled?: boolean
  roles?: string[]
}

/** Whom a list shows: all of what is given must be true of a user. */
export interface UserFilter {
  /** The beginning of the canonical username or e-mail. */
  search?: string
  role?: string
  disabled?: boolean
}

/** How often something was tried. */
export interface Tries {
  key: string
  /** 0 for what was never tried. */
  count: number
  lastAt: Millis
  /** From then on as good as never tried. */
  expiresAt: Millis
}

/** What is given changes; lists are then all that the client has. */
export type ClientChanges = Partial<
  Omit<Client, 'id' | 'kind' | 'disabledAt' | 'createdAt' | 'updatedAt'> & { disabled: boolean }
>

/** What comes after `after` in the order of the list; from its beginning with null. */
export interface Page {
  after: string | null
  limit: number
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
  /** Whether the token itself was revoked. */
  revoked: boolean
  user: { disabledAt: Millis | null; roles: string[]; scopes: string[] } | null
  client: {
    disabledAt: Millis | null
    scopes: string[]
    /** Its tokens with a lower `rev` are good no more. */
    revokedSeq: number
  } | null
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
   * Puts the seed in unless that was ever done, and the admin (with the role `admin`) unless an enabled user with that
   * role exists. One transaction, which first takes the locks `bootstrap` and `admins`: of concurrent calls one does each.
   */
  bootstrap(seed: Seed, admin: NewUser | null): Promise<{ seeded: boolean; adminCreated: boolean }>
  /** Whether the seed is in, and whether any enabled user has the role `admin`. */
  bootstrapped(): Promise<{ seeded: boolean; admin: boolean }>

  /**
   * What can unmake an admin first takes the lock `admins`, so that it happens one after the other, and throws
   * `DomainError('conflict')` when no enabled admin would be left. What gives somebody a role or a scope throws
   * `DomainError('forbidden')` when the actor has not got it themselves: its scopes, and the role `admin` for that one.
   */
  users: {
    /** @throws DomainError conflict when the canonical username or e-mail is taken, invalid when a role does not exist */
    create(user: NewUser, actor: Actor): Promise<void>
    /** Null when there is no such user. */
    get(id: string): Promise<User | null>
    /** What a password is checked against; null for an unknown name. @param username in canonical form */
    credentials(username: string): Promise<Credentials | null>
    /** By id, which is by age: those after the given id, at most `limit`. */
    list(page: Page, filter: UserFilter): Promise<User[]>
    /**
     * Null when there is no such user. Disabling ends the user's sessions and the logins that are under way.
     * @throws DomainError conflict when the username or the e-mail is taken, invalid when a role does not exist
     */
    change(id: string, changes: UserChanges, actor: Actor, now: Millis): Promise<User | null>
    /** With sessions and everything else of the user. False when there is no such user. */
    delete(id: string, now: Millis): Promise<boolean>
    /**
     * A new password: ends the user's sessions but `keep`, and the logins that are under way.
     * @param from what the credentials had when the old password was checked; null when it was not asked for
     * @returns false when there is no such user, or they have another `authVersion` now
     */
    setPassword(
      id: string,
      password: { hash: string; from: number | null; keep: string | null },
      now: Millis
    ): Promise<boolean>
    /** Does nothing when the hash is no longer `from`: a password set in the meantime stays. */
    replaceHash(id: string, from: string, to: string): Promise<void>
    /** The scopes that the user's roles allow now; null when there is no such user. */
    scopes(id: string): Promise<string[] | null>
  }
  /** The remarks on `users` hold here too. */
  roles: {
    /** Null when there is no such role. */
    get(name: string): Promise<Role | null>
    /** By name: those after the given one, at most `limit`. */
    list(page: Page): Promise<Role[]>
    /** @throws DomainError conflict when the name is taken, invalid when a scope does not exist */
    create(role: Role, actor: Actor, now: Millis): Promise<void>
    /** Null when there is no such role. @throws DomainError invalid when a scope does not exist */
    change(
      name: string,
      changes: { description?: string; scopes?: string[] },
      actor: Actor,
      now: Millis
    ): Promise<Role | null>
    /** Also takes it from everyone who has it. False when there is no such role. */
    delete(name: string, now: Millis): Promise<boolean>
  }
  guesses: {
    /** What is known of each key, without keeping anybody from it. */
    read(keys: string[]): Promise<Map<string, Tries>>
    /**
     * Counts: `decide` gets what is known of each key and says what is to be known instead (what it leaves out stays, a
     * count of 0 is forgotten). Nobody else counts on these keys meanwhile. `decide` must not wait for anything.
     */
    count<T>(keys: string[], decide: (tries: Map<string, Tries>) => { next: Tries[]; result: T }): Promise<T>
  }
  clients: {
    /** Whatever its state is; null when there is no such client. */
    get(id: string): Promise<Client | null>
    /** By id: those after the given one, at most `limit`. */
    list(page: Page): Promise<Client[]>
    /**
     * What those of the ids are authenticated against that exist, with the secrets that are good, and how far the
     * revocation log had come at that instant: all of it in one statement.
     */
    credentials(ids: string[], now: Millis): Promise<{ client: Client; secrets: ClientSecret[]; rev: number }[]>
    /**
     * Whoever adds or changes a client, or gives it a secret, needs all scopes that users can have and the client has
     * then: else `DomainError('forbidden')`.
     * @throws DomainError conflict when the id is taken, invalid when a scope or resource does not exist
     */
    create(client: Client, secret: ClientSecret | null, actor: Actor): Promise<void>
    /**
     * Null when there is no such client. What takes something away ends the tokens that were issued before; disabling,
     * and taking a grant or `firstParty` away, ends the sessions too.
     * @throws DomainError invalid when a scope or resource does not exist
     */
    change(id: string, changes: ClientChanges, actor: Actor, now: Millis): Promise<Client | null>
    /** With its sessions and secrets. False when there is no such client. */
    delete(id: string, now: Millis): Promise<boolean>
    /** All of a client that are not over, oldest first. */
    secrets(id: string, now: Millis): Promise<ClientSecret[]>
    /**
     * False when there is no such client.
     * @param othersEndAt an end for those that have none before it; null to leave them
     * @throws DomainError conflict when there would be more than `most`
     */
    addSecret(
      id: string,
      secret: ClientSecret,
      options: { othersEndAt: Millis | null; most: number },
      actor: Actor
    ): Promise<boolean>
    /** False when the client has no such secret. */
    deleteSecret(id: string, secretId: string): Promise<boolean>
    /** Notes when a secret was used last. */
    secretUsed(secretId: string, now: Millis): Promise<void>
    /** Notes that an assertion was used. False when it was before, and when there is no such client. */
    useAssertion(id: string, jti: string, expiresAt: Millis): Promise<boolean>
  }
  scopes: {
    /** Those of the names that are registered. */
    find(names: string[]): Promise<RegisteredScope[]>
    /** By name: those after the given one, at most `limit`. */
    list(page: Page): Promise<RegisteredScope[]>
  }
  resources: {
    /** Null when there is no such resource. */
    get(id: string): Promise<Resource | null>
    /** By id: those after the given one, at most `limit`. */
    list(page: Page): Promise<Resource[]>
    /** Whether the client may ask about tokens for that resource. @param identifier null for Latchkey's own API */
    mayIntrospect(clientId: string, identifier: string | null): Promise<boolean>
    /** Whether it is registered. */
    known(identifier: string): Promise<boolean>
    /**
     * The role `admin` gets its scopes too.
     * @throws DomainError conflict when the id, the identifier or a scope is taken, invalid when a client does not exist
     */
    create(resource: Resource, now: Millis): Promise<void>
    /**
     * Null when there is no such resource. `introspectionClients` are then all that it has; `scopes` says, of what it has,
     * what it is to have instead, and must not wait for anything. The role `admin` gets a new scope too, and one that is
     * taken away is gone from every role and client, with the tokens of before.
     * @throws DomainError conflict when a scope is taken, invalid when a client does not exist
     */
    change(
      id: string,
      changes: Partial<Pick<Resource, 'name' | 'introspectionClients'>> & {
        scopes?: (before: Resource['scopes']) => Resource['scopes']
      },
      now: Millis
    ): Promise<Resource | null>
    /** With its scopes. False when there is no such resource. */
    delete(id: string, now: Millis): Promise<boolean>
  }
  sessions: {
    /**
     * Opens a session if the user is enabled and still has the `authVersion` that the password was checked against, and
     * the client is enabled and nothing was taken from it since `rev`; else false. A disabling or a new password that commits first wins, one that comes later
     * finds the session and ends it.
     */
    open(session: Session, authVersion: number, rev: number): Promise<boolean>
    /** Whatever its state is; null when there is no such session. */
    get(id: string): Promise<StoredSession | null>
    /** The living ones of a user, by id, which is by age: those after the given one, at most `limit`. */
    list(userId: string, page: Page, now: Millis): Promise<Session[]>
    /**
     * Renews a session, in one conditional write (RFC 9700 §4.14.2). Of concurrent calls with the current counter exactly
     * one is `rotated`; inside the leeway the others, and repeats of the one before, are `retried` with the same
     * successor; an older counter is `reused` and has ended the session. `unknown`, which changes nothing, is what
     * another client asks for, and what has ended.
     * @param counter what the presented token carries
     * @param leeway  milliseconds, 0 for none
     */
    rotate(id: string, client: Client, counter: number, leeway: Millis, now: Millis): Promise<Rotation>
    /** Ends the living sessions, and those that expired within the last minute, for which all that is given is true; how many those were. */
    end(
      which: { id?: string; userId?: string; clientId?: string; except?: string | null },
      now: Millis
    ): Promise<number>
  }
  refreshKeys: {
    /** The one that new refresh tokens are made with; null before the first start. */
    current(): Promise<RefreshKey | null>
    /** Null for one that verifies no more. */
    find(id: string): Promise<RefreshKey | null>
    /** Makes it the current one unless there is one. */
    create(key: RefreshKey): Promise<void>
    /** Removes those whose time to verify is over; how many. */
    expire(now: Millis): Promise<number>
  }
  /**
   * There is always one key that signs and one next, and one refresh key that is current: what changes that first takes the
   * lock `keys`. `clock` is asked under the lock, so that waiting for it makes no key older than it is.
   */
  keys: {
    /** Those that are not retired, by age. */
    list(): Promise<StoredKey[]>
    /** All, the newest first: those after the given kid, at most `limit`. */
    page(page: Page): Promise<StoredKey[]>
    /** The one key that signs; null before the first start. */
    signing(): Promise<StoredKey | null>
    /** Whatever its state is; null when there is no such key. */
    find(kid: string): Promise<StoredKey | null>
    /**
     * The next key signs, the one before verifies for `verifiesMs` more and loses its private part, `next` is published;
     * likewise the refresh key. False, and nothing is changed, when one of what is in `from` is no longer so: of concurrent
     * calls one rotates.
     */
    rotate(
      rotation: {
        from: KeyBasis
        next: StoredKey
        refreshKey: RefreshKey
        verifiesMs: Millis
        refreshVerifiesMs: Millis
      },
      clock: () => Millis
    ): Promise<boolean>
    /**
     * Retires a key whatever it is for, with an entry in the revocation log: the next one signs in its place, and `next` is
     * published where one is missing then. Nothing is changed for a key that is retired or unknown. False, and nothing is
     * changed, when a `next` is needed and is null, or was sealed with another key than `canary`.
     */
    compromise(
      kid: string,
      replacement: { canary: string; next: StoredKey | null },
      clock: () => Millis
    ): Promise<boolean>
    /** Retires those whose time to verify is over, or only that one of them; how many. */
    expire(now: Millis, kid?: string): Promise<number>
    /**
     * Puts what `change` gives in the place of everything that is sealed; how much became another. `change` must not wait
     * for anything; what it throws leaves all as it was.
     * @param change gets the table, the row's id and the sealed text
     */
    reseal(
      change: (table: 'signing_keys' | 'refresh_keys' | 'sealed_values', id: string, sealed: string) => string
    ): Promise<number>
  }
  /** Values that were sealed before they came here. */
  sealed: {
    /** Null when nothing was kept under that name. */
    get(name: string): Promise<string | null>
  }
  revocations: {
    /** The sequence number of the last committed entry of the revocation log; 0 when it is empty. */
    seq(): Promise<number>
    /**
     * The first entries after that number, at most `limit`, and the ends of the log, all as of one instant. After a number
     * that the log has not come to, all entries there are.
     */
    since(after: number, limit: number): Promise<RevocationPage>
    /** Ends one access token. */
    revokeToken(jti: string, now: Millis): Promise<void>
  }
  expiry: {
    /** Whether the caller is the one who sweeps until `until`: of concurrent calls one is, and nobody before that instant. */
    lead(now: Millis, until: Millis): Promise<boolean>
    /** Removes some of what has expired, of every table; how many rows those were. */
    prune(now: Millis): Promise<number>
  }
  /** All that must hold for a token, in one statement, as committed at this instant. */
  state(ref: { kid: string; jti: string; sid: string | null; sub: string; clientId: string }): Promise<LiveState>
  /** Ends the connections. Nothing can be asked afterwards. */
  close(): Promise<void>
}
