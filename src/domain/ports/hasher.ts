/**
 * Hashes passwords with argon2id. Runs a limited number of calls at once, and a limited number of calls wait. Beyond that `hash` and
 * `verify` throw `DomainError('unavailable')` before they do any work.
 */
export interface Hasher {
  /** Returns a PHC string with the current parameters. */
  hash(password: string): Promise<string>
  /** Verifies exactly one hash. With null it takes as long as with a hash of the current parameters, and returns false. */
  verify(hash: string | null, password: string): Promise<boolean>
  /** Returns whether the parameters of the hash differ from the current parameters. */
  outdated(hash: string): boolean
}
