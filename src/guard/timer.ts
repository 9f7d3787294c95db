import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../token/clock.ts'

/** Time for ages and pauses. Setting the clock of the machine back does not change it. */
export interface Timer {
  /** Returns the milliseconds since an instant that never changes, also those in which the machine slept. */
  elapsed(): number
  /** Resolves after `ms` milliseconds. Rejects when the signal aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** Milliseconds by which the clock must get ahead of the time of the process between two calls to count as sleep. */
const SLEEP_MS = 1000

/**
 * Adds the sleep of the machine to the time of the process, which stands still meanwhile. A clock that is set forward counts as sleep
 * too, which makes everything older. A clock that is set back changes nothing.
 * @param monotonic returns the milliseconds of the process
 * @param wall returns the milliseconds of the clock
 */
export function withSleep(monotonic: () => number, wall: () => number): () => number {
  let slept = 0
  let ahead = wall() - monotonic()
  return () => {
    const at = monotonic()
    const difference = wall() - at
    if (difference - ahead > SLEEP_MS) slept += difference - ahead
    ahead = difference
    return at + slept
  }
}

export const systemTimer: Timer = {
  elapsed: withSleep(() => performance.now(), systemClock.now),
  sleep: (ms, signal) => sleep(ms, undefined, { signal })
}

/**
 * Returns the result of the promise, or rejects with the reason of the signal when the signal aborts first. A signal that was aborted
 * before the call has no effect.
 */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  return Promise.race([promise, aborted])
}
