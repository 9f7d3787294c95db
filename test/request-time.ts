import type { Test } from 'tap'
import type { RequestTime } from '../src/deadline.ts'

/** Returns the time of a request that ends after these milliseconds, and a function that closes the connection of its caller. */
export function requestTime(milliseconds = 60_000): { time: RequestTime; leave: () => void } {
  const caller = new AbortController()
  return {
    time: { endsAt: performance.now() + milliseconds, signal: caller.signal },
    leave: () => caller.abort()
  }
}

/** Replaces `performance.now` by a clock that stands still until it is moved, at a whole number: sums and differences are exact. */
export function stopClock(t: Test): { advance: (milliseconds: number) => void } {
  let now = Math.ceil(performance.now())
  t.intercept(performance, 'now', { value: () => now })
  return { advance: (milliseconds) => (now += milliseconds) }
}
