import { createHmac, randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, type JWK } from 'jose'
import t, { type Test } from 'tap'
import { answer, encode, INVALID_TOKEN } from '../forge.ts'
import { build, createDatabase, NO_KEY, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'
import { conflict, notFound, outcome } from './api.ts'

// test/domain/key-rotation.test.ts tests when keys rotate and retire.

const SCOPES = 'profile keys:read keys:write'
const MINUTE = 60
const AT = '2026-01-01T12:00:00.000Z'
const VIEW = ['kid', 'alg', 'state', 'created_at', 'signs_since_at', 'verifies_until_at', 'retired_at'].sort()
const ROUNDS = Math.max(3, Number(process.env.LATCHKEY_ROUNDS ?? 30) / 10)

interface Key {
  kid: string
  state: string
}

/** Adds requests about keys, by an admin who logs in for each. */
function withKeys(world: TestApp) {
  const { send, login, inject } = world
  const admin = () => login('admin', SCOPES)
  const list = async () => (await send(await admin(), 'GET', '/keys?limit=100')).json().items as Key[]
  return {
    ...world,
    list,
    kid: async (state: string) => (await list()).find((key) => key.state === state)?.kid as string,
    rotate: async () => send(await admin(), 'POST', '/keys/rotate'),
    retire: async (kid: string, compromised = true) =>
      send(await admin(), 'POST', `/keys/${kid}/retire`, { compromised }),
    jwks: async () => (await inject({ url: '/.well-known/jwks.json' })).json().keys as JWK[],
    me: async (token: string) => (await world.get('/users/me', token)).statusCode
  }
}
const start = async (t: Test, env: Record<string, string> = {}) => withKeys(await build(t, { env }))

/** Builds two instances on one database, with one clock. */
async function two(t: Test) {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const one = await build(t, { at })
  return [withKeys(one), withKeys(await build(t, { at, clock: one.clock }))] as const
}

const kidOf = (token: string) => decodeProtectedHeader(token).kid

t.test('an admin rotates the keys and lists them, and the JWKS holds public members only [KS1 KS2]', async (t) => {
  const { rotate, list, kid, jwks, login, me, clock, inject, send } = await start(t)
  const [signing, next] = [await kid('signing'), await kid('next')]
  t.strictSame(
    outcome(await rotate()),
    conflict('The next key was published a short time ago: it can sign from 2026-01-01T12:05:00.000Z on')
  )
  clock.advance(5 * MINUTE - 1)
  const token = await login('alice')
  t.equal(kidOf(token), signing)
  clock.advance(1)
  const view = {
    kid: next,
    alg: 'ES256',
    state: 'signing',
    created_at: AT,
    signs_since_at: '2026-01-01T12:05:00.000Z',
    verifies_until_at: null,
    retired_at: null
  }
  t.strictSame(outcome(await rotate()), [200, view])

  const keys = await list()
  t.strictSame(
    keys.slice(1).toSorted((a, b) => Number(b.kid === next) - Number(a.kid === next)),
    [
      view,
      { ...view, kid: signing, state: 'verifying', signs_since_at: AT, verifies_until_at: '2026-01-01T13:06:00.000Z' }
    ]
  )
  t.match(keys[0], { state: 'next', created_at: '2026-01-01T12:05:00.000Z', signs_since_at: null })
  for (const key of keys) t.strictSame(Object.keys(key).sort(), VIEW)

  const published = await jwks()
  t.strictSame(published.map((key) => key.kid).toSorted(), keys.map((key) => key.kid).toSorted())
  for (const key of published) {
    t.strictSame(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    t.equal(await calculateJwkThumbprint(key), key.kid)
  }
  t.equal((await inject({ url: '/.well-known/jwks.json' })).headers['cache-control'], 'public, max-age=300')
  t.equal(kidOf(await login('alice')), next)
  t.equal(await me(token), 200, 'a token of the previous key is valid')

  const page = await send(await login('admin', SCOPES), 'GET', '/keys?limit=2')
  const rest = await send(await login('admin', SCOPES), 'GET', `/keys?cursor=${page.json().next_cursor}`)
  t.strictSame([...page.json().items, ...rest.json().items], keys)
  t.equal(rest.json().next_cursor, null)
})

t.test('LATCHKEY_JWKS_MAX_AGE is the max-age of the JWKS [KS2]', async (t) => {
  const { inject } = await start(t, { LATCHKEY_JWKS_MAX_AGE: '86400' })
  t.equal((await inject({ url: '/.well-known/jwks.json' })).headers['cache-control'], 'public, max-age=86400')
})

t.test('of parallel rotations on two instances exactly one happens [KS2]', async (t) => {
  const [one, other] = await two(t)
  for (let round = 0; round < ROUNDS; round++) {
    one.clock.advance(5 * MINUTE)
    const before = await one.kid('next')
    const tokens = [await one.login('admin', SCOPES), await other.login('admin', SCOPES)] as const
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        index % 2 === 0 ? one.send(tokens[0], 'POST', '/keys/rotate') : other.send(tokens[1], 'POST', '/keys/rotate')
      )
    )
    const statuses = answers.map(({ statusCode }) => statusCode).toSorted()
    t.strictSame(statuses, [200, ...Array(7).fill(409)])
    t.equal(await other.kid('signing'), before)
    for (const { login } of [one, other]) t.equal(kidOf(await login('alice')), before)
  }
})

t.test('a compromised signing key is refused on every instance at the next request [KS2]', async (t) => {
  const [one, other] = await two(t)
  const token = await one.login('alice')
  for (const { me } of [one, other]) t.equal(await me(token), 200)
  const [kid, next] = [await one.kid('signing'), await one.kid('next')]
  const retired = await one.retire(kid)
  t.match(outcome(retired), [200, { kid, state: 'retired', retired_at: AT }])
  for (const { me, jwks, login } of [one, other]) {
    t.equal(await me(token), 401)
    t.notOk((await jwks()).some((key) => key.kid === kid))
    t.equal(kidOf(await login('alice')), next)
  }
  t.strictSame(outcome(await other.retire(kid)), outcome(retired), 'a retired key stays as it is')
})

t.test('a key in use cannot be retired without being compromised: 409; an unknown key is 404', async (t) => {
  const { retire, kid, send, login } = await start(t)
  const inUse = conflict(
    'The key is signing or next: rotate the keys until the key is verifying, or retire it as compromised'
  )
  for (const state of ['signing', 'next']) t.strictSame(outcome(await retire(await kid(state), false)), inUse)
  t.strictSame(outcome(await retire(NO_KEY)), notFound('There is no such key'))
  const admin = await login('admin', SCOPES)
  for (const body of [{}, { compromised: 'true' }, { compromised: true, force: true }]) {
    const { statusCode } = await send(admin, 'POST', `/keys/${await kid('next')}/retire`, body)
    t.equal(statusCode, 400, JSON.stringify(body))
  }
})

t.test('after rotations and a compromise every forged token is refused, with any key and kid [JW3 JW4]', async (t) => {
  const { rotate, retire, clock, login, get, list, jwks, kid } = await start(t)
  for (let rounds = 0; rounds < 2; rounds++) {
    clock.advance(5 * MINUTE)
    await rotate()
  }
  await retire(await kid('signing'))
  const [, payload] = (await login('alice')).split('.')
  const published = await jwks()
  const kids = [...(await list()).map((key) => key.kid), '../../etc/passwd', "x' or '1'='1", '', NO_KEY]
  const secrets = [
    '',
    randomBytes(32),
    ...published.map((key) => JSON.stringify(key)),
    ...published.map(({ x }) => x as string)
  ]
  for (const each of kids) {
    for (const secret of secrets) {
      const content = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: each })}.${payload}`
      const token = `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`
      const response = answer(await get('/users/me', token))
      if (response.status !== 401) t.strictSame(response, INVALID_TOKEN, each)
    }
    const none = `${encode({ alg: 'none', typ: 'at+jwt', kid: each })}.${payload}.`
    t.strictSame(answer(await get('/users/me', none)), INVALID_TOKEN, each)
  }
})

t.test('private keys are in no answer, and stored only for keys that sign or are next [AD5 KS3]', async (t) => {
  const world = await start(t)
  const { rotate, retire, kid, clock, send, login } = world
  const rows = () =>
    sql<{ state: string; sealed_private_key: string }>(world, 'select state, sealed_private_key from signing_keys')
  clock.advance(5 * MINUTE)
  const before = await rows()
  const texts = [(await rotate()).body, (await retire(await kid('next'))).body]
  texts.push((await send(await login('admin', SCOPES), 'GET', '/keys')).body)
  for (const text of texts) {
    t.notMatch(text, /PRIVATE|sealed|"d"/)
    for (const { sealed_private_key: sealed } of before) t.notOk(text.includes(sealed))
  }
  for (const { state, sealed_private_key: sealed } of await rows())
    t.equal(sealed !== '', ['signing', 'next'].includes(state), state)
})
