import { RequestOver, runOutsideRequest, timeLeft, untilDeadline } from '../deadline.ts'
import { POSTGRES_CONNECT_MS } from '../limits.ts'
import { connectionFailure } from './postgres-failures.ts'

/** Maximum number of batches that run at the same time. The second one keeps a connection without a response from stopping all calls. */
const RUNNING = 2
const CALLS = 100

interface Waiting<Values, Result> {
  values: Values
  since: number
  /** The instant of `performance.now()` at which the request of the call ends. */
  endsAt: number
  resolve(result: Result | Promise<Result>): void
  reject(error: unknown): void
}

/**
 * Returns a function that runs a call together with other calls. A call waits for the end of this turn of the event loop, and while two
 * batches run, but never longer than its request may take. When a batch ends, calls that have waited longer than a connection may take are
 * refused, because the database is too slow.
 * @param runAll runs a batch of at most `CALLS` calls, and returns the results in the order of the calls
 */
export function createBatches<Values, Result>(
  runAll: (calls: Values[]) => Promise<(Result | Promise<Result>)[]>
): (values: Values) => Promise<Result> {
  const waiting: Waiting<Values, Result>[] = []
  let running = 0

  function start(): void {
    const oldest = performance.now() - POSTGRES_CONNECT_MS
    while (waiting[0] !== undefined && waiting[0].since < oldest)
      waiting.shift()?.reject(connectionFailure(new Error('all connections are in use')))
    while (running < RUNNING && waiting.length > 0) {
      const batch = waiting.splice(0, CALLS).filter(isInTime)
      if (batch.length > 0) void run(batch)
    }
  }

  /** Rejects a call whose request has ended: its caller would not learn that a refresh token was used. */
  function isInTime({ endsAt, reject }: Waiting<Values, Result>): boolean {
    const isOver = performance.now() >= endsAt
    if (isOver) reject(new RequestOver({ callerLeft: false }))
    return !isOver
  }

  async function run(batch: Waiting<Values, Result>[]): Promise<void> {
    running++
    try {
      const results = await runAll(batch.map(({ values }) => values))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result | Promise<Result>)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    running--
    start()
  }

  return (values) => {
    const result = new Promise<Result>((resolve, reject) => {
      // A batch must not end at the deadline of one of its callers.
      const since = performance.now()
      if (waiting.push({ values, since, endsAt: since + timeLeft(), resolve, reject }) === 1)
        runOutsideRequest(() => setImmediate(start))
    })
    return untilDeadline(result, () => {})
  }
}
