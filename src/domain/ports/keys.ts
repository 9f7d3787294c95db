import type { Caller } from '../caller.ts'
import type { Millis, RefreshKey, StoredKey } from '../model.ts'
import type { Page } from './page.ts'

/** The keys and the canary as they were read before a rotation. */
export interface KeyBasis {
  /** The kid of the signing key. */
  signing: string
  /** The kid of the next key. */
  next: string
  /** The sealed canary. It differs after everything was sealed again. */
  canary: string
}

/** The tables that hold sealed values. */
export type SealedTable = 'signing_keys' | 'refresh_keys' | 'sealed_values'

/**
 * The signing keys. There is always one signing key, one next key and one current refresh key: a change of them first takes the
 * lock `keys`. It calls `clock` under the lock, so waiting for the lock makes no key older than it is.
 */
export interface KeyStore {
  /** Returns the keys that are not retired, by age. */
  list(): Promise<StoredKey[]>
  /** Returns all keys, the newest first. */
  page(page: Page): Promise<StoredKey[]>
  /** Returns the signing key; null before the first start. */
  signing(): Promise<StoredKey | null>
  /** Returns a key in any state; null when there is no such key. */
  find(kid: string): Promise<StoredKey | null>
  /**
   * Makes the next key sign, publishes `next`, and lets the previous key verify for `verifiesMs` more without its private part.
   * Does the same for the refresh key. Returns false and changes nothing when `from` no longer holds: of concurrent calls one
   * rotates.
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
   * Retires a key in any state, with an entry in the revocation log. The next key signs in its place, and `next` is published
   * where one is missing then. Changes nothing for a key that is retired or unknown. Returns false and changes nothing when `next`
   * is needed and is null, or was sealed with another key than `canary`.
   */
  compromise(
    caller: Caller,
    retirement: { kid: string; canary: string; next: StoredKey | null; clock: () => Millis }
  ): Promise<boolean>
  /** Retires the keys whose time to verify is over, or only the one named by `kid`, and returns how many. */
  expire(caller: Caller, expiry: { now: Millis; kid?: string }): Promise<number>
  /**
   * Replaces every sealed value by the result of `change`, and returns how many differ. `change` must not wait for anything; an
   * error that it throws leaves all values as they were.
   */
  reseal(caller: Caller, change: (table: SealedTable, id: string, sealed: string) => string): Promise<number>
}
