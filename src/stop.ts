/** Milliseconds from the first signal to the exit of the process when `stop` has not resolved. */
const STOP_MS = 9000
/**
 * Milliseconds in which a second signal counts as the first signal. A terminal sends a signal to npm and to the service, and npm also
 * passes the signal on to the service.
 */
const SAME_SIGNAL_MS = 500

/**
 * Installs handlers that end the process. After a first signal the process exits with code 0 when `stop` has resolved. After a second
 * signal it exits at once with code 1. After an uncaught error it also exits at once with code 1, because the state of the process is
 * unknown.
 * @param stop gets the name of the first signal
 * @param fail reports the error
 */
export function installExitHandlers(
  stop: (signal: NodeJS.Signals) => Promise<void>,
  fail: (error: unknown) => void
): void {
  let first: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (first !== undefined && performance.now() - first > SAME_SIGNAL_MS) process.exit(1)
    if (first !== undefined) return
    first = performance.now()
    setTimeout(() => process.exit(1), STOP_MS)
    stop(signal).then(() => process.exit(0), onError)
  }
  const onError = (error: unknown) => {
    fail(error)
    process.exit(1)
  }
  // The handlers are never removed: without a handler, a signal would end the process at once.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, onSignal)
  process.on('uncaughtException', onError)
  process.on('unhandledRejection', onError)
}
