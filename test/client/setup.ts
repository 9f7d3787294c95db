import { inspect } from 'node:util'
import type { Test } from 'tap'
import { TokenError } from '../../src/client/errors.ts'
import { createClient, type TokenClientOptions } from '../../src/client/token-client.ts'
import { createFakeIssuer, SECRET } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'

/** Makes the response with a token (RFC 6749 §5.1). */
export const granted = (token: string, changes: object = {}): Response =>
  Response.json({ access_token: token, token_type: 'Bearer', expires_in: 300, ...changes })

export const refused = (): Response =>
  Response.json({ error: 'invalid_client', error_description: `not ${SECRET}` }, { status: 401 })

export const unavailable = (headers: Record<string, string> = {}): Response =>
  Response.json({ error: 'temporarily_unavailable' }, { status: 503, headers })

/** The parts of a TokenError. */
export const failure = (status: number | null, message: string, error: string | null = null) => ({
  error,
  status,
  message: `no token for worker from https://id.example.com: ${message}`
})
export const REFUSED = failure(401, 'invalid_client', 'invalid_client')
export const UNAVAILABLE = failure(503, 'temporarily_unavailable', 'temporarily_unavailable')

/**
 * A token client with a fake timer and a fake issuer.
 * @param respond makes the response to the nth request for a token, from 1
 * @param options of the client; `fetch` gets the requests to services only
 */
export function setUp(
  t: Test,
  respond: (n: number) => Response | Promise<Response> = (n) => granted(`token-${n}`),
  { fetch = globalThis.fetch, ...options }: Partial<TokenClientOptions> = {}
) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  const requests = () => issuer.requests.filter(({ path }) => path === '/token')
  issuer.responders.token = () => respond(requests().length)
  const all = {
    issuer: issuer.issuer,
    clientId: 'worker',
    clientSecret: SECRET,
    fetch: (input: string | URL | Request, init?: RequestInit) =>
      String(input).startsWith(issuer.issuer) ? issuer.fetch(input, init) : fetch(input, init),
    ...options
  }
  const client = createClient(all as TokenClientOptions, timer)
  t.teardown(() => client.close())

  /** Returns the token, or the parts of the TokenError. @throws Error when the error holds the secret */
  async function token() {
    try {
      return await client.token()
    } catch (error) {
      if (!(error instanceof TokenError)) throw error
      if (`${inspect(error, { depth: 9 })}${JSON.stringify(error)}`.includes(SECRET))
        throw new Error('the error holds the secret')
      return { error: error.error, status: error.status, message: error.message }
    }
  }

  return { ...issuer, timer, client, token, requests }
}
