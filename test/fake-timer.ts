import type { Timer } from '../src/guard/timer.ts'

/** Turns of the event loop that complete everything that waits neither for time nor for the network. */
const TURNS = 20

/** Waits until everything is done that waits neither for time nor for the network. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate)
}

export interface FakeTimer extends Timer {
  /** Moves the time, and ends every sleep in between when its time has come. */
  advance(ms: number): Promise<void>
  /** Moves the time as while the process is frozen: sleeps end only at the next `advance`. */
  freeze(ms: number): void
  /** Returns the number of sleeps that have not ended. */
  sleeping(): number
}

/** Creates a timer that moves only by `advance` and `freeze`. */
export function createFakeTimer(): FakeTimer {
  let now = 0
  const sleeps = new Set<{ until: number; wake: () => void }>()

  return {
    elapsed: () => now,
    sleeping: () => sleeps.size,

    freeze(ms) {
      now += ms
    },

    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted()
        const sleep = { until: now + ms, wake: resolve }
        sleeps.add(sleep)
        signal?.addEventListener('abort', () => {
          sleeps.delete(sleep)
          reject(signal.reason)
        })
      }),

    async advance(ms) {
      const end = now + ms
      for (;;) {
        await settle()
        const [next] = [...sleeps].filter(({ until }) => until <= end).sort((a, b) => a.until - b.until)
        if (next === undefined) break
        now = Math.max(now, next.until)
        sleeps.delete(next)
        next.wake()
      }
      now = end
    }
  }
}
