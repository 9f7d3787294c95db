import type { Millis } from '../model.ts'

/** How often something was tried. */
export interface Tries {
  key: string
  /** 0 for something that was never tried. */
  count: number
  lastAt: Millis
  /** The instant at which the tries are forgotten. */
  expiresAt: Millis
}

export interface GuessStore {
  /** Returns the tries of each key without a lock. */
  read(keys: string[]): Promise<Map<string, Tries>>
  /**
   * Counts under a lock on these keys. `decide` gets the tries of each key and returns the tries to keep instead: a key that it
   * leaves out stays as it is, a count of 0 removes the key. `decide` must not wait for anything.
   */
  count<T>(keys: string[], decide: (tries: Map<string, Tries>) => { next: Tries[]; result: T }): Promise<T>
}
