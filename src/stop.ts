/** After that long the process ends, whatever is still under way. */
const STOP_MS = 9000
/** A signal so soon after the first is the same one: a terminal gives it to npm and to the service, and npm passes it on. */
const SAME_MS = 500

/**
 * Lets the process end well: at the first signal by `stop`, then with exit code 0; at a second one at once, with 1. An error
 * that nothing catches ends it at once too: what holds then nobody knows.
 */
export function endWell(stop: () => Promise<void>, fail: (error: unknown) => void): void {
  let first: number | undefined
  const onSignal = () => {
    if (first !== undefined && performance.now() - first > SAME_MS) process.exit(1)
    if (first !== undefined) return
    first = performance.now()
    setTimeout(() => process.exit(1), STOP_MS)
    stop().then(() => process.exit(0), onError)
  }
  const onError = (error: unknown) => {
    fail(error)
    process.exit(1)
  }
  // Never taken away: between two handlers a signal would end the process by itself.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal)
  process.on('uncaughtException', onError)
  process.on('unhandledRejection', onError)
}
