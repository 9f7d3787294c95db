import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { DomainError } from '../../src/domain/errors.ts'
import { build } from '../helper.ts'
import { asOAuthError, asProblem, LOGIN, refusal } from '../http.ts'

const lines: Record<string, unknown>[] = []
/** Its log goes to `lines`. */
const world = await build(t, {
  logger: { level: 'error', stream: { write: (line: string) => void lines.push(JSON.parse(line)) } }
})
const { app, token, get, inject } = world
const bearer = await world.login('alice')
const jwks = () => inject({ url: '/.well-known/jwks.json' })

/** Has the form of a refresh token. */
const REFRESH_TOKEN = `lkr_${Buffer.alloc(60).toString('base64url')}`

/** Replaces methods until the end of the test. */
function replace<T extends object>(t: Test, holder: T, methods: Partial<T>): void {
  const before = { ...holder }
  t.teardown(() => Object.assign(holder, before))
  Object.assign(holder, methods)
}

t.test('a failure of the server is 500 without details, and the log has all of them [HT10]', async (t) => {
  const secret = 'connection to 10.0.0.7 as latchkey:hunter2 failed at /srv/store.ts'
  const failing = async (error: unknown) => {
    const fail = () => Promise.reject(error)
    replace(t, app.store.users, { credentials: fail })
    replace(t, app.store, { state: fail })
    replace(t, app.store.keys, { list: fail })
    lines.length = 0
    const [me, keys, issued] = [await get('/users/me', bearer), await jwks(), await token(LOGIN)]
    t.strictSame(refusal(me), asProblem(500, 'The server failed'))
    t.strictSame(refusal(keys), asProblem(500, 'The server failed'))
    t.strictSame(refusal(issued), asOAuthError(500, 'server_error', 'The server failed'))
    t.equal(lines.length, 3)
    for (const { body, headers } of [me, keys, issued]) t.notMatch(body + JSON.stringify(headers), /hunter2|srv/)
  }
  await failing(new Error(secret))
  for (const line of lines) {
    t.match(line, {
      level: 50,
      msg: 'request failed',
      reqId: /^[0-9a-f-]{36}$/,
      err: { message: secret, stack: /http-failures\.test\.ts/ }
    })
  }
  await failing(Object.assign(new Error(secret), { code: 'ERR_X', statusCode: 418 }))
  await failing(Object.assign(new TypeError(secret), { status: 404 }))
  await failing(new AggregateError([new Error(secret)], secret))
  await failing(secret)
  await failing(null)
  await failing(undefined)
})

t.test('a client that is refused learns nothing of a failure to read its refresh token', async (t) => {
  replace(t, app.store.sessions, { presented: () => Promise.reject(new Error('the disk is gone')) })
  const form = { grant_type: 'refresh_token', refresh_token: REFRESH_TOKEN, client_id: 'none' }
  t.strictSame(refusal(await token(form)), asOAuthError(401, 'invalid_client', 'Client authentication failed'))
  const { client_id: _, ...valid } = form
  t.strictSame(refusal(await token(valid)), asOAuthError(500, 'server_error', 'The server failed'))
})

t.test('an error of a library is a failure of the server, also if it has a status: 500', async (t) => {
  const error = Object.assign(new Error('the library refuses'), { statusCode: 400 })
  replace(t, app.store, { state: () => Promise.reject(error) })
  t.equal((await get('/users/me', bearer)).statusCode, 500)
})

t.test('a database that is not available is 503 with Retry-After, in the format of the endpoint', async (t) => {
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const seen = (response: LightMyRequestResponse) => ({
    ...refusal(response),
    retryAfter: response.headers['retry-after'],
    challenge: response.headers['www-authenticate']
  })
  const detail = 'The database is not available'
  const unavailable = { ...asProblem(503, detail), retryAfter: '1', challenge: undefined }
  const unavailableToken = {
    ...asOAuthError(503, 'temporarily_unavailable', detail),
    retryAfter: '1',
    challenge: undefined
  }
  const { store } = app
  const { state } = store
  store.state = away
  t.strictSame(seen(await get('/users/me', bearer)), unavailable, 'while the guard asks')
  store.state = state
  await t.test('while the handler asks', async (t) => {
    replace(t, store.sessions, { list: away })
    t.strictSame(seen(await get('/users/me/sessions', bearer)), unavailable)
    replace(t, store.keys, { list: away })
    t.strictSame(seen(await jwks()), unavailable)
  })
  await t.test('its line in the log has the cause and no stack', async (t) => {
    const cause = new Error('connect ECONNREFUSED')
    replace(t, store, {
      state: () => Promise.reject(new DomainError('unavailable', detail, { retryAfter: 1, cause }))
    })
    lines.length = 0
    await get('/users/me', bearer)
    t.match(lines, [{ level: 50, msg: detail, cause: cause.message, err: undefined }])
    t.notMatch(JSON.stringify(lines), /stack|\.ts:/)
  })
  for (const part of [store.clients, store.users, store.scopes, store.sessions] as object[]) {
    const methods = Object.keys(part)
    await t.test(`while a login calls ${methods.slice(0, 3).join(', ')} …`, async (t) => {
      replace(t, part, Object.fromEntries(methods.map((name) => [name, away])))
      t.strictSame(seen(await token(LOGIN)), unavailableToken)
    })
  }
  t.equal((await token(LOGIN)).statusCode, 200)
})
