import type { FastifyError } from 'fastify'
import { RequestOver } from '../../src/deadline.ts'
import { defined } from '../../src/defined.ts'
import { NoReturn, type NoReturnReason } from '../../src/domain/authorization-errors.ts'
import { DomainError, type DomainErrorCode, OAuthError, SetupError } from '../../src/domain/errors.ts'
import { AccessError } from '../../src/guard/errors.ts'
import type { Failure } from './failure.ts'

/** A request whose path exists, but not with the method of the request. */
export class MethodNotAllowed extends Error {
  readonly allow: string[]

  constructor(allow: string[]) {
    super('The path does not have this method')
    this.name = 'MethodNotAllowed'
    this.allow = allow
  }
}

/** The details of refusals by Fastify and Node.js, by status. Their own messages contain parts of the request. */
const FRAMEWORK_DETAIL: Record<number, string> = {
  400: 'The request is malformed',
  404: 'The path does not exist',
  408: 'The request took too long to arrive',
  413: 'The body is too large',
  414: 'The path is too long',
  415: 'The type of the body is not supported',
  431: 'The headers are too large'
}

/** Returns the failure for a status with which Fastify or Node.js refuses a request; undefined for any other status. */
export function frameworkFailure(status: number): Failure | undefined {
  const detail = FRAMEWORK_DETAIL[status]
  return detail === undefined ? undefined : { status, code: 'invalid_request', detail }
}

/** Returns the failure for a body that the route cannot read. @param type the media type that the route accepts */
export const unsupported = (type: string): Failure => ({
  status: 415,
  code: 'invalid_request',
  detail: `The body must be ${type} in UTF-8, and not compressed`
})

export const MALFORMED = frameworkFailure(400) as Failure
export const NOT_FOUND = frameworkFailure(404) as Failure

/** Returns the failure for an error that was thrown while a request was handled. The failure for an unknown error has the status 500. */
export function failureOf(error: unknown): Failure {
  if (error instanceof OAuthError) return oauthFailure(error)
  if (error instanceof AccessError) return accessFailure(error)
  if (error instanceof DomainError) return domainFailure(error)
  if (error instanceof NoReturn) return pageFailure(error)
  if (error instanceof RequestOver) return unavailable(error.message, 1)
  if (error instanceof SetupError) return unavailable('The service is not ready', 10)
  if (error instanceof MethodNotAllowed) {
    const headers = { allow: error.allow.join(', ') }
    return { status: 405, code: 'invalid_request', detail: error.message, headers }
  }
  return fastifyFailure((error ?? {}) as Partial<FastifyError>)
}

/** The reasons for which a form is refused, although it is well-formed (RFC 9110 §15.5.4). */
const FORBIDDEN: NoReturnReason[] = ['cookies_off', 'form_over', 'cross_site']

function pageFailure({ message: detail, reason }: NoReturn): Failure {
  return { ...MALFORMED, status: FORBIDDEN.includes(reason) ? 403 : 400, detail, reason }
}

/** Returns the failure of RFC 6749 §5.2. */
function oauthFailure({ code, message: detail }: OAuthError): Failure {
  if (code !== 'invalid_client') return { status: 400, code, detail }
  return { status: 401, code, detail, headers: { 'www-authenticate': 'Basic realm="latchkey"' } }
}

/**
 * Returns the failure of RFC 6750 §3. Its error code is in the challenge. `code` is sent by the shape `oauth` only, and no route with this
 * shape accepts a Bearer token: such a route sends only the refusal of a repeated header, which is `invalid_request`.
 */
function accessFailure({ statusCode: status, message: detail, headers }: AccessError): Failure {
  return { status, code: 'invalid_request', detail, headers }
}

const DOMAIN_STATUS: Record<Exclude<DomainErrorCode, 'forbidden'>, number> = {
  invalid: 400,
  not_found: 404,
  conflict: 409,
  throttled: 429,
  unavailable: 503
}

function domainFailure({ code, message: detail, retryAfter }: DomainError): Failure {
  if (code === 'forbidden') return accessFailure(new AccessError('insufficient_scope', detail))
  if (code === 'throttled' || code === 'unavailable') return unavailable(detail, retryAfter, DOMAIN_STATUS[code])
  return { status: DOMAIN_STATUS[code], code: 'invalid_request', detail }
}

/** @param retryAfter seconds; undefined when the time is unknown */
function unavailable(detail: string, retryAfter: number | undefined, status = 503): Failure {
  return {
    status,
    code: 'temporarily_unavailable',
    detail,
    headers: defined({ 'retry-after': retryAfter?.toString() })
  }
}

function fastifyFailure({
  validation,
  validationContext,
  code = '',
  statusCode = 500
}: Partial<FastifyError>): Failure {
  if (validation !== undefined)
    return validationFailure(validation, validationContext === 'querystring' ? 'query' : (validationContext ?? 'body'))
  if (code === 'FST_STATIC_FORBIDDEN_PATH') return NOT_FOUND
  const refusal = code.startsWith('FST_ERR_') ? frameworkFailure(statusCode) : undefined
  return refusal ?? { status: 500, code: 'server_error', detail: 'The server failed' }
}

/** Maximum number of invalid parts that one response lists. */
const MAX_ERRORS = 50

type ValidationItem = NonNullable<FastifyError['validation']>[number]

function validationFailure(items: ValidationItem[], part: string): Failure {
  const long = items.find(({ keyword }) => keyword === 'maxBytes')
  const missing = items.find(({ keyword }) => keyword === 'required')
  let detail = 'The request does not have the form that the documentation describes'
  if (missing !== undefined) detail = `The parameter ${missing.params.missingProperty} is missing`
  else if (long !== undefined) detail = `A text of the request has more than ${long.params.limit} bytes`
  else if (part === 'query') detail = 'The query does not have the form that the documentation describes'
  const errors = items.slice(0, MAX_ERRORS).map((item) => ({
    pointer: `/${part}${item.instancePath}${memberPointer(item)}`,
    detail: item.message ?? item.keyword
  }))
  return { status: 400, code: 'invalid_request', detail, errors }
}

/** Returns the last part of the JSON pointer (RFC 6901 §3) to a missing or unknown member. */
function memberPointer({ keyword, params }: ValidationItem): string {
  const name =
    (keyword === 'required' && params.missingProperty) ||
    (keyword === 'additionalProperties' && params.additionalProperty)
  return typeof name === 'string' ? `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}` : ''
}
