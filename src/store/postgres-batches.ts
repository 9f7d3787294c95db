import { runOutsideRequest, untilDeadline } from '../deadline.ts'
import { POSTGRES_CONNECT_MS } from '../limits.ts'
import { connectionFailure } from './postgres-failures.ts'

/** Maximum number of batches that run at the same time. The second one keeps a connection without a response from stopping all calls. */
const RUNNING = 2
const CALLS = 100

interface Waiting<Values, Result> {
  values: Values
  since: number
  resolve(result: Result | Promise<Result>): void
  reject(error: unknown): void
}

/**
 * Returns a function that runs a call together with other calls. A call waits for the end of this turn of the event loop, and while two
 * batches run, for which it waits at most as long as for a connection.
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
    while (running < RUNNING && waiting.length > 0) void run(waiting.splice(0, CALLS))
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
      if (waiting.push({ values, since: performance.now(), resolve, reject }) === 1)
        runOutsideRequest(() => setImmediate(start))
    })
    return untilDeadline(result, () => {})
  }
}
