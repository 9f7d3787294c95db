import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, PASSWORD, type TestApp } from '../helper.ts'

const PROBLEM = 'application/problem+json; charset=utf-8'
const NOT_AS_DESCRIBED = 'The request does not have the form that the documentation describes'
const NOT_IN_QUERY = 'The query does not have the form that the documentation describes'

const shared = await build(t)
let users = 0

/** Returns the shared app, with requests of a new user. */
async function start() {
  const app = shared
  const username = `alice${++users}`
  await app.createUser(username)
  const token = await app.login(username)
  const patch = (changes: unknown, bearer = token) =>
    app.inject({
      method: 'PATCH',
      url: '/users/me',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      payload: JSON.stringify(changes)
    })
  return { ...app, patch, me: async () => (await app.get('/users/me', token)).json() }
}

t.test('a user reads their own profile with the scope profile', async (t) => {
  const { login, get } = await build(t)
  const response = await get('/users/me', await login('alice'))
  const { id, created_at, updated_at, ...rest } = response.json()
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  t.strictSame(rest, { username: 'alice', email: null, full_name: null, disabled: false, roles: ['user'] })
  t.equal(created_at, '2026-01-01T12:00:00.000Z')
  t.equal(updated_at, created_at)
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

t.test('a token shows the e-mail address only with the scope email, and only the roles that it carries', async (t) => {
  const { app, login, get, token } = await build(t)
  const { id } = await app.auth.users.find('admin')
  await app.auth.users.change(OPERATOR, id, { email: 'admin@example.com' })
  const shown = async (bearer: string) => (await get('/users/me', bearer)).json()
  const full = await shown(await login('admin', 'profile email'))
  t.match(full, { id, email: 'admin@example.com', roles: ['admin'] })
  const { email: _, ...withoutEmail } = full
  t.strictSame(await shown(await login('admin', 'profile account')), withoutEmail)
  t.equal((await get('/users/me', await login('admin', 'openid email'))).statusCode, 403, 'profile is required')

  const client = { id: 'app', name: 'App', method: 'none' as const, firstParty: true, grantTypes: ['password'] }
  await app.auth.clients.create(OPERATOR, { ...client, scopes: ['profile'], roles: [] })
  const form = { grant_type: 'password', client_id: 'app', username: 'admin', password: PASSWORD }
  t.strictSame(await shown((await token(form)).json().access_token), { ...withoutEmail, roles: [] })
})

t.test('a request for a profile or the list of users without a token is 401', async (t) => {
  const { inject } = shared
  for (const [method, url] of [
    ['GET', '/users/me'],
    ['PATCH', '/users/me'],
    ['GET', '/users']
  ] as const) {
    const { statusCode, headers, json } = await inject({ method, url })
    t.strictSame(
      [statusCode, headers['www-authenticate'], headers['content-type'], json()],
      [
        401,
        'Bearer realm="latchkey"',
        PROBLEM,
        { type: 'about:blank', title: 'Unauthorized', status: 401, detail: 'Not authenticated' }
      ]
    )
  }
})

t.test('a user changes e-mail and full name, and null empties them', async (t) => {
  const { patch, me, clock } = await start()
  let expected = await me()
  for (const changes of [
    { email: 'Alice@Example.com' },
    { full_name: 'Alice Liddell' },
    { email: 'a@b', full_name: 'Al' },
    { full_name: null },
    { email: null },
    { email: 'ünï@exämple.com', full_name: '李 小龍 👩‍🚀' },
    { email: null, full_name: null }
  ]) {
    clock.advance(1.5)
    expected = { ...expected, ...changes, updated_at: new Date(clock.now()).toISOString() }
    const response = await patch(changes)
    t.strictSame([response.statusCode, response.json()], [200, expected])
    t.strictSame(await me(), expected)
  }
})

t.test('an e-mail address of another user is accepted, so nobody learns or reserves who has it [AD2]', async (t) => {
  const { patch, createUser, login } = await start()
  await createUser('bob')
  t.equal((await patch({ email: 'zo\u00eb@example.com' }, await login('bob'))).statusCode, 200)
  for (const email of ['zo\u00eb@example.com', 'ZOE\u0308@Example.com']) {
    const { statusCode, body } = await patch({ email })
    t.strictSame([statusCode, JSON.parse(body).email], [200, email])
  }
})

t.test('a member that a user may not change is 400 with its place [AD3]', async (t) => {
  const { patch, me } = await start()
  const expected = await me()
  for (const [name, value] of Object.entries({
    id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
    username: 'admin',
    username_key: 'admin',
    roles: ['admin'],
    disabled: false,
    disabled_at: null,
    created_at: '2020-01-01T00:00:00.000Z',
    updated_at: '2020-01-01T00:00:00.000Z',
    password: 'correct horse battery staple',
    password_hash: 'x',
    auth_version: 7,
    email_key: 'x@example.com',
    emailKey: 'x@example.com',
    fullName: 'Mallory',
    scope: 'users:read'
  })) {
    for (const changes of [{ [name]: value }, { full_name: 'Mallory', [name]: value }]) {
      const response = await patch(changes)
      t.strictSame(
        [response.statusCode, response.json()],
        [
          400,
          {
            type: 'about:blank',
            title: 'Bad Request',
            status: 400,
            detail: NOT_AS_DESCRIBED,
            errors: [{ pointer: `/body/${name}`, detail: 'must NOT have additional properties' }]
          }
        ],
        name
      )
    }
  }
  t.strictSame(await me(), expected)
})

t.test('an e-mail or full name with an invalid form or length is 400', async (t) => {
  const { patch, me } = await start()
  const expected = await me()
  const local = (length: number) => `${'x'.repeat(length - '@example.com'.length)}@example.com`
  for (const changes of [
    { email: '' },
    { email: 'alice' },
    { email: '@example.com' },
    { email: 'alice@' },
    { email: 'a@b@c' },
    { email: 'a lice@example.com' },
    { email: ' alice@example.com' },
    { email: 'alice@example.com\n' },
    { email: 'alice\u007f@example.com' },
    { email: local(255) },
    { full_name: '' },
    { full_name: 'a\nb' },
    { full_name: 'a\tb' },
    { full_name: 'a\u0085b' },
    { full_name: '\u001b[31m' },
    { full_name: 'x'.repeat(201) },
    { full_name: '👩'.repeat(201) }
  ]) {
    const response = await patch(changes)
    const { errors, ...rest } = response.json()
    t.strictSame(
      [response.statusCode, rest],
      [400, { type: 'about:blank', title: 'Bad Request', status: 400, detail: NOT_AS_DESCRIBED }],
      JSON.stringify(changes)
    )
    t.ok(errors.every(({ pointer }: { pointer: string }) => pointer === `/body/${Object.keys(changes)[0]}`))
  }
  t.strictSame(await me(), expected)
  for (const changes of [{ email: local(254) }, { full_name: 'x'.repeat(200) }, { full_name: '👩'.repeat(200) }])
    t.match((await patch(changes)).json(), changes)
})

t.test('a user changes a profile only with the scope account, and only their own', async (t) => {
  const { patch, login, get } = await start()
  const other = await login('admin', 'openid profile email users:read')
  const response = await patch({ full_name: 'x' }, other)
  t.strictSame(
    [response.statusCode, response.headers['www-authenticate'], response.json()],
    [
      403,
      'Bearer realm="latchkey", error="insufficient_scope", error_description="The token lacks the scope account", scope="account"',
      { type: 'about:blank', title: 'Forbidden', status: 403, detail: 'The token lacks the scope account' }
    ]
  )
  t.equal((await patch({ full_name: 'Alice' })).statusCode, 200)
  t.equal((await get('/users/me', await login('admin'))).json().full_name, null)
})

/** Builds an app with `count` users, among them `admin` and `alice`. */
async function withUsers(t: Test, count: number) {
  const app = await build(t)
  const names = Array.from({ length: count - 2 }, (_, index) => `user${index}`)
  for (const name of names) {
    app.clock.advance(1)
    await app.app.store.users.create(OPERATOR, {
      id: `01900000-0000-7000-8000-${String(names.indexOf(name)).padStart(12, '0')}`,
      username: name,
      usernameKey: name,
      lookAlike: '',
      mixesScripts: false,
      email: null,
      emailKey: null,
      fullName: null,
      roles: ['user'],
      passwordHash: '$argon2id$',
      now: app.clock.now()
    })
  }
  const token = await app.login('admin', 'users:read')
  return { ...app, names, list: (query = '') => app.get(`/users${query}`, token) }
}

/** Reads all pages. */
async function walk(list: (query: string) => ReturnType<TestApp['get']>, limit: number) {
  const pages: { id: string; username: string }[][] = []
  for (let cursor = ''; cursor !== null && pages.length < 100; ) {
    const response = await list(`?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`)
    pages.push(response.json().items)
    cursor = response.json().next_cursor
  }
  return pages
}

t.test('pages of any size list every user once', async (t) => {
  const { list, names } = await withUsers(t, 25)
  const all = (await list()).json()
  t.equal(all.next_cursor, null)
  t.strictSame(
    all.items.map(({ username }: { username: string }) => username),
    [...names, 'admin', 'alice']
  )
  for (const [limit, sizes] of [
    [1, Array(25).fill(1)],
    [7, [7, 7, 7, 4]],
    [24, [24, 1]],
    [25, [25]],
    [100, [25]]
  ] as const) {
    const pages = await walk(list, limit)
    t.strictSame(
      pages.map((page) => page.length),
      sizes,
      `limit ${limit}`
    )
    t.strictSame(pages.flat(), all.items, `limit ${limit}`)
  }
})

t.test('a user who is added while pages are read is on the last page', async (t) => {
  const { list, names, createUser } = await withUsers(t, 6)
  const first = (await list('?limit=3')).json()
  await createUser('late')
  const second = (await list(`?limit=3&cursor=${first.next_cursor}`)).json()
  const third = (await list(`?limit=3&cursor=${second.next_cursor}`)).json()
  t.strictSame(
    [first, second, third].map((page) => page.items.map(({ username }: { username: string }) => username)),
    [names.slice(0, 3), [...names.slice(3), 'admin', 'alice'], ['late']]
  )
  t.equal(third.next_cursor, null)
})

t.test('a page has 50 users by default, each with the same JSON as GET /users/me', async (t) => {
  const { list, get, login } = await withUsers(t, 53)
  const page = await list()
  t.equal(page.statusCode, 200)
  t.strictSame(Object.keys(page.json()), ['items', 'next_cursor'])
  t.equal(page.json().items.length, 50)
  t.equal(page.json().next_cursor, page.json().items.at(-1).id)
  const rest = (await list(`?cursor=${page.json().next_cursor}`)).json()
  t.equal(rest.items.length, 3)
  t.strictSame(rest.items.at(-1), (await get('/users/me', await login('alice'))).json())
  t.notMatch(page.body, /argon2|hash|version/)
})

t.test('an invalid limit, cursor or parameter is 400 with its place', async (t) => {
  const { list } = await withUsers(t, 3)
  const id = '01900000-0000-7000-8000-000000000000'
  for (const [query, name] of [
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=1e400', 'limit'],
    ['limit=Infinity', 'limit'],
    ['limit=-Infinity', 'limit'],
    ['limit=NaN', 'limit'],
    ['limit=1000000000000000000000', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['limit=true', 'limit'],
    ['limit[]=1', 'limit[]'],
    ['cursor=', 'cursor'],
    ['cursor=x', 'cursor'],
    [`cursor=${id}x`, 'cursor'],
    [`cursor=${id.slice(1)}`, 'cursor'],
    [`cursor=${id}%0a`, 'cursor'],
    [`cursor=${id.toUpperCase().replace('7', 'G')}`, 'cursor'],
    [`cursor=${id}&cursor=${id}`, 'cursor'],
    ["cursor=' or 1=1 --", 'cursor'],
    ['page=2', 'page'],
    ['Limit=2', 'Limit'],
    ['limit=1&x=', 'x'],
    ['=1', '']
  ] as const) {
    const response = await list(`?${encodeURI(query).replaceAll('%250a', '%0a')}`)
    const { errors, ...rest } = response.json()
    t.strictSame(
      [response.statusCode, response.headers['content-type'], rest],
      [400, PROBLEM, { type: 'about:blank', title: 'Bad Request', status: 400, detail: NOT_IN_QUERY }],
      query
    )
    t.strictSame(
      errors?.map(({ pointer }: { pointer: string }) => pointer),
      [`/query/${name}`],
      query
    )
  }
})

t.test('the smallest and largest limits and cursors are allowed', async (t) => {
  const { list } = await withUsers(t, 4)
  const usernames = async (query: string) =>
    (await list(query)).json().items?.map(({ username }: { username: string }) => username)
  t.strictSame(await usernames('?limit=1'), ['user0'])
  t.strictSame(await usernames('?limit=100'), ['user0', 'user1', 'admin', 'alice'])
  t.strictSame(await usernames('?'), ['user0', 'user1', 'admin', 'alice'])
  t.strictSame(await usernames('?cursor=00000000-0000-0000-0000-000000000000&limit=1'), ['user0'])
  t.strictSame(await usernames('?cursor=ffffffff-ffff-ffff-ffff-ffffffffffff'), [])
})

t.test('a caller who is not an admin with the scope gets 403', async (t) => {
  const { login, get, createUser } = await build(t)
  await createUser('boss', ['admin', 'user'])
  const noScope = 'The token lacks the scope users:read'
  const neither = `${noScope} and the role admin`
  for (const [token, detail] of [
    [await login('alice'), neither],
    [await login('admin', 'profile'), noScope],
    [await login('boss', 'profile'), noScope]
  ] as const) {
    for (const url of ['/users', '/users/', '/users?limit=1', '/users?limit=x']) {
      const { statusCode, headers, json } = await get(url, token)
      t.strictSame(
        [statusCode, headers['www-authenticate'], headers['content-type'], json()],
        [
          403,
          `Bearer realm="latchkey", error="insufficient_scope", error_description="${detail}", scope="users:read"`,
          PROBLEM,
          { type: 'about:blank', title: 'Forbidden', status: 403, detail }
        ],
        url
      )
    }
  }
  t.equal((await get('/users', await login('boss', 'users:read'))).statusCode, 200)
})
