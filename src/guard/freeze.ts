import type { Timer } from './timer.ts'

/** Milliseconds from one heartbeat to the next. */
const BEAT_MS = 1000
/** Milliseconds by which a heartbeat may be late before the process counts as frozen. A shorter freeze is ignored. */
const LATE_MS = 1000

/**
 * Notices that the process did not run for a while: its container or machine was frozen between two requests, as on AWS Lambda or on a
 * laptop. During the freeze no timer ran, so no time limit was reached.
 */
export function createFreezeDetector(timer: Timer) {
  const stop = new AbortController()
  let beatAt = timer.elapsed()

  async function beat(): Promise<void> {
    while (!stop.signal.aborted) {
      await timer.sleep(BEAT_MS, stop.signal).catch(() => {})
      // A late heartbeat does not change `beatAt`, so that the next request notices the freeze.
      if (timer.elapsed() - beatAt <= BEAT_MS + LATE_MS) beatAt = timer.elapsed()
    }
  }

  return {
    start(): void {
      beatAt = timer.elapsed()
      void beat()
    },

    stop: () => stop.abort(),

    /** Returns whether the process was frozen since the last call. */
    wasFrozen(): boolean {
      const isLate = timer.elapsed() - beatAt > BEAT_MS + LATE_MS
      if (isLate) beatAt = timer.elapsed()
      return isLate
    }
  }
}
