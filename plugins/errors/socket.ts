import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { http } from '../../src/node-http.ts'
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
  void sendFailure(reply, failureOf(error), 'problem')
}

/** The responses of each connection that are not complete, in the order of their requests. */
const openResponses = new WeakMap<Socket, Set<ServerResponse>>()
/** The connections with a request that Node.js refused. It reports an error again for each further piece of their bytes. */
const broken = new WeakSet<Socket>()

/** Follows the responses of a server, so that a refusal by Node.js waits for the responses to earlier requests. */
export function followResponses(server: Server): void {
  server.on('request', ({ socket }, response) => {
    const responses = openResponses.get(socket) ?? new Set()
    openResponses.set(socket, responses.add(response))
    response.once('close', () => responses.delete(response))
  })
}

/**
 * Waits for the responses to all complete requests of a connection. Returns the response to the request that is not complete, if the
 * connection has one.
 */
async function awaitEarlierResponses(socket: Socket): Promise<ServerResponse | undefined> {
  for (const response of openResponses.get(socket) ?? []) {
    if (!response.req.complete) return response
    await new Promise((resolve) => response.once('close', resolve))
  }
  return undefined
}

/**
 * Handles a request that Node.js refuses before it is complete, because it is malformed or too slow, and closes the connection. Logs the code only, because the error contains
 * the bytes of the request.
 */
export async function clientErrorHandler(
  this: FastifyInstance,
  error: Error & { code?: string },
  socket: Socket
): Promise<void> {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  if (broken.has(socket)) return
  broken.add(socket)
  this.log.debug({ code: error.code }, 'refused by Node.js')
  const incomplete = await awaitEarlierResponses(socket)
  if (!socket.writable) return
  // A response was sent before the body had arrived, so no second one may follow.
  if (incomplete?.headersSent) return void socket.destroySoon()
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  const body = JSON.stringify(problem.body(frameworkFailure(status) as Failure))
  const headers = {
    ...BARE_HEADERS,
    'content-type': `${problem.mediaType}; charset=utf-8`,
    'content-length': Buffer.byteLength(body)
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}
