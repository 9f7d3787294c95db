import type { ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { listen } from '../listen.ts'
import { plant } from '../secrets.ts'

export const SECRET = 'lks_not-to-be-seen-by-anybody'

/** What a planted issuer does with a request for a token. */
export type Answer =
  | { status?: number; body?: unknown; headers?: Record<string, string>; after?: Promise<unknown> }
  | 'break'
  | 'nothing'

export const granted = (token: string, more: object = {}) => ({
  body: { access_token: token, token_type: 'Bearer', expires_in: 300, ...more }
})

async function send(response: ServerResponse, answer: Answer): Promise<void> {
  if (answer === 'nothing') return
  if (answer === 'break') return void response.destroy()
  const { status = 200, body, headers = {}, after } = answer
  await after
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

/**
 * An issuer that answers the nth request for a token (from 1) as it is told; if nothing is said, with the token `token-n` for five
 * minutes.
 */
export async function plantIssuer(t: Test, answer: (n: number) => Answer = (n) => granted(`token-${n}`)) {
  plant(SECRET)
  const requests: { form: Record<string, string>; authorization: string | undefined; at: number }[] = []
  const issuer: string = await listen(t, async (request, response) => {
    if (request.method === 'GET') {
      const body = { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }
      return send(response, { body })
    }
    const form = Object.fromEntries(new URLSearchParams(await text(request)))
    requests.push({ form, authorization: request.headers.authorization, at: performance.now() })
    await send(response, answer(requests.length))
  })
  return { issuer, requests, options: { issuer, clientId: 'worker', clientSecret: SECRET } }
}
