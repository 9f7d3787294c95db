import { callerSignal, RequestOver, timeLeft } from './deadline.ts'
import type { Leave } from './queue.ts'

export interface AdmissionOptions {
  /** Maximum number of callers that are inside at the same time, at least 1. */
  concurrency: number
  /** The longest wait that a caller is admitted for, in milliseconds. */
  maxWaitMs: number
  /** The expected length of the first visits, in milliseconds. Later the lengths are measured. */
  firstVisitMs: number
  /** Returns the error for a caller that would wait too long. @param waitMs the expected wait */
  refuse: (waitMs: number) => Error
}

/** The part of the latest visit in the moving average of their lengths. */
const WEIGHT = 0.1
const SHORTEST_VISIT_MS = 1

/**
 * Creates a queue with two lines, which take turns. It admits a caller only if the expected wait is short enough: the measured length of
 * a visit times the callers before it. The expected wait gives every second turn to the other line, even if nobody waits there. So a
 * long line never makes the queue refuse callers of the other line. Drops a waiting caller that closes its connection.
 */
export function createAdmission({ concurrency, maxWaitMs, firstVisitMs, refuse }: AdmissionOptions) {
  const lines = { known: [] as (() => void)[], unknown: [] as (() => void)[] }
  let inside = 0
  let visitMs = firstVisitMs
  let next: keyof typeof lines = 'known'

  function enterNext(): void {
    const other = next === 'known' ? 'unknown' : 'known'
    const line = lines[next].length > 0 ? next : other
    next = line === 'known' ? 'unknown' : 'known'
    const enter = lines[line].shift()
    if (enter === undefined) inside--
    else enter()
  }

  function visit(): Leave {
    const since = performance.now()
    let left = false
    return () => {
      if (left) return
      left = true
      visitMs = Math.max(SHORTEST_VISIT_MS, visitMs + WEIGHT * (performance.now() - since - visitMs))
      enterNext()
    }
  }

  function wait(line: (() => void)[], expectedMs: number): Promise<void> {
    const signal = callerSignal()
    const left = timeLeft()
    return new Promise((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const giveUp = (error: Error) => {
        stop()
        line.splice(line.indexOf(enter), 1)
        reject(error)
      }
      const onAbort = () => giveUp(new RequestOver({ callerLeft: true }))
      const enter = () => {
        stop()
        resolve()
      }
      const onTimeout = () => giveUp(left < maxWaitMs ? new RequestOver({ callerLeft: false }) : refuse(expectedMs))
      const timer = setTimeout(onTimeout, Math.min(left, maxWaitMs))
      signal?.addEventListener('abort', onAbort)
      line.push(enter)
    })
  }

  return {
    /**
     * Waits until the caller may enter. The caller must call the returned function when it is done.
     * @param isKnown selects the line
     * @throws the error of `refuse`: at once if the expected wait is too long, else after `maxWaitMs`; RequestOver when the caller leaves
     *   or its request ends
     */
    async enter(isKnown: boolean): Promise<Leave> {
      if (callerSignal()?.aborted === true) throw new RequestOver({ callerLeft: true })
      if (inside < concurrency) {
        inside++
        return visit()
      }
      const line = lines[isKnown ? 'known' : 'unknown']
      const expectedMs = ((2 * line.length + 1) * visitMs) / concurrency
      // The first caller of a line is always admitted, so that long visits do not close the queue.
      if (line.length > 0 && expectedMs > maxWaitMs) throw refuse(expectedMs)
      await wait(line, expectedMs)
      return visit()
    },

    /** Returns the number of waiting callers, the number of callers inside, and the measured length of a visit in milliseconds. */
    status: () => ({ waiting: lines.known.length + lines.unknown.length, inside, visitMs })
  }
}
