import type { FastifyRequest } from 'fastify'
import { RequestOver } from '../../src/deadline.ts'
import { defined } from '../../src/defined.ts'
import { DomainError, Overloaded } from '../../src/domain/errors.ts'
import type { Failure } from './failure.ts'

/** Milliseconds between two lines about refusals for overload. */
const SAMPLE_MS = 1000

/**
 * Creates the function that logs failures, in one line each. Only an error that is a defect of Latchkey has a stack. Refusals for overload
 * share one line a second, because each must cost less than the work that it refuses.
 */
export function createFailureLog() {
  let lastSample = Number.NEGATIVE_INFINITY
  let refused = 0

  /**
   * Counts a refusal for overload, and logs the count at most once in `SAMPLE_MS`. Silences the log of the request, so
   * that a flood does not write a line for each refusal.
   */
  function sample(request: FastifyRequest): void {
    refused++
    const now = performance.now()
    if (now - lastSample >= SAMPLE_MS) {
      request.log.warn({ logins: refused }, 'logins were refused, because too many wait for a password hash')
      lastSample = now
      refused = 0
    }
    request.log.level = 'silent'
  }

  return (error: unknown, failure: Failure, request: FastifyRequest): void => {
    const { log } = request
    if (error instanceof Overloaded) sample(request)
    else if (error instanceof RequestOver) log[error.callerLeft ? 'debug' : 'warn'](error.message)
    else if (failure.status === 500) log.error({ err: error }, 'request failed')
    else if (failure.status > 500) {
      const { message, cause } = error as Error
      log.error(
        defined({
          reason: message === failure.detail ? undefined : message,
          cause: cause instanceof Error ? cause.message : undefined
        }),
        failure.detail
      )
    } else if (failure.status === 429 && !(error instanceof DomainError && error.isRecorded))
      log.warn({ address: request.ip }, failure.detail)
  }
}
