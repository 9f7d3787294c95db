import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { http } from '../node-http.ts'

/** The path of the redirect URI. */
const PATH = '/callback'

/** A server for the redirect of the browser. */
export interface Loopback {
  redirectUri: string
  /** The parameters of the authorization response. Resolves when the browser has got its page. */
  response: Promise<URLSearchParams>
  close(): void
}

const isEqual = (text: string, expected: string): boolean => {
  const [a, b] = [Buffer.from(text), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    connection: 'close'
  })
  response.end(
    `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Sign-in</title><p>${text}`
  )
}

/**
 * Listens on a free port of 127.0.0.1 for the redirect of one authorization request (RFC 8252 §7.3). Takes one response, the first that
 * carries the state. Every other request is refused and changes nothing, so that another page or program cannot end the sign-in.
 */
export async function openLoopback(state: string): Promise<Loopback> {
  const { promise: response, resolve } = Promise.withResolvers<URLSearchParams>()
  let isTaken = false

  const server = http.createServer((request: IncomingMessage, reply: ServerResponse) => {
    request.resume()
    const [path, ...query] = (request.url ?? '').split('?')
    if (request.method !== 'GET' || path !== PATH) return send(reply, 404, 'There is nothing here.')
    const params = new URLSearchParams(query.join('?'))
    if (isTaken || !isEqual(params.get('state') ?? '', state))
      return send(reply, 400, 'This is not the answer to the sign-in that the program waits for.')
    isTaken = true
    // Also when the browser goes away before it has read the page.
    reply.once('close', () => resolve(params))
    send(reply, 200, 'Done. Close this window and go back to the program.')
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    redirectUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}${PATH}`,
    response,
    close() {
      server.close()
      server.closeAllConnections()
    }
  }
}
