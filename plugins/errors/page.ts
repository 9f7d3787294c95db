import type { NoReturnReason } from '../../src/domain/authorization-errors.ts'
import type { Failure, Shape } from './failure.ts'

/** The format of failures for browsers. `reply.page` writes the page; `body` is only the example in the OpenAPI document. */
export const page: Shape = {
  mediaType: 'text/html',
  accepts: 'application/x-www-form-urlencoded',
  schema: { type: 'string' } as object,
  body: () => '<!doctype html>'
}

/** Returns the reason that the page of a failure explains. */
export function reasonOf({
  status,
  reason
}: Failure): NoReturnReason | 'not_found' | 'throttled' | 'unavailable' | 'invalid' | 'defect' {
  if (reason !== undefined) return reason
  if (status === 404) return 'not_found'
  if (status === 429) return 'throttled'
  if (status === 503) return 'unavailable'
  return status === 500 ? 'defect' : 'invalid'
}
