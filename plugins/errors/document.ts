import type { RouteOptions } from 'fastify'
import { defined } from '../../src/defined.ts'
import { http } from '../../src/node-http.ts'
import type { Failure } from './failure.ts'
import { SHAPES, type ShapeName } from './shapes.ts'
import { frameworkFailure, unsupported } from './table.ts'

/** Returns the responses of the OpenAPI document for every failure that the route can send, by status. */
export function errorResponses(route: RouteOptions, name: ShapeName): Record<number, object> {
  return Object.fromEntries(
    statusesOf(route, name).map((status) => [status, errorResponse(exampleOf(status, name), name)])
  )
}

function statusesOf({ method, schema = {}, config = {} }: RouteOptions, name: ShapeName): number[] {
  const { security = [], body } = schema as { security?: object[]; body?: unknown }
  // Fastify parses the body of DELETE and POST even if the route declares no body.
  const parsesBody = body !== undefined || ['DELETE', 'POST'].includes(String(method))
  return [
    400,
    ...(name === 'oauth' ? [401] : security.length > 0 ? [401, 403] : []),
    ...(parsesBody ? [413, 415] : []),
    ...(config.guessable ? [429] : []),
    ...(config.standalone ? [] : [500, 503])
  ]
}

const EXAMPLES: Record<number, [code: string, detail: string]> = {
  401: ['invalid_client', 'Could not validate credentials'],
  403: ['insufficient_scope', 'The token lacks the scope users:read'],
  429: ['temporarily_unavailable', 'Too many failed attempts'],
  500: ['server_error', 'The server failed'],
  503: ['temporarily_unavailable', 'The database is not available']
}

const CHALLENGE = {
  'WWW-Authenticate': { type: 'string', description: 'The challenge (RFC 9110 §11.6.1)' }
}
const RETRY = { 'Retry-After': { type: 'integer', description: 'Seconds' } }
const HEADERS: Record<number, object> = { 401: CHALLENGE, 403: CHALLENGE, 429: RETRY, 503: RETRY }

function exampleOf(status: number, name: ShapeName): Failure {
  if (status === 415) return unsupported(SHAPES[name].accepts)
  const [code, detail] = EXAMPLES[status] ?? []
  if (code !== undefined && detail !== undefined) return { status, code, detail }
  return frameworkFailure(status) as Failure
}

function errorResponse(failure: Failure, name: ShapeName): object {
  const { status } = failure
  const { mediaType, schema, body } = SHAPES[name]
  const headers = HEADERS[status]
  return {
    description: http.STATUS_CODES[status],
    content: {
      [mediaType]: { schema: schema.$id === undefined ? schema : { $ref: schema.$id }, example: body(failure) }
    },
    ...defined({ headers })
  }
}
