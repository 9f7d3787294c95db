import type { Millis } from '../model.ts'

/** The only source of time of the domain. */
export interface Clock {
  /** Returns the current instant. */
  now(): Millis
  /** Waits for a span of time. */
  sleep(span: Millis): Promise<void>
}
