import { createPrivateKey, createPublicKey, type KeyObject, sign as signBytes } from 'node:crypto'
import type { InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { createSealer } from '../src/domain/sealing.ts'
import { documented } from './documented.ts'
import { NO_KEY, NOBODY, type TestApp } from './helper.ts'

type Members = Record<string, unknown>
/** A segment's content: an object is written as JSON, a text or bytes are taken as they are. */
export type Content = Members | unknown[] | string | Buffer

export const encode = (content: Content): string =>
  (Buffer.isBuffer(content)
    ? content
    : Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
  ).toString('base64url')

export const decode = (segment: string): Members => JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'))

/** ES256 as JWS writes it (RFC 7518 §3.4). */
export const es256 = (input: string, key: KeyObject): Buffer =>
  signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })

export interface Forge {
  privateKey: KeyObject
  publicKey: KeyObject
  /** The header of a good token. */
  header: { alg: string; typ: string; kid: string }
  /** The claims of a good token. */
  claims: Members & { iat: number; exp: number; sub: string; sid: string }
  /** A token signed with the service's own key; what is given as an object is laid over the good one, undefined takes away. */
  token: (header?: Members, claims?: Members) => string
  /** Any header and any payload, signed with the service's own key. */
  signed: (header: Content, payload: Content) => string
  /** Any two segments, as they stand, signed with the service's own key. */
  sealed: (header: string, payload: string) => string
}

/** Everything that a thief of the signing key could do, from a good token. */
export async function createForge({ app, env }: Pick<TestApp, 'app' | 'env'>, good: string): Promise<Forge> {
  const key = await app.store.keys.signing()
  if (key === null) throw new Error('there is no signing key')
  const sealer = createSealer(() => Buffer.from(env.LATCHKEY_SEALING_KEY as string, 'base64'))
  const privateKey = createPrivateKey(
    sealer.open(key.sealedPrivateKey as string, `signing_keys/${key.kid}/private_key`)
  )
  const [first = '', second = ''] = good.split('.')
  const header = decode(first) as Forge['header']
  const claims = decode(second) as Forge['claims']
  const sealed = (head: string, payload: string) =>
    `${head}.${payload}.${es256(`${head}.${payload}`, privateKey).toString('base64url')}`
  const signed: Forge['signed'] = (head, payload) => sealed(encode(head), encode(payload))
  return {
    privateKey,
    publicKey: createPublicKey(privateKey),
    header,
    claims,
    sealed,
    signed,
    token: (head = {}, changes = {}) => signed({ ...header, ...head }, { ...claims, ...changes })
  }
}

/** Paths that a good token of an administrator with the scopes `profile users:read` may read. */
export const READABLE = ['/users/me', '/users'] as const

/** A path of the document as a place of nobody’s. */
export const anyPlace = (path: string): string =>
  path
    .replace(/\{(id|session|secret)\}/g, NOBODY)
    .replace('{name}', 'user')
    .replace('{kid}', NO_KEY)

/** Every operation that asks for a token, with a place that is there for whoever may see it. */
export const guarded = (): { method: 'GET'; url: string }[] =>
  Object.entries(documented().document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, { security }]) => security?.length)
      .map(([method]) => ({
        method: method.toUpperCase() as 'GET',
        url: anyPlace(path)
      }))
  )

/** One answer, with everything in it that a caller can rely on. */
export interface Answer {
  status: number
  challenge: string | undefined
  type: string | undefined
  cache: string | undefined
  body: unknown
}

const problem = (status: number, title: string, detail: string, challenge: string): Answer => ({
  status,
  challenge: `Bearer realm="latchkey"${challenge}`,
  type: 'application/problem+json; charset=utf-8',
  cache: 'no-store',
  body: { type: 'about:blank', title, status, detail }
})

/** The answer to every token that is not good. */
export const INVALID_TOKEN = problem(
  401,
  'Unauthorized',
  'Could not validate credentials',
  ', error="invalid_token", error_description="Could not validate credentials"'
)

/** The answer to a request without a token. */
export const NOT_AUTHENTICATED = problem(401, 'Unauthorized', 'Not authenticated', '')

/** The answer to a good token that does not reach. @param scope the scopes that the route asks for, when one is missing */
export const forbidden = (scope?: string): Answer =>
  problem(
    403,
    'Forbidden',
    'Not enough permissions',
    `, error="insufficient_scope", error_description="Not enough permissions"${scope === undefined ? '' : `, scope="${scope}"`}`
  )

export const answer = (response: Awaited<ReturnType<TestApp['inject']>>): Answer => ({
  status: response.statusCode,
  challenge: response.headers['www-authenticate'] as string | undefined,
  type: response.headers['content-type'],
  cache: response.headers['cache-control'],
  body: response.body === '' ? '' : JSON.parse(response.body)
})

/** What each operation answers, by its method and URL. */
type Expected = Answer | ((operation: string) => Answer)

/** Every guarded operation answers so to a request. @param query begins with a question mark */
export async function everywhere(
  t: Test,
  { inject }: Pick<TestApp, 'inject'>,
  { query = '', ...request }: { headers?: Record<string, string | string[]>; query?: string; payload?: string },
  expected: Expected,
  operations = guarded()
): Promise<void> {
  const of = typeof expected === 'function' ? expected : () => expected
  const given: Record<string, Answer> = {}
  for (const { method, url } of operations)
    given[`${method} ${url}`] = answer(await inject({ method, url: url + query, ...request } as InjectOptions))
  t.strictSame(given, Object.fromEntries(Object.keys(given).map((operation) => [operation, of(operation)])))
}

/** Every guarded operation answers so to a token. */
export const answers = (
  t: Test,
  world: Pick<TestApp, 'inject'>,
  token: string,
  expected: Expected,
  operations = guarded()
): Promise<void> => everywhere(t, world, { headers: { authorization: `Bearer ${token}` } }, expected, operations)

/** The token is good where it can be read. */
export async function accepted(t: Test, { get }: TestApp, token: string): Promise<void> {
  for (const path of READABLE) t.equal((await get(path, token)).statusCode, 200, path)
}

/** The process serves on. */
export async function alive(t: Test, { inject }: TestApp): Promise<void> {
  const response = await inject({ method: 'GET', url: '/health/ready' })
  t.strictSame([response.statusCode, response.json()], [200, { status: 'ok' }])
}
