import { createPrivateKey } from 'node:crypto'
import type { InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { createSealer } from '../src/domain/sealing.ts'
import { documented } from './documented.ts'
import { NO_KEY, NOBODY, type TestApp } from './helper.ts'
import { type Forge, forgeWith } from './jws.ts'
import { type Answer, refusalsOf } from './refusals.ts'

export { type Content, decode, encode, es256, type Forge } from './jws.ts'

/** Makes a forge with the signing key of an app. @param valid an access token of that app */
export async function createForge({ app, env }: Pick<TestApp, 'app' | 'env'>, valid: string): Promise<Forge> {
  const [key] = await app.store.keys.signing()
  if (key === undefined) throw new Error('there is no signing key')
  const sealer = createSealer(() => Buffer.from(env.LATCHKEY_SEALING_KEY as string, 'base64'))
  const privateKey = createPrivateKey(
    sealer.open(key.sealedPrivateKey as string, `signing_keys/${key.kid}/private_key`)
  )
  return forgeWith(privateKey, valid)
}

/** Paths that an administrator with the scopes `profile users:read` may read. */
export const READABLE = ['/users/me', '/users'] as const

/** Returns a documented path with ids that do not exist, and with the name of the role `user`. */
export const placeholderPath = (path: string): string =>
  path
    .replace('/resources/{id}', '/resources/none')
    .replace(/\{(id|session|secret)\}/g, NOBODY)
    .replace('{name}', 'user')
    .replace('{kid}', NO_KEY)

/** Lists every operation that requires a token. */
export const guarded = (): { method: 'GET'; url: string }[] =>
  Object.entries(documented().document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([, { security = [] }]) =>
        security.some((scheme) => 'password' in scheme || 'clientCredentials' in scheme)
      )
      .map(([method]) => ({
        method: method.toUpperCase() as 'GET',
        url: placeholderPath(path)
      }))
  )

const problem = (status: number, title: string, detail: string, challenge: string): Answer => ({
  status,
  challenge: `Bearer realm="latchkey"${challenge}`,
  type: 'application/problem+json; charset=utf-8',
  cache: 'no-store',
  body: { type: 'about:blank', title, status, detail }
})

export const { INVALID_TOKEN, NOT_A_USER, NOT_AUTHENTICATED, forbidden } = refusalsOf(problem)

export const answer = (response: Awaited<ReturnType<TestApp['inject']>>): Answer => ({
  status: response.statusCode,
  challenge: response.headers['www-authenticate'] as string | undefined,
  type: response.headers['content-type'],
  cache: response.headers['cache-control'],
  body: response.body === '' ? '' : JSON.parse(response.body)
})

/** The response of each operation, by its method and URL. */
type Expected = Answer | ((operation: string) => Answer)

/** Asserts the response of every operation to a request. @param query begins with a question mark */
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

/** Asserts the response of every operation to a token. */
export const answers = (
  t: Test,
  world: Pick<TestApp, 'inject'>,
  token: string,
  expected: Expected,
  operations = guarded()
): Promise<void> => everywhere(t, world, { headers: { authorization: `Bearer ${token}` } }, expected, operations)

/** Asserts that the token is accepted. */
export async function accepted(t: Test, { get }: TestApp, token: string): Promise<void> {
  for (const path of READABLE) t.equal((await get(path, token)).statusCode, 200, path)
}

/** Asserts that the app still serves requests. */
export async function alive(t: Test, { inject }: TestApp): Promise<void> {
  const response = await inject({ method: 'GET', url: '/health/ready' })
  t.strictSame([response.statusCode, response.json()], [200, { status: 'ok' }])
}
