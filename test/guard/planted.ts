import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign as signBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import guard, { type LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { type Answer, encode, es256 } from '../forge.ts'
import { listen } from '../listen.ts'
import { plant } from '../secrets.ts'

export const AUDIENCE = 'https://orders.example.com'
const SECRET = 'lks_of-the-guard-of-a-planted-issuer'

type Members = Record<string, unknown>

/** A signing key as an issuer has it. */
export interface Key {
  kid: string
  alg: string
  privateKey: KeyObject
  jwk: Members
}

const keyPairs = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 })
}

/** @param given an RSA key or the like in place of a good one */
export function createKey(alg: keyof typeof keyPairs = 'ES256', given = keyPairs[alg]()): Key {
  const { privateKey, publicKey } = given
  const publicJwk = publicKey.export({ format: 'jwk' })
  const kid = createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url')
  return { kid, alg, privateKey, jwk: { ...publicJwk, kid, alg, use: 'sig' } }
}

/** A token as that key signs it. */
export function signed({ kid, alg, privateKey }: Key, claims: Members, header: Members = {}): string {
  const input = `${encode({ alg, typ: 'at+jwt', kid, ...header })}.${encode(claims)}`
  const signature =
    alg === 'ES256'
      ? es256(input, privateKey)
      : signBytes(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), privateKey)
  return `${input}.${signature.toString('base64url')}`
}

export type Responder = (request: IncomingMessage, response: ServerResponse) => unknown

export const json =
  (body: unknown, headers: Record<string, string> = {}, status = 200): Responder =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

/** Answers that are of no use, whatever was asked for. */
export const USELESS: [what: string, responder: Responder][] = [
  ['500', json({}, {}, 500)],
  ['503', json({}, { 'retry-after': '60' }, 503)],
  ['404', json({}, {}, 404)],
  ['403', json({}, {}, 403)],
  ['401', json({}, {}, 401)],
  ['401 with a challenge', json({}, { 'www-authenticate': 'Bearer error="invalid_token"' }, 401)],
  ['204', (_request, response) => response.writeHead(204).end()],
  ['a broken connection', (_request, response) => response.destroy()],
  ['no JSON', json('<html>')],
  ['JSON that is cut off', json('{"keys":[')],
  ['another media type', json('{}', { 'content-type': 'text/html' })],
  ['nothing', json('')],
  ['null', json('null')],
  ['a number', json('1')],
  ['a text', json('"x"')],
  ['a list', json([])],
  ['an empty object', json({})],
  ['three megabytes', json({ x: 'x'.repeat(3_000_000) })]
]

/** An issuer on loopback that does what it is told. */
export async function plantIssuer(t: Test, path = '') {
  plant(SECRET)
  let time = Date.UTC(2026, 0, 1, 12)
  const key = createKey()
  const log = {
    entries: [] as { seq: number; kind: string; id: string }[],
    seq: 0,
    /** Those who wait for something new. */
    waiting: new Set<() => void>()
  }
  /** Path and query of every request. */
  const requests: string[] = []

  /** `GET /revocations`, as Latchkey answers it. */
  async function revocations(request: IncomingMessage, response: ServerResponse) {
    const { searchParams } = new URL(request.url as string, origin)
    const [after, wait] = [Number(searchParams.get('after')), Number(searchParams.get('wait'))]
    if (after === log.seq && wait > 0)
      await new Promise<void>((resolve) => {
        log.waiting.add(resolve)
        setTimeout(resolve, wait * 1000).unref()
        response.on('close', resolve)
      })
    const entries = log.entries.filter(({ seq }) => seq > after || after > log.seq)
    const oldest = (log.entries[0]?.seq ?? log.seq + 1) - 1
    json({ entries: entries.slice(0, 1000), seq: log.seq, oldest })(request, response)
  }

  const responders: Record<string, Responder> = {
    metadata: (...both) =>
      json({
        issuer,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        introspection_endpoint: `${issuer}/introspect`,
        latchkey_revocations_endpoint: `${issuer}/revocations`
      })(...both),
    jwks: json({ keys: [key.jwk] }),
    token: json({ access_token: 'token-of-the-guard', token_type: 'Bearer', expires_in: 300 }),
    introspect: json({ active: false }),
    revocations
  }

  const origin = await listen(t, async (request, response) => {
    const { pathname, search } = new URL(request.url as string, 'http://x')
    requests.push(pathname + search)
    const name = pathname.startsWith('/.well-known/') ? 'metadata' : (pathname.split('/').at(-1) as string)
    const responder = responders[name]
    if (responder === undefined) return response.writeHead(404).end()
    return responder(request, response)
  })
  const issuer = origin + path
  const clock = {
    now: () => time,
    advance(seconds: number) {
      time += seconds * 1000
    }
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
      rev: log.seq,
      ...changes
    }
  }

  return {
    issuer,
    key,
    clock,
    log,
    requests,
    responders,
    claims,
    /** How many requests there were of that name. */
    count: (name: string) => requests.filter((each) => each.startsWith(`${path}/${name}`)).length,
    /** A good token; what is given is laid over its claims. */
    token: (changes: Members = {}, by = key) => signed(by, claims(changes)),
    /** A good token of a client in its own name. */
    clientToken: (changes: Members = {}) => signed(key, claims({ sub: 'docs', sid: undefined, roles: [], ...changes })),
    /** An entry in the log, for those who wait at once. */
    revoke(kind: string, id: string) {
      log.entries.push({ seq: ++log.seq, kind, id })
      for (const resolve of log.waiting) resolve()
      log.waiting.clear()
    },
    options: { issuer, audience: AUDIENCE, clientId: 'orders-api', clientSecret: SECRET, clock } as const
  }
}

export type PlantedIssuer = Awaited<ReturnType<typeof plantIssuer>>

/** The routes of the tutorials, and what each asks for. */
export const OPERATIONS = [
  { method: 'GET', url: '/orders' },
  { method: 'POST', url: '/orders' },
  { method: 'GET', url: '/admin-only' },
  { method: 'GET', url: '/user-only' }
] as { method: 'GET'; url: string }[]

export function declareOrders(app: FastifyInstance): void {
  const { requireScope, requireRole, requireUser } = app
  app.get('/orders', { preHandler: requireScope('orders:read') }, async ({ principal }) => principal)
  app.post('/orders', { preHandler: requireScope('orders:write') }, async ({ principal }) => principal)
  app.get('/admin-only', { preHandler: requireRole('admin') }, async ({ principal }) => principal)
  app.get('/user-only', { preHandler: requireUser() }, async ({ principal }) => principal)
}

/** A service with the guard and these routes. */
export async function serve(
  t: Test,
  options: LatchkeyGuardOptions,
  { declare = declareOrders, ...server }: FastifyServerOptions & { declare?: (app: FastifyInstance) => unknown } = {}
) {
  const app = fastify(server)
  t.teardown(() => app.close())
  await app.register(guard, options)
  await declare(app)
  await app.ready()
  return {
    app,
    inject: (request: InjectOptions) => app.inject(request),
    /** Status of `GET url` with that token. */
    async status(token: string, url = '/orders'): Promise<number> {
      return (await app.inject({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } })).statusCode
    }
  }
}

/** Resolves when it holds; fails after so many milliseconds. */
export async function until(holds: () => boolean | Promise<boolean>, patience = 5000): Promise<void> {
  const end = performance.now() + patience
  while (!(await holds())) {
    if (performance.now() > end) throw new Error('that did not come')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** How the guard of `AUDIENCE` refuses, where nobody has set an error handler. */
export function refusal(status: number, error: string, message: string, challenge: string): Answer {
  const metadata = `resource_metadata="${AUDIENCE}/.well-known/oauth-protected-resource"`
  return {
    status,
    challenge: `Bearer realm="latchkey"${challenge}, ${metadata}`,
    type: 'application/json; charset=utf-8',
    cache: undefined,
    body: { statusCode: status, error, message }
  }
}

export const INVALID_TOKEN = refusal(
  401,
  'Unauthorized',
  'Could not validate credentials',
  ', error="invalid_token", error_description="Could not validate credentials"'
)
export const NOT_AUTHENTICATED = refusal(401, 'Unauthorized', 'Not authenticated', '')
export const TWICE = refusal(
  400,
  'Bad Request',
  'The request has more than one Authorization header',
  ', error="invalid_request", error_description="The request has more than one Authorization header"'
)
/** @param scope what the route asks for, when that is missing */
export const forbidden = (scope?: string): Answer =>
  refusal(
    403,
    'Forbidden',
    'Not enough permissions',
    `, error="insufficient_scope", error_description="Not enough permissions"${scope === undefined ? '' : `, scope="${scope}"`}`
  )
