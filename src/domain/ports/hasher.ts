/**
 * Hashes passwords with argon2id. Runs a limited number of calls at once. The others wait in two lines, which take turns, for a limited time. Throws `DomainError('unavailable')` before any work when the wait would be too long, and `RequestOver` when the caller
 * leaves or its request ends.
 */
export interface Hasher {
  /** Returns a PHC string with the current parameters. Waits in the line of known callers. */
  hash(password: string): Promise<string>
  /**
   * Verifies exactly one hash. With null it takes as long as with a hash of the current parameters, and returns false. Waits in the line
   * of known callers unless `visit` says otherwise.
   */
  verify(hash: string | null, password: string, visit?: HashVisit): Promise<boolean>
  /** Returns whether the parameters of the hash differ from the current parameters. */
  outdated(hash: string): boolean
}

/** A verification for a caller who may be an attacker. */
export interface HashVisit {
  /** Whether the caller waits in the line of known callers. */
  isKnown: boolean
  /** Runs after the wait, before the verification. Its error ends the call without a verification. */
  onEntered(): Promise<void>
}
