import type { Caller } from '../caller.ts'
import type { Millis, RefreshKey, StoredKey } from '../model.ts'
import type { Page } from './page.ts'

/** How a rotation changes the keys of one algorithm. The rotation requires that both keys are still in their states. */
export interface ChainRotation {
  /** The kid of the signing key; null when no key of the algorithm signs. */
  signing: string | null
  /** The kid of the next key; null when there is none. */
  next: string | null
  /** The new next key, while `next` signs; null to end the keys of the algorithm. */
  successor: StoredKey | null
}

/** The tables that hold sealed values. */
export type SealedTable = 'signing_keys' | 'refresh_keys' | 'sealed_values'

/**
 * The signing keys. Each algorithm has at most one signing key and one next key. After the first start there is always one signing key,
 * one next key of its algorithm and one current refresh key, because every change of them first takes the lock `keys`. The change calls `clock` under the lock, so that the wait for the lock does not count as age of a new key.
 */
export interface KeyStore {
  /** Returns the keys that are not retired, oldest first. */
  list(): Promise<StoredKey[]>
  /** Returns all keys, the newest first. */
  page(page: Page): Promise<StoredKey[]>
  /** Returns the signing keys, at most one of each algorithm, the one that was published first before the others. */
  signing(): Promise<StoredKey[]>
  /** Returns a key in any state; null when there is no such key. */
  find(kid: string): Promise<StoredKey | null>
  /**
   * Stores the keys of an algorithm that has none: one that signs and one that is next. Where one of both exists, stores only the other;
   * a key that was next signs. Returns false and changes nothing when the stored canary differs from `canary`.
   */
  begin(
    caller: Caller,
    beginning: { canary: string; signing: StoredKey; next: StoredKey; clock: () => Millis }
  ): Promise<boolean>
  /**
   * Makes the next key of each chain sign and publishes its successor. The previous key loses its private part and verifies for another
   * `verifiesMs`. A chain without successor ends, and its next key is retired. Replaces the refresh key, if one is given; the previous
   * refresh key verifies for another `refreshVerifiesMs`. Returns false and changes nothing when a key or the canary is another one, so
   * exactly one of concurrent calls rotates.
   * @param rotation `canary` is the sealed canary. Its text changes when all values are sealed again
   */
  rotate(
    caller: Caller,
    rotation: {
      canary: string
      chains: ChainRotation[]
      refreshKey: RefreshKey | null
      verifiesMs: Millis
      refreshVerifiesMs: Millis
      clock: () => Millis
    }
  ): Promise<boolean>
  /**
   * Retires a key and appends an entry to the revocation log. If the key was the signing key, the next key of its algorithm
   * signs. If it was the signing key or the next key, `next`, which has the same algorithm, becomes the next key. For a key that is
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
