import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Failure } from './failure.ts'
import { problem } from './problem.ts'
import { sendFailure } from './shapes.ts'
import { failureOf, frameworkFailure } from './table.ts'

/** Headers of responses for which no hook runs. The connection closes after such a response. */
const BARE_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  connection: 'close'
}

/** Handles a request that Fastify refuses before it finds a route. Logs the method and the code, because the message contains the URL. */
export function frameworkErrors(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  request.log.info({ method: request.method, code: error.code }, 'refused before routing')
  reply.headers(BARE_HEADERS)
  sendFailure(reply, failureOf(error), 'problem')
}

/**
 * Handles a request that the HTTP parser of Node.js refuses, and closes the connection. Logs the code only, because the error contains
 * the bytes of the request.
 */
export function clientErrorHandler(this: FastifyInstance, error: Error & { code?: string }, socket: Socket): void {
  this.log.debug({ code: error.code }, 'refused by the HTTP parser')
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  const body = JSON.stringify(problem.body(frameworkFailure(status) as Failure))
  const headers = {
    ...BARE_HEADERS,
    'content-type': `${problem.mediaType}; charset=utf-8`,
    'content-length': Buffer.byteLength(body)
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}
