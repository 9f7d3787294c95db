import type { Caller } from '../caller.ts'
import type { Millis, RefreshKey, StoredKey } from '../model.ts'
import type { Page } from './page.ts'

/** The keys and the canary that were read before a rotation. The rotation requires that they are still the same. */
export interface KeyBasis {
  /** The kid of the signing key. */
  signing: string
  /** The kid of the next key. */
  next: string
  /** The sealed canary. Its text changes when all values are sealed again. */
  canary: string
}

/** The tables that hold sealed values. */
export type SealedTable = 'signing_keys' | 'refresh_keys' | 'sealed_values'

/**
 * The signing keys. After the first start there is always one signing key, one next key and one current refresh key, because every
 * change of them first takes the lock `keys`. The change calls `clock` under the lock, so that the wait for the lock does not count as age of a new key.
 */
export interface KeyStore {
  /** Returns the keys that are not retired, oldest first. */
  list(): Promise<StoredKey[]>
  /** Returns all keys, the newest first. */
  page(page: Page): Promise<StoredKey[]>
  /** Returns the signing key; null before the first start. */
  signing(): Promise<StoredKey | null>
  /** Returns a key in any state; null when there is no such key. */
  find(kid: string): Promise<StoredKey | null>
  /**
   * Makes the next key sign and publishes `next`. The previous key loses its private part and verifies for another `verifiesMs`. Also
   * replaces the refresh key; the previous refresh key verifies for another `refreshVerifiesMs`. Returns false and changes nothing when the keys or the canary differ from `from`, so
   * exactly one of concurrent calls rotates.
   */
  rotate(
    caller: Caller,
    rotation: {
      from: KeyBasis
      next: StoredKey
      refreshKey: RefreshKey
      verifiesMs: Millis
      refreshVerifiesMs: Millis
      clock: () => Millis
    }
  ): Promise<boolean>
  /**
   * Retires a key and appends an entry to the revocation log. If the key was the signing key, the next key signs. If it was the
   * signing key or the next key, `next` becomes the next key. For a key that is
   * already retired or unknown, changes nothing and returns true. Returns false and changes nothing when a next key is needed, and
   * `next` is null or the stored canary differs from `canary`.
   */
  compromise(
    caller: Caller,
    retirement: { kid: string; canary: string; next: StoredKey | null; clock: () => Millis }
  ): Promise<boolean>
  /** Retires the keys whose `verifiesUntilAt` has passed, or only the key `kid`, and returns how many it retired. */
  expire(caller: Caller, expiry: { now: Millis; kid?: string }): Promise<number>
  /**
   * Ends all sessions, retires all signing keys, deletes all refresh keys, stores the new keys, and appends entries for all tokens and
   * for each key to the revocation log, above every number that the log can have had. Returns how many sessions and keys it ended; null,
   * and changes nothing, when the stored canary differs from `canary`.
   */
  revokeEverything(
    caller: Caller,
    replacement: { canary: string; keys: StoredKey[]; refreshKey: RefreshKey; clock: () => Millis }
  ): Promise<{ sessions: number; keys: number } | null>
  /**
   * Replaces every sealed value by the result of `change`, and returns how many values differ. `change` must not wait for anything.
   * If `change` throws, no value is replaced.
   */
  reseal(caller: Caller, change: (table: SealedTable, id: string, sealed: string) => string): Promise<number>
}
