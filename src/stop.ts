/** Milliseconds after which the process ends, also with work under way. */
const STOP_MS = 9000
/**
 * Milliseconds in which a second signal counts as the first one. A terminal sends a signal to npm and to the service, and npm
 * passes it on.
 */
const SAME_SIGNAL_MS = 500

/**
 * Ends the process at a signal: at the first one with exit code 0 once `stop` has resolved, at a second one at once with exit
 * code 1. An uncaught error ends the process at once too, because its state is unknown then.
 * @param fail reports the error
 */
export function endWell(stop: () => Promise<void>, fail: (error: unknown) => void): void {
  let first: number | undefined
  const onSignal = () => {
    if (first !== undefined && performance.now() - first > SAME_SIGNAL_MS) process.exit(1)
    if (first !== undefined) return
    first = performance.now()
    setTimeout(() => process.exit(1), STOP_MS)
    stop().then(() => process.exit(0), onError)
  }
  const onError = (error: unknown) => {
    fail(error)
    process.exit(1)
  }
  // The handlers stay for good: without one, a signal would end the process by itself.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal)
  process.on('uncaughtException', onError)
  process.on('unhandledRejection', onError)
}
