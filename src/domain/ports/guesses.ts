import type { Millis } from '../model.ts'

/** A counter of attempts. */
export interface GuessCount {
  /** Names the account, the network, or both. */
  key: string
  count: number
  /**
   * The instant of the last attempt; 0 when the next attempt need not wait. For the failures of an account, the instant from which they
   * fade. For a known network, the instant of its login.
   */
  lastAt: Millis
  /** The instant at which the attempts are forgotten. */
  expiresAt: Millis
}

export interface GuessStore {
  /** Returns the stored counters among the keys. Takes no lock. */
  read(keys: string[]): Promise<Map<string, GuessCount>>
  /**
   * Changes counters under a lock on their keys. `decide` gets the counter of each key, with count 0 for a new key, and returns the
   * counters to store. A key that `decide` leaves out keeps its counter; a count of 0 removes the counter. `decide` must not wait for
   * anything.
   */
  count<T>(keys: string[], decide: (counts: Map<string, GuessCount>) => { next: GuessCount[]; result: T }): Promise<T>
}
