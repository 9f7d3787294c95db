import t from 'tap'
import { decode } from '../forge.ts'
import { build, NOBODY, PASSWORD } from '../helper.ts'

const errors: string[] = []
const logger = { level: 'error', stream: { write: (line: string) => errors.push(line) } } as const
const { token, get, send, createUser } = await build(t, { logger })
const enter = async (username = 'alice', scope = 'profile account') =>
  (await token({ grant_type: 'password', username, password: PASSWORD, scope })).json()
const me = async (accessToken: string) => (await get('/users/me', accessToken)).statusCode
const end = async (accessToken: string, url: string) => (await send(accessToken, 'DELETE', url)).statusCode
const sessionsOf = async (accessToken: string, user = 'me') =>
  (await get(`/users/${user}/sessions`, accessToken)).json<{ items: { id: string; current: boolean }[] }>().items

t.test('a user lists their own sessions and ends one or all of them [AD2]', async (t) => {
  const [here, there] = [await enter(), await enter()]
  const { items, next_cursor } = (await get('/users/me/sessions', here.access_token)).json()
  t.equal(next_cursor, null)
  t.strictSame(
    items.map(({ current }: { current: boolean }) => current),
    [true, false]
  )
  t.strictSame(items[0], {
    id: decode(here.access_token.split('.')[1]).sid,
    client_id: 'docs',
    scope: 'profile account',
    amr: ['pwd'],
    address: '127.0.0.1',
    user_agent: 'lightMyRequest',
    current: true,
    authenticated_at: '2026-01-01T12:00:00.000Z',
    created_at: '2026-01-01T12:00:00.000Z',
    last_used_at: '2026-01-01T12:00:00.000Z',
    expires_at: '2026-01-01T13:00:00.000Z'
  })
  t.equal(await end(here.access_token, `/users/me/sessions/${items[1].id}`), 204)
  t.equal(await end(here.access_token, `/users/me/sessions/${items[1].id}`), 404, 'it has ended')
  t.equal(await me(there.access_token), 401)
  const refresh = await token({ grant_type: 'refresh_token', refresh_token: there.refresh_token })
  t.strictSame([refresh.statusCode, refresh.json().error], [400, 'invalid_grant'])

  const third = await enter()
  t.equal(await end(here.access_token, '/users/me/sessions?except=current'), 204)
  t.strictSame([await me(third.access_token), await me(here.access_token)], [401, 200])
  t.equal(await end(here.access_token, '/users/me/sessions?except=others'), 400)
  t.equal(await end(here.access_token, '/users/me/sessions/'), 404, 'a path without an id does not end all')
  t.equal(await me(here.access_token), 200)
  t.strictSame(errors, [])
  t.equal(await end(here.access_token, '/users/me/sessions'), 204)
  t.equal(await me(here.access_token), 401)
})

t.test('a user neither sees nor ends the sessions of another user, and an admin does both [AD2]', async (t) => {
  const id = await createUser('bob')
  const [alice, bob] = [await enter(), await enter('bob')]
  const [session] = await sessionsOf(bob.access_token)
  t.equal(await end(alice.access_token, `/users/me/sessions/${session?.id}`), 404)
  t.equal(await end(alice.access_token, `/users/me/sessions/${NOBODY}`), 404)
  t.equal(await end(alice.access_token, '/users/me/sessions'), 204)
  t.equal(await me(bob.access_token), 200)

  const admin = (await enter('admin', 'users:read users:write')).access_token
  t.strictSame(
    (await sessionsOf(admin, id)).map(({ id, current }) => [id, current]),
    [[session?.id, false]]
  )
  t.equal((await get(`/users/${NOBODY}/sessions`, admin)).statusCode, 404)
  t.equal(await end(admin, `/users/${NOBODY}/sessions/${session?.id}`), 404, 'not under another user')
  t.equal(await end(admin, `/users/${id}/sessions/${session?.id}`), 204)
  t.equal(await me(bob.access_token), 401)
  t.equal(await end(admin, `/users/${id}/sessions`), 204)
  t.equal(await end(admin, `/users/${NOBODY}/sessions`), 404)
})
