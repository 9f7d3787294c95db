/**
 * Hashes passwords with argon2id. Works on a fixed number at once and lets a fixed number wait. Beyond that every method that
 * hashes throws `DomainError('unavailable')` before it has done any work.
 */
export interface Hasher {
  /** Returns a PHC string with the current parameters. */
  hash(password: string): Promise<string>
  /** Makes exactly one verification. With null it costs as much as a hash with the current parameters, and returns false. */
  verify(hash: string | null, password: string): Promise<boolean>
  /** Returns whether the hash was made with other parameters than the current ones. */
  outdated(hash: string): boolean
}
