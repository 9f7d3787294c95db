/** What time it is for the packages that run in other people's services: milliseconds since 1970. */
export interface Clock {
  now(): number
}

export const systemClock: Clock = { now: Date.now }
