/** The source of time of the packages that run in other services. */
export interface Clock {
  /** Returns milliseconds since the epoch. */
  now(): number
}

export const systemClock: Clock = { now: Date.now }
