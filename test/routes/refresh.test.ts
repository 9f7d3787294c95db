import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { build, createDatabase, type Database, NOBODY, onOneDatabase, PASSWORD, type TestApp } from '../helper.ts'

const REFUSED = [400, { error: 'invalid_grant', error_description: 'The refresh token is not valid' }]
const LEEWAY = 10
const OTHER = 'another horse battery staple'

interface Tokens {
  access_token: string
  refresh_token: string
  scope: string
}

interface World extends TestApp {
  enter: (scope?: string, form?: Record<string, string>) => Promise<Tokens>
  refresh: (token: string, more?: Record<string, string>) => ReturnType<TestApp['token']>
  /** Refreshes, which must succeed. */
  renewed: (token: string, more?: Record<string, string>) => Promise<Tokens>
  me: (token: string) => Promise<number>
}

async function open(
  t: Test,
  database: Database = 'sqlite',
  env: Record<string, string> = {},
  at?: { url: string; dataDir: string }
): Promise<World> {
  const app = await build(t, { database, env, ...(at === undefined ? {} : { at }) })
  const refresh: World['refresh'] = (token, more = {}) =>
    app.token({ grant_type: 'refresh_token', refresh_token: token, ...more })
  return {
    ...app,
    refresh,
    enter: async (scope = 'profile', form = {}) =>
      (await app.token({ grant_type: 'password', username: 'alice', password: PASSWORD, scope, ...form })).json(),
    async renewed(token, more) {
      const response = await refresh(token, more)
      if (response.statusCode !== 200) throw new Error(response.body)
      return response.json()
    },
    me: async (token) => (await app.get('/users/me', token)).statusCode
  }
}
const outcome = (response: Awaited<ReturnType<World['refresh']>>) => [response.statusCode, response.json()]

onOneDatabase(
  t,
  'a refresh gives new tokens of the same session, and the old refresh token is dead [RF1]',
  async (t, database) => {
    const { enter, refresh, renewed, me, clock } = await open(t, database)
    const first = await enter()
    t.match(first.refresh_token, /^lkr_[\w-]{80}$/)
    const response = await refresh(first.refresh_token)
    const { access_token, refresh_token, ...rest } = response.json()
    t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope: 'profile' }])
    t.equal(response.headers['cache-control'], 'no-store')
    t.match(refresh_token, /^lkr_[\w-]{80}$/)
    t.not(refresh_token, first.refresh_token)
    t.strictSame([await me(access_token), await me(first.access_token)], [200, 200])
    const second = await renewed(refresh_token)
    clock.advance(LEEWAY)
    t.strictSame(outcome(await refresh(first.refresh_token)), REFUSED)
    t.strictSame(outcome(await refresh(second.refresh_token)), REFUSED, 'the replay ended the session')
  }
)

onOneDatabase(t, 'a replay ends that session with its access tokens, and no other [RF2]', async (t, database) => {
  const { enter, refresh, renewed, me, clock } = await open(t, database)
  const [victim, other] = [await enter(), await enter()]
  const successor = await renewed(victim.refresh_token)
  clock.advance(LEEWAY)
  t.strictSame(outcome(await refresh(victim.refresh_token)), REFUSED)
  t.strictSame([await me(victim.access_token), await me(successor.access_token)], [401, 401])
  t.strictSame(outcome(await refresh(successor.refresh_token)), REFUSED)
  t.equal(await me(other.access_token), 200)
  t.equal(await me((await renewed(other.refresh_token)).access_token), 200)
})

onOneDatabase(
  t,
  'a token from a hundred rotations ago ends the session too, also inside the leeway [RF2]',
  async (t, database) => {
    const { enter, refresh, renewed, me } = await open(t, database)
    const first = await enter()
    let last = first
    for (let rotation = 0; rotation < 100; rotation++) last = await renewed(last.refresh_token)
    t.equal(await me(last.access_token), 200)
    t.strictSame(outcome(await refresh(first.refresh_token)), REFUSED)
    t.equal(await me(last.access_token), 401)
    t.strictSame(outcome(await refresh(last.refresh_token)), REFUSED)
  }
)

onOneDatabase(t, 'a replay is noticed whatever scope it asks for [RF2 SC1]', async (t, database) => {
  const { enter, refresh, renewed, me, clock } = await open(t, database)
  const first = await enter()
  const { access_token } = await renewed(first.refresh_token)
  const again = await refresh(first.refresh_token, { scope: 'nothing:known' })
  t.strictSame([again.statusCode, again.json().error], [400, 'invalid_scope'], 'a repetition inside the leeway is none')
  t.equal(await me(access_token), 200)
  clock.advance(LEEWAY)
  t.strictSame(outcome(await refresh(first.refresh_token, { scope: 'nothing:known' })), REFUSED)
  t.equal(await me(access_token), 401)
})

onOneDatabase(
  t,
  'whoever lost the answer gets the same successor inside the leeway, to the millisecond [RF6]',
  async (t, database) => {
    const { enter, refresh, renewed, me, clock } = await open(t, database)
    const { refresh_token: token } = await enter()
    const lost = await renewed(token)
    clock.advance(LEEWAY - 0.001)
    const again = await renewed(token)
    t.equal(again.refresh_token, lost.refresh_token)
    t.strictSame([await me(lost.access_token), await me(again.access_token)], [200, 200])
    clock.advance(0.001)
    t.strictSame(outcome(await refresh(token)), REFUSED)
    t.equal(await me(again.access_token), 401)
  }
)

onOneDatabase(t, 'with a leeway of 0 every repetition is a replay [RF6]', async (t, database) => {
  const { enter, refresh, renewed, me } = await open(t, database, { LATCHKEY_REFRESH_LEEWAY: '0' })
  const { refresh_token: token } = await enter()
  const next = await renewed(token)
  t.strictSame(outcome(await refresh(token)), REFUSED)
  t.equal(await me(next.access_token), 401)
})

onOneDatabase(
  t,
  'another client’s refresh token is refused, and its owner is unaffected [RF5]',
  async (t, database) => {
    const { app, enter, refresh, renewed } = await open(t, database)
    const { secret } = await app.auth.clients.create(OPERATOR, {
      id: 'other',
      name: 'Other',
      grantTypes: ['refresh_token'],
      scopes: ['profile']
    })
    const { refresh_token: token } = await enter()
    const thief = { client_id: 'other', client_secret: secret as string }
    t.strictSame(outcome(await refresh(token, thief)), REFUSED)
    const next = await renewed(token)
    t.strictSame(outcome(await refresh(token, thief)), REFUSED, 'a replay by another client is none')
    await renewed(next.refresh_token)
  }
)

t.test(
  'a session ends when it was idle too long, each refresh puts that off, and never beyond its lifetime [RF7]',
  async (t) => {
    const { enter, refresh, renewed, clock } = await open(t)
    let { refresh_token: token } = await enter()
    const HOUR = 3600
    for (let hour = 0; hour < 12; hour++) {
      clock.advance(HOUR - 1)
      token = (await renewed(token)).refresh_token
    }
    clock.advance(11)
    token = (await renewed(token)).refresh_token
    clock.advance(1)
    t.strictSame(outcome(await refresh(token)), REFUSED, 'after twelve hours, however busy')

    const idle = await enter()
    clock.advance(HOUR)
    t.strictSame(outcome(await refresh(idle.refresh_token)), REFUSED, 'after an hour of nothing')
  }
)

t.test('kinds of tokens are not interchangeable, and no forged one is anything [RF8]', async (t) => {
  const { enter, refresh, renewed, me } = await open(t)
  const { access_token, refresh_token: token } = await enter()
  t.equal(await me(token), 401)
  const bytes = Buffer.from(token.slice(4), 'base64url')
  const flipped = [...bytes.keys()].map((at) => {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] as number) ^ 1
    return `lkr_${copy.toString('base64url')}`
  })
  for (const other of [
    access_token,
    'x',
    'lkr_',
    `${token}A`,
    token.slice(0, -1),
    token.toUpperCase(),
    `lks_${token.slice(4)}`,
    ` ${token}`,
    token.replace('lkr_', 'LKR_'),
    `lkr_${'A'.repeat(80)}`,
    ...flipped
  ])
    t.strictSame(outcome(await refresh(other)), REFUSED, other)
  await renewed(token)
})

onOneDatabase(t, 'a refresh narrows that access token only, and never broadens [SC2]', async (t, database) => {
  const { enter, renewed, refresh } = await open(t, database)
  const admin = { username: 'admin' }
  const first = await enter('profile users:read', admin)
  const narrow = await renewed(first.refresh_token, { scope: 'users:read' })
  t.equal(narrow.scope, 'users:read')
  const wide = await renewed(narrow.refresh_token)
  t.equal(wide.scope, 'profile users:read', 'the session keeps its scopes')
  const more = await renewed(wide.refresh_token, { scope: 'profile roles:read' })
  t.equal(more.scope, 'profile', 'what the session has not is left out')
  const response = await refresh(more.refresh_token, { scope: 'roles:read' })
  t.strictSame([response.statusCode, response.json().error], [400, 'invalid_scope'])
  t.equal((await renewed(more.refresh_token)).scope, 'profile users:read', 'a refused request uses nothing up')
})

onOneDatabase(t, 'a role that was taken away is gone at the refresh [SC4]', async (t, database) => {
  const { app, enter, renewed, refresh } = await open(t, database)
  const first = await enter('profile users:read', { username: 'admin' })
  const admin = await app.auth.users.find('admin')
  await app.auth.users.create(OPERATOR, { username: 'second', password: PASSWORD, roles: ['admin'] })
  await app.auth.users.change(OPERATOR, admin.id, { roles: ['user'] })
  const next = await renewed(first.refresh_token)
  t.equal(next.scope, 'profile')
  await app.auth.users.change(OPERATOR, admin.id, { roles: [] })
  const response = await refresh(next.refresh_token)
  t.strictSame([response.statusCode, response.json().error], [400, 'invalid_scope'])
})

onOneDatabase(t, 'a disabled user is refused, and enabling revives nothing [SC5]', async (t, database) => {
  const { app, enter, refresh, me } = await open(t, database)
  const tokens = await enter()
  const { id } = await app.auth.users.find('alice')
  await app.auth.users.change(OPERATOR, id, { disabled: true })
  t.strictSame(outcome(await refresh(tokens.refresh_token)), REFUSED)
  await app.auth.users.change(OPERATOR, id, { disabled: false })
  t.strictSame(outcome(await refresh(tokens.refresh_token)), REFUSED)
  t.equal(await me(tokens.access_token), 401)
  await app.auth.users.delete(OPERATOR, id)
  t.strictSame(outcome(await refresh(tokens.refresh_token)), REFUSED)
})

t.test('an access token does not outlive its session [RF7]', async (t) => {
  const { app, enter, renewed, clock } = await open(t)
  await app.auth.clients.create(OPERATOR, {
    id: 'short',
    name: 'Short',
    method: 'none',
    firstParty: true,
    grantTypes: ['password', 'refresh_token'],
    scopes: ['profile'],
    sessionAbsoluteTtl: 400
  })
  const spanOf = ({ access_token }: Tokens) => {
    const { iat, exp } = decodeJwt(access_token)
    return Number(exp) - Number(iat)
  }
  const first = await enter('profile', { client_id: 'short' })
  t.equal(spanOf(first), 300)
  clock.advance(250)
  const second = await renewed(first.refresh_token, { client_id: 'short' })
  t.strictSame([spanOf(second), (second as unknown as { expires_in: number }).expires_in], [150, 150])
  clock.advance(149.9)
  t.equal(spanOf(await renewed(second.refresh_token, { client_id: 'short' })), 1, 'never less than a second')
})

onOneDatabase(t, 'a new password ends the other sessions, and this one goes on [PW9]', async (t, database) => {
  const { enter, refresh, renewed, send } = await open(t, database)
  const [mine, other] = [await enter(), await enter()]
  const change = { current_password: PASSWORD, new_password: OTHER }
  t.equal((await send(mine.access_token, 'POST', '/users/me/password', change)).statusCode, 204)
  t.strictSame(outcome(await refresh(other.refresh_token)), REFUSED)
  await renewed(mine.refresh_token)
})

t.test('a client refreshes by its own authentication, if it may [CA5 CA6]', async (t) => {
  const { app, enter, refresh, renewed, get } = await open(t)
  const client = { firstParty: true, scopes: ['profile'], defaultScopes: ['profile'] }
  const { secret } = await app.auth.clients.create(OPERATOR, {
    ...client,
    id: 'web',
    name: 'Web',
    grantTypes: ['password', 'refresh_token']
  })
  const { secret: only } = await app.auth.clients.create(OPERATOR, {
    ...client,
    id: 'once',
    name: 'Once',
    grantTypes: ['password']
  })
  const web = { client_id: 'web', client_secret: secret as string }
  const { refresh_token: token } = await enter('profile', web)
  const failed = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
  t.strictSame(outcome(await refresh(token, { client_id: 'web' })), failed)
  t.strictSame(outcome(await refresh(token, { ...web, client_secret: `${secret}x` })), failed)
  t.strictSame(outcome(await refresh(token)), REFUSED, 'without any client it is the one of /docs')
  await renewed(token, web)

  const once = { client_id: 'once', client_secret: only as string }
  const short = await enter('profile', once)
  t.notOk('refresh_token' in short, 'a client without the grant gets no refresh token')
  const { items } = (await get('/users/me/sessions', short.access_token)).json()
  const { authenticated_at, expires_at } = items.find((session: { client_id: string }) => session.client_id === 'once')
  t.equal(Date.parse(expires_at) - Date.parse(authenticated_at), 300_000, 'its session ends with its token')
  t.strictSame(outcome(await refresh(token, once)), [
    400,
    { error: 'unauthorized_client', error_description: 'The client may not use this grant type' }
  ])
})

t.test('a client that is disabled loses its sessions, and enabling revives none [SC6]', async (t) => {
  const { app, enter, refresh } = await open(t)
  const { secret } = await app.auth.clients.create(OPERATOR, {
    id: 'web',
    name: 'Web',
    grantTypes: ['password', 'refresh_token'],
    firstParty: true,
    scopes: ['profile'],
    defaultScopes: ['profile']
  })
  const web = { client_id: 'web', client_secret: secret as string }
  const { refresh_token: token } = await enter('profile', web)
  await app.auth.clients.change(OPERATOR, 'web', { disabled: true })
  t.equal((await refresh(token, web)).statusCode, 401)
  await app.auth.clients.change(OPERATOR, 'web', { disabled: false })
  t.strictSame(outcome(await refresh(token, web)), REFUSED)
})

t.test('the refresh grant reads its form like every other [TE2 TE4 TE5]', async (t) => {
  const { token, enter } = await open(t)
  const { refresh_token: value } = await enter()
  const missing = { error: 'invalid_request', error_description: 'The parameter refresh_token is missing' }
  t.strictSame(outcome(await token('grant_type=refresh_token')), [400, missing])
  t.strictSame(outcome(await token('grant_type=refresh_token&refresh_token=')), [400, missing])
  const twice = await token(`grant_type=refresh_token&refresh_token=${value}&refresh_token=${value}`)
  t.strictSame([twice.statusCode, twice.json().error], [400, 'invalid_request'])
  t.equal((await token(`grant_type=refresh_token&refresh_token=${value}&unknown=x`)).statusCode, 200)
})

onOneDatabase(
  t,
  'a user sees the own sessions and ends them; those of others are not there (AD2)',
  async (t, database) => {
    const { app, enter, send, get, me, refresh } = await open(t, database)
    const [here, there] = [await enter(), await enter()]
    const bob = await app.auth.users.create(OPERATOR, { username: 'bob', password: PASSWORD, roles: ['user'] })
    const bobs = await enter('profile', { username: 'bob' })
    const { items, next_cursor } = (await get('/users/me/sessions', here.access_token)).json()
    t.equal(next_cursor, null)
    t.strictSame(
      items.map(({ current }: { current: boolean }) => current),
      [true, false]
    )
    t.strictSame(items[0], {
      id: JSON.parse(Buffer.from(here.access_token.split('.')[1] as string, 'base64url').toString()).sid,
      client_id: 'docs',
      scope: 'profile',
      amr: ['pwd'],
      address: '127.0.0.1',
      user_agent: 'lightMyRequest',
      current: true,
      authenticated_at: '2026-01-01T12:00:00.000Z',
      created_at: '2026-01-01T12:00:00.000Z',
      last_used_at: '2026-01-01T12:00:00.000Z',
      expires_at: '2026-01-01T13:00:00.000Z'
    })
    const end = async (token: string, url: string) => (await send(token, 'DELETE', url)).statusCode
    const [{ id: bobsSession }] = (await get('/users/me/sessions', bobs.access_token)).json().items
    t.equal(await end(here.access_token, `/users/me/sessions/${bobsSession}`), 404)
    t.equal(await end(here.access_token, `/users/me/sessions/${NOBODY}`), 404)
    t.equal(await me(bobs.access_token), 200)
    t.equal(await end(here.access_token, `/users/me/sessions/${items[1].id}`), 204)
    t.equal(await end(here.access_token, `/users/me/sessions/${items[1].id}`), 404, 'it is over')
    t.equal(await me(there.access_token), 401)
    t.strictSame(outcome(await refresh(there.refresh_token)), REFUSED)

    const third = await enter()
    t.equal(await end(here.access_token, '/users/me/sessions?except=current'), 204)
    t.strictSame([await me(third.access_token), await me(here.access_token)], [401, 200])
    t.equal(await end(here.access_token, '/users/me/sessions?except=others'), 400)
    t.equal(await end(here.access_token, '/users/me/sessions/'), 404, 'a forgotten id is not all')
    t.equal(await end(here.access_token, '/users/me/sessions'), 204)
    t.equal(await me(here.access_token), 401)
    t.equal(await me(bobs.access_token), 200)

    const admin = (await enter('users:read users:write', { username: 'admin' })).access_token
    const seen = (await get(`/users/${bob.id}/sessions`, admin)).json().items
    t.strictSame(
      seen.map(({ id, current }: { id: string; current: boolean }) => [id, current]),
      [[bobsSession, false]]
    )
    t.equal((await get(`/users/${NOBODY}/sessions`, admin)).statusCode, 404)
    t.equal(await end(admin, `/users/${NOBODY}/sessions/${bobsSession}`), 404, 'not under another user')
    t.equal(await end(admin, `/users/${bob.id}/sessions/${bobsSession}`), 204)
    t.equal(await me(bobs.access_token), 401)
    t.equal(await end(admin, `/users/${bob.id}/sessions`), 204)
    t.equal(await end(admin, `/users/${NOBODY}/sessions`), 404)
  }
)

t.test('a refresh that fails for our sake uses nothing up: 503, and then the same token is good', async (t) => {
  const { app, enter, refresh } = await open(t, 'sqlite', { LATCHKEY_REFRESH_LEEWAY: '0' })
  const { refresh_token: token } = await enter()
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  for (const [part, method] of [
    ['keys', 'signing'],
    ['refreshKeys', 'find'],
    ['scopes', 'find'],
    ['sessions', 'rotate']
  ] as const) {
    const holder = app.store[part] as unknown as Record<string, unknown>
    const before = holder[method]
    holder[method] = away
    t.equal((await refresh(token)).statusCode, 503, `${part}.${method}`)
    holder[method] = before
  }
  t.equal((await refresh(token)).statusCode, 200)
})

onOneDatabase(
  t,
  'what an instance ends whose clock is 30 s ahead is dead at the others too [F18]',
  async (t, database) => {
    const at = await createDatabase(t, database)
    const slow = await open(t, database, {}, at)
    const fast = await open(t, database, {}, at)
    const [first, second, third] = [await slow.enter(), await slow.enter(), await slow.enter()]
    slow.clock.advance(3590)
    fast.clock.advance(3620)
    const revoked = await fast.inject({
      method: 'POST',
      url: '/revoke',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: `token=${first.refresh_token}`
    })
    t.equal(revoked.statusCode, 200)
    t.strictSame(outcome(await slow.refresh(first.refresh_token)), REFUSED)
    const { id } = await fast.app.auth.users.find('alice')
    await fast.app.auth.users.setPassword(OPERATOR, { id, password: OTHER })
    t.strictSame(outcome(await slow.refresh(second.refresh_token)), REFUSED)
    t.strictSame(outcome(await slow.refresh(third.refresh_token)), REFUSED)
  }
)
