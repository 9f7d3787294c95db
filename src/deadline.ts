import { AsyncLocalStorage } from 'node:async_hooks'

/** How long one request may still take. */
export interface RequestTime {
  /** The instant of `performance.now()` at which the request ends. */
  endsAt: number
  /** Aborted when the connection of the caller closes. */
  readonly signal: AbortSignal
}

/** A request that ended before its response was ready: it reached its deadline, or its caller closed the connection. */
export class RequestOver extends Error {
  readonly callerLeft: boolean

  constructor({ callerLeft }: { callerLeft: boolean }) {
    super(callerLeft ? 'The caller has closed the connection' : 'The request took too long')
    this.name = 'RequestOver'
    this.callerLeft = callerLeft
  }
}

const requests = new AsyncLocalStorage<RequestTime>()

/** Runs a function, and everything that it starts, as part of a request. */
export const runInRequest = <T>(time: RequestTime, work: () => T): T => requests.run(time, work)

/**
 * Runs a function, and everything that it starts, without the deadline of the current request: for work
 * for several callers, and for work that must also run after the deadline.
 */
export const runOutsideRequest = <T>(work: () => T): T => requests.exit(work)

/** Returns the milliseconds until the deadline of the current request, 0 after it. Infinite outside of a request. */
export function timeLeft(): number {
  const time = requests.getStore()
  return time === undefined ? Number.POSITIVE_INFINITY : Math.max(0, time.endsAt - performance.now())
}

/** Checks the deadline before a step of the current request. @throws RequestOver after the deadline */
export function assertTimeLeft(): void {
  if (timeLeft() === 0) throw new RequestOver({ callerLeft: false })
}

/** Returns the signal of the current request; undefined outside of a request. */
export const callerSignal = (): AbortSignal | undefined => requests.getStore()?.signal

/** Checks before a step that the deadline has not passed and that the caller still waits for the response. @throws RequestOver */
export function assertCallerWaits(): void {
  assertTimeLeft()
  if (callerSignal()?.aborted === true) throw new RequestOver({ callerLeft: true })
}

/** Moves the deadline of the current request: a step that cannot be stopped and does not count, such as a password hash, took this time. */
export function prolong(milliseconds: number): void {
  const time = requests.getStore()
  if (time !== undefined) time.endsAt += milliseconds
}

/**
 * Waits for a promise until the deadline of the current request.
 * @param late gets the result if it arrives after the deadline
 * @throws RequestOver at the deadline, and the error of the promise
 */
export function untilDeadline<T>(promise: Promise<T>, late: (result: T) => void): Promise<T> {
  const left = timeLeft()
  if (left === Number.POSITIVE_INFINITY) return promise
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      reject(new RequestOver({ callerLeft: false }))
    }, left)
    promise.then(
      (result) => {
        clearTimeout(timer)
        if (isLate) late(result)
        else resolve(result)
      },
      (error) => {
        clearTimeout(timer)
        reject(error)
      }
    )
  })
}
