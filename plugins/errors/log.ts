import type { FastifyRequest } from 'fastify'
import { RequestOver } from '../../src/deadline.ts'
import { defined } from '../../src/defined.ts'
import { DomainError, Overloaded } from '../../src/domain/errors.ts'
import type { Failure } from './failure.ts'

/** Minimum milliseconds between two equal lines about refusals whose cause is the service or its database. */
const SAMPLE_MS = 1000
/** Maximum number of texts whose lines are counted. The texts are few: they come from this service and its database. */
const TEXTS_MAX = 100

interface Line {
  level: 'warn' | 'error'
  text: string
  members: Record<string, string>
}

/**
 * Creates the function that logs failures with the status 429 or 5xx, and refusals of pages that have a reason. Other refusals get only the
 * line of their request, and a 429 with an event gets no second line. Only a defect of Latchkey (500) has a stack. Refusals for overload
 * share one line a second. Equal refusals because the database is away or the request took too long share one, too: a refusal must cost less
 * than the work that it refuses.
 */
export function createFailureLog() {
  /** When a line was last written, and the number of refusals without a line since. */
  const samples = new Map<string, { at: number; refused: number }>()

  function sample({ log }: FastifyRequest, { level, text, members }: Line): void {
    const key = JSON.stringify([text, members])
    if (samples.size >= TEXTS_MAX) samples.clear()
    const last = samples.get(key) ?? { at: Number.NEGATIVE_INFINITY, refused: 0 }
    const now = performance.now()
    const isDue = now - last.at >= SAMPLE_MS
    if (isDue) log[level]({ ...members, requests: last.refused + 1 }, text)
    samples.set(key, isDue ? { at: now, refused: 0 } : { ...last, refused: last.refused + 1 })
  }

  return (error: unknown, failure: Failure, request: FastifyRequest): void => {
    const { log } = request
    if (error instanceof Overloaded) {
      const text = 'logins were refused, because too many wait for a password hash'
      sample(request, { level: 'warn', text, members: {} })
      // Omits the line of plugins/request-log.ts, which a flood would write for each refusal.
      log.level = 'silent'
    } else if (error instanceof RequestOver) {
      if (error.callerLeft) log.debug(error.message)
      else sample(request, { level: 'warn', text: error.message, members: {} })
    } else if (failure.reason !== undefined) log.info({ refused: failure.reason }, failure.detail)
    else if (failure.status === 500) log.error({ err: error }, 'request failed')
    else if (failure.status > 500) {
      const { message, cause } = error as Error
      const members = defined({
        reason: message === failure.detail ? undefined : message,
        cause: cause instanceof Error ? cause.message : undefined
      })
      sample(request, { level: 'error', text: failure.detail, members })
    } else if (failure.status === 429 && !(error instanceof DomainError && error.isRecorded))
      log.warn({ address: request.ip }, failure.detail)
  }
}
