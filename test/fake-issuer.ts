import { createHash, randomUUID, sign as signBytes } from 'node:crypto'
import type { Timer } from '../src/guard/timer.ts'
import { encode, es256, generateKeyPair, type Members } from './jws.ts'
import { plant } from './secrets.ts'

export const AUDIENCE = 'https://orders.example.com'
export const SECRET = 'lks_the-secret-of-a-client-of-the-fake-issuer'

/** Returns a signing key of an issuer and its public JWK. The RSA key is always the same one. */
export function createKey(alg: Parameters<typeof generateKeyPair>[0] = 'ES256') {
  const { privateKey, publicKey } = generateKeyPair(alg)
  const publicJwk: Members = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url')
  return { kid, alg: alg as string, privateKey, publicKey, jwk: { ...publicJwk, kid, alg, use: 'sig' } as Members }
}

export type Key = ReturnType<typeof createKey>

/** Signs a token. */
export function sign({ kid, alg, privateKey }: Key, claims: Members): string {
  const input = `${encode({ alg, typ: 'at+jwt', kid })}.${encode(claims)}`
  const signature =
    alg === 'ES256'
      ? es256(input, privateKey)
      : signBytes(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), privateKey)
  return `${input}.${signature.toString('base64url')}`
}

/** The valid metadata of an issuer (RFC 8414 §2). */
export const metadataOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  introspection_endpoint: `${issuer}/introspect`,
  latchkey_revocations_endpoint: `${issuer}/revocations`
})

/** A request to the issuer. */
export interface IssuerRequest {
  method: string
  /** With the query. */
  path: string
  headers: Headers
  body: string
  signal: AbortSignal | null
  /** When it was sent, by the timer. */
  at: number
}

export type Responder = (request: IssuerRequest) => Response | Promise<Response>

/** Makes a response of text with the media type of JSON. */
export const jsonText = (text: string, status = 200): Response =>
  new Response(text, { status, headers: { 'content-type': 'application/json' } })

export function breakConnection(): never {
  throw new TypeError('fetch failed')
}
export const neverRespond = (): Promise<Response> => new Promise(() => {})

/** Longer than any response may be. */
const TOO_LONG = JSON.stringify('x'.repeat(2 ** 21))

/** Responses that are not valid for any endpoint. */
export const INVALID_RESPONSES: [name: string, responder: Responder][] = [
  ['500', () => Response.json({}, { status: 500 })],
  ['503 with Retry-After', () => Response.json({}, { status: 503, headers: { 'retry-after': '60' } })],
  ['404', () => Response.json({}, { status: 404 })],
  ['401', () => Response.json({}, { status: 401 })],
  ['204', () => new Response(null, { status: 204 })],
  ['a broken connection', breakConnection],
  ['text that is not JSON', () => jsonText('<html>')],
  ['half of a JSON text', () => jsonText('{"keys":[')],
  ['another media type', () => new Response('{}', { headers: { 'content-type': 'text/html' } })],
  ['an empty body', () => jsonText('')],
  ['null', () => Response.json(null)],
  ['a number', () => Response.json(1)],
  ['a string', () => Response.json('x')],
  ['an array', () => Response.json([])],
  ['an empty object', () => Response.json({})],
  ['a body that is too long', () => jsonText(TOO_LONG)]
]

/** Creates an issuer in memory. Its `fetch` gives each request to the responder with the name of the last part of the path. */
export function createFakeIssuer(timer: Timer) {
  plant(SECRET)
  const issuer = 'https://id.example.com'
  const key = createKey()
  let time = Date.UTC(2026, 0, 1, 12)
  const clock = {
    now: () => time,
    advance(seconds: number) {
      time += seconds * 1000
    }
  }
  /** The revocation log. */
  const published = { entries: [] as { seq: number; kind: string; id: string; expires_in?: number }[], seq: 0 }
  let change = Promise.withResolvers<void>()
  /** Responds to every request that waits for a new entry. */
  function wake() {
    change.resolve()
    change = Promise.withResolvers()
  }
  const requests: IssuerRequest[] = []

  /** `GET /revocations` of Latchkey: waits until there is a new entry, or until the time to wait is over. */
  const readLog: Responder = async ({ path, signal }) => {
    const { searchParams } = new URL(path, issuer)
    const [after, wait] = [Number(searchParams.get('after')), Number(searchParams.get('wait'))]
    if (after === published.seq && wait > 0)
      await Promise.race([change.promise, timer.sleep(wait * 1000, signal ?? undefined)])
    const entries = published.entries.filter(({ seq }) => seq > after || after > published.seq)
    const oldest = (published.entries[0]?.seq ?? published.seq + 1) - 1
    const page = entries.slice(0, 1000).map((each) => ({ expires_in: 3660, ...each }))
    const next = page.length < entries.length ? (page.at(-1)?.seq as number) : published.seq
    return Response.json({ entries: page, next, seq: published.seq, oldest })
  }

  const responders: Record<string, Responder> = {
    'oauth-authorization-server': () => Response.json(metadataOf(issuer)),
    jwks: () => Response.json({ keys: [key.jwk] }),
    token: () => Response.json({ access_token: 'token-of-the-guard', token_type: 'Bearer', expires_in: 300 }),
    revocations: readLog
  }

  async function fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const { pathname, search } = new URL(String(input))
    const request = {
      method: init.method ?? 'GET',
      path: pathname + search,
      headers: new Headers(init.headers),
      body: String(init.body ?? ''),
      signal: init.signal ?? null,
      at: timer.elapsed()
    }
    requests.push(request)
    const responder = responders[pathname.split('/').at(-1) as string]
    return responder === undefined ? new Response(null, { status: 404 }) : responder(request)
  }

  const claims = (changes: Members = {}): Members => {
    const iat = Math.floor(time / 1000)
    return {
      iss: issuer,
      sub: 'user-1',
      aud: AUDIENCE,
      client_id: 'docs',
      iat,
      exp: iat + 300,
      jti: randomUUID(),
      scope: 'orders:read orders:write',
      roles: ['admin'],
      sid: 'session-1',
      rev: published.seq,
      ...changes
    }
  }

  return {
    issuer,
    key,
    clock,
    fetch,
    published,
    requests,
    responders,
    readLog,
    claims,
    /** Returns a valid token of a user with these claims changed. */
    token: (changes: Members = {}, by = key) => sign(by, claims(changes)),
    /** Returns a valid token of a client in its own name with these claims changed. */
    clientToken: (changes: Members = {}) => sign(key, claims({ sub: 'docs', sid: undefined, roles: [], ...changes })),
    /** Returns the number of requests to an endpoint. */
    count: (name: string) => requests.filter(({ path }) => path.startsWith(`/${name}`)).length,
    wake,
    /** Adds an entry to the revocation log. */
    revoke(kind: string, id: string) {
      published.entries.push({ seq: ++published.seq, kind, id })
      wake()
    },
    options: { issuer, audience: AUDIENCE, clientId: 'orders-api', clientSecret: SECRET, fetch, clock } as const
  }
}

export type FakeIssuer = ReturnType<typeof createFakeIssuer>
