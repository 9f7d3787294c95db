import { setTimeout as sleep } from 'node:timers/promises'

/** Time for ages and pauses. Setting the clock of the machine does not change it. */
export interface Timer {
  /** Returns the milliseconds since an instant that never changes. */
  elapsed(): number
  /** Resolves after `ms` milliseconds. Rejects when the signal aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemTimer: Timer = {
  elapsed: () => performance.now(),
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
