import t, { type Test } from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, type Database, ISSUER, NOBODY, onOneDatabase, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')
const AT = '2026-01-01T12:00:00.000Z'
const NEW_PASSWORD = 'another horse battery staple'

/** An app with an admin's and alice's token. */
async function start(test: Test, database: Database = 'sqlite') {
  const app = await build(test, { database })
  const admin = await app.login('admin', ALL)
  const alice = await app.login('alice')
  const idOf = async (username: string) => (await app.app.auth.users.find(username)).id
  return { ...app, admin, alice, idOf }
}

const problem = (status: number, title: string, detail: string) => ({ type: 'about:blank', title, status, detail })
const LAST = problem(409, 'Conflict', 'Nobody would be left with the role admin: give it to somebody else first')
const NO_USER = problem(404, 'Not Found', 'There is no such user')
const taken = (detail: string) => problem(409, 'Conflict', detail)
const CANNOT_GIVE = {
  ...forbidden(),
  challenge:
    'Bearer realm="latchkey", error="insufficient_scope", error_description="Nobody can give what they do not have"',
  body: problem(403, 'Forbidden', 'Nobody can give what they do not have')
}

onOneDatabase(t, 'an admin adds a user, who logs in; sees, changes and deletes them', async (t, database) => {
  const { send, inject, admin, login, get, clock } = await start(t, database)
  const created = await send(admin, 'POST', '/users', {
    username: 'Bob',
    password: PASSWORD,
    email: 'Bob@example.com',
    full_name: 'Bob B.'
  })
  const bob = created.json()
  t.strictSame(
    [created.statusCode, created.headers.location, bob],
    [
      201,
      `${ISSUER}/users/${bob.id}`,
      {
        id: bob.id,
        username: 'Bob',
        email: 'Bob@example.com',
        full_name: 'Bob B.',
        disabled: false,
        roles: ['user'],
        created_at: AT,
        updated_at: AT
      }
    ]
  )
  t.strictSame((await send(admin, 'GET', `/users/${bob.id}`)).json(), bob)
  const token = await login('bOB')
  t.equal((await get('/users/me', token)).json().id, bob.id)

  clock.advance(1)
  const changes = { username: 'robert', email: null, full_name: 'R.', roles: ['admin', 'user'] }
  const changed = await send(admin, 'PATCH', `/users/${bob.id}`, changes)
  t.strictSame(
    [changed.statusCode, changed.json()],
    [200, { ...bob, ...changes, updated_at: '2026-01-01T12:00:01.000Z' }]
  )
  t.equal((await get('/users', await login('robert', ALL))).statusCode, 200, 'the new role holds at the next login')
  t.equal((await get('/users/me', token)).json().username, 'robert', 'and nothing was ended')

  const deleted = await inject({
    method: 'DELETE',
    url: `/users/${bob.id}`,
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
  })
  t.strictSame([deleted.statusCode, deleted.body], [204, ''])
  t.equal((await get('/users/me', token)).statusCode, 401)
  t.equal(await login('robert'), undefined)
  for (const method of ['GET', 'DELETE'] as const)
    t.strictSame((await send(admin, method, `/users/${bob.id}`)).json(), NO_USER)
})

onOneDatabase(
  t,
  'a disabled user is refused by the next request, and enabling revives nothing [SC5]',
  async (t, database) => {
    const { send, admin, alice, idOf, get, login, token } = await start(t, database)
    const url = `/users/${await idOf('alice')}`
    t.equal((await get('/users/me', alice)).statusCode, 200)
    t.equal((await send(admin, 'PATCH', url, { disabled: true })).json().disabled, true)
    t.equal((await get('/users/me', alice)).statusCode, 401)
    const form = { grant_type: 'password', username: 'alice', password: PASSWORD }
    t.strictSame((await token(form)).json(), {
      error: 'invalid_grant',
      error_description: 'Incorrect username or password'
    })

    t.equal((await send(admin, 'PATCH', url, { disabled: true })).json().disabled, true, 'once more changes nothing')
    t.equal((await send(admin, 'PATCH', url, { disabled: false })).json().disabled, false)
    t.equal((await get('/users/me', alice)).statusCode, 401, 'an old token stays dead')
    t.equal((await get('/users/me', await login('alice'))).statusCode, 200)
  }
)

onOneDatabase(
  t,
  'a role that is taken away, and a scope that a role loses, are gone at the next request [SC4]',
  async (t, database) => {
    const { send, admin, get, createUser, login } = await start(t, database)
    const role = { name: 'reader', description: 'May see who there is', scopes: ['profile', 'users:read'] }
    t.strictSame((await send(admin, 'POST', '/roles', role)).json(), role)
    const id = await createUser('bob', ['admin', 'reader'])
    const bob = await login('bob', ALL)
    t.equal((await get('/users', bob)).statusCode, 200)
    t.equal((await send(admin, 'PATCH', `/users/${id}`, { roles: ['reader'] })).statusCode, 200)
    t.strictSame(answer(await get('/users', bob)), forbidden())
    t.equal((await send(admin, 'PATCH', '/roles/reader', { scopes: ['profile'] })).statusCode, 200)
    t.strictSame(answer(await get('/users', bob)), forbidden('users:read'))
    t.equal((await get('/users/me', bob)).statusCode, 200)
    t.equal((await send(admin, 'DELETE', '/roles/reader')).statusCode, 204)
    t.strictSame(answer(await get('/users/me', bob)), forbidden('profile'))
    t.strictSame((await send(admin, 'GET', `/users/${id}`)).json().roles, [])
  }
)

onOneDatabase(t, 'roles are added, listed, changed and deleted, and scopes are listed', async (t, database) => {
  const { send, admin } = await start(t, database)
  const b = { name: 'b', description: 'B', scopes: ['profile', 'roles:read'] }
  const created = await send(admin, 'POST', '/roles', b)
  t.strictSame([created.statusCode, created.headers.location, created.json()], [201, `${ISSUER}/roles/b`, b])
  t.strictSame((await send(admin, 'POST', '/roles', { name: 'a.b_c-9' })).json(), {
    name: 'a.b_c-9',
    description: '',
    scopes: []
  })
  t.strictSame((await send(admin, 'POST', '/roles', b)).json(), taken('A role of this name is there already'))
  t.strictSame((await send(admin, 'GET', '/roles/b')).json(), b)
  t.strictSame((await send(admin, 'PATCH', '/roles/b', { description: 'C' })).json(), { ...b, description: 'C' })
  t.strictSame((await send(admin, 'PATCH', '/roles/b', { scopes: [] })).json(), { ...b, description: 'C', scopes: [] })

  const names: string[] = []
  for (let cursor = '' as string | null; cursor !== null; ) {
    const { items, next_cursor } = (await send(admin, 'GET', `/roles?limit=1${cursor && `&cursor=${cursor}`}`)).json()
    names.push(...items.map((role: { name: string }) => role.name))
    cursor = next_cursor
  }
  t.strictSame(names, ['a.b_c-9', 'admin', 'b', 'user'])

  t.equal((await send(admin, 'DELETE', '/roles/b')).statusCode, 204)
  const noRole = problem(404, 'Not Found', 'There is no such role')
  t.strictSame((await send(admin, 'DELETE', '/roles/b')).json(), noRole)
  t.strictSame((await send(admin, 'GET', '/roles/b')).json(), noRole)
  t.strictSame((await send(admin, 'PATCH', '/roles/b', { description: 'x' })).json(), noRole)
  t.strictSame((await send(admin, 'GET', '/scopes?limit=2&cursor=profile')).json(), {
    items: [
      { name: 'resources:read', description: 'See every resource', resource: ISSUER },
      { name: 'resources:write', description: 'Register, change and delete resources', resource: ISSUER }
    ],
    next_cursor: 'resources:write'
  })
})

onOneDatabase(
  t,
  'users are found by the beginning of name or e-mail, by role, and by being disabled',
  async (t, database) => {
    const { app, send, admin, idOf } = await start(t, database)
    for (const [username, email] of [
      ['Ärmel', 'sleeve@example.com'],
      ['bob', 'Bob@example.com'],
      ['b_b', null],
      ['b%b', null]
    ] as const)
      await app.auth.users.create(OPERATOR, { username, email, password: PASSWORD, roles: ['user'] })
    await send(admin, 'PATCH', `/users/${await idOf('bob')}`, { disabled: true })
    const found = async (query: string) =>
      (await send(admin, 'GET', `/users?${query}`)).json().items.map((user: { username: string }) => user.username)
    for (const [query, usernames] of [
      ['', ['admin', 'alice', 'Ärmel', 'bob', 'b_b', 'b%b']],
      ['search=B', ['bob', 'b_b', 'b%b']],
      ['search=b_', ['b_b']],
      ['search=b%25', ['b%b']],
      ['search=%5C', []],
      ['search=a%CC%88', ['Ärmel']],
      ['search=SLEEVE@', ['Ärmel']],
      ['search=leeve', []],
      ['role=admin', ['admin']],
      ['role=user&search=a', ['alice']],
      ['role=none', []],
      ['disabled=true', ['bob']],
      ['disabled=false&search=b', ['b_b', 'b%b']],
      ['limit=2', ['admin', 'alice']]
    ] as const)
      t.strictSame(await found(query), usernames, query)
    for (const query of ['disabled=yes', 'disabled=', 'role=', 'search=', 'sort=name', 'cursor=x'])
      t.equal((await send(admin, 'GET', `/users?${query}`)).statusCode, 400, query)
  }
)

onOneDatabase(
  t,
  'the last admin cannot be disabled, demoted or deleted, and nothing else of the change is done [AD4]',
  async (t, database) => {
    const { send, admin, idOf, createUser, get } = await start(t, database)
    const id = await idOf('admin')
    const before = (await send(admin, 'GET', `/users/${id}`)).json()
    const last = async () => {
      for (const changes of [
        { disabled: true },
        { roles: [] },
        { roles: ['user'], full_name: 'x' },
        { disabled: true, roles: ['admin'] }
      ])
        t.strictSame((await send(admin, 'PATCH', `/users/${id}`, changes)).json(), LAST)
      t.strictSame((await send(admin, 'DELETE', `/users/${id}`)).json(), LAST)
      t.strictSame((await send(admin, 'GET', `/users/${id}`)).json(), before)
    }
    await last()
    const other = await createUser('other', ['admin'])
    t.equal((await send(admin, 'PATCH', `/users/${other}`, { disabled: true })).statusCode, 200)
    await last()
    t.equal((await send(admin, 'PATCH', `/users/${other}`, { disabled: false })).statusCode, 200)
    t.equal((await send(admin, 'DELETE', `/users/${id}`)).statusCode, 204, 'with another one it goes')
    t.equal((await get('/users', admin)).statusCode, 401)
  }
)

t.test('the role admin keeps what administers Latchkey, and cannot be deleted [AD4]', async (t) => {
  const { send, admin } = await start(t)
  const keeps = problem(409, 'Conflict', 'The role admin keeps every scope of Latchkey’s own API')
  for (const scopes of [[], ['profile'], ALL.split(' ').slice(1)])
    t.strictSame((await send(admin, 'PATCH', '/roles/admin', { scopes })).json(), keeps)
  t.strictSame(
    (await send(admin, 'DELETE', '/roles/admin')).json(),
    problem(409, 'Conflict', 'The role admin cannot be deleted')
  )
  t.strictSame(
    (await send(admin, 'PATCH', '/roles/admin', { description: 'Root' })).json().scopes,
    ALL.split(' ').toSorted()
  )
})

onOneDatabase(t, 'nobody gives what they do not have: 403, and nothing is changed [AD4]', async (t, database) => {
  const world = await start(t, database)
  const { app, send, admin, idOf, get } = world
  await sql(
    world,
    `insert into scopes (name, description, resource_id) values ('orders:read', 'See orders', 'latchkey')`
  )
  await app.auth.roles.create(OPERATOR, { name: 'clerk', description: '', scopes: ['orders:read'] })
  const alice = await idOf('alice')
  const attempts = [
    ['PATCH', `/users/${alice}`, { roles: ['clerk'] }],
    ['PATCH', `/users/${alice}`, { roles: ['user', 'clerk'], full_name: 'x' }],
    ['PATCH', `/users/${await idOf('admin')}`, { roles: ['admin', 'clerk'] }],
    ['POST', '/users', { username: 'bob', password: PASSWORD, roles: ['clerk'] }],
    ['PATCH', '/roles/user', { scopes: ['profile', 'orders:read'] }],
    ['PATCH', '/roles/admin', { scopes: [...ALL.split(' '), 'orders:read'] }],
    ['POST', '/roles', { name: 'spy', scopes: ['orders:read'] }]
  ] as const
  for (const [method, url, body] of attempts)
    t.strictSame(answer(await send(admin, method, url, body)), CANNOT_GIVE, `${method} ${url}`)
  t.strictSame((await send(admin, 'GET', `/users/${alice}`)).json().full_name, null)
  t.equal((await send(admin, 'GET', '/users')).json().items.length, 2)
  t.strictSame(
    (await send(admin, 'GET', '/roles')).json().items.map((role: { name: string }) => role.name),
    ['admin', 'clerk', 'user']
  )

  // What somebody has already stays theirs when another role is added, and a scope that a role has stays its own.
  await app.auth.users.change(OPERATOR, alice, { roles: ['clerk'] })
  t.equal((await send(admin, 'PATCH', `/users/${alice}`, { roles: ['clerk', 'user'] })).statusCode, 200)
  t.equal((await send(admin, 'PATCH', '/roles/clerk', { scopes: ['orders:read', 'profile'] })).statusCode, 200)
  await app.auth.users.change(OPERATOR, await idOf('admin'), { roles: ['admin', 'clerk'] })
  for (const [method, url, body] of attempts.slice(3))
    t.ok((await send(admin, method, url, body)).statusCode < 300, `with the scope: ${method} ${url}`)
  t.equal((await get('/users', admin)).statusCode, 200)
})

t.test('roles and scopes that do not exist are refused, and nothing is changed [AD4]', async (t) => {
  const { send, admin, idOf } = await start(t)
  const url = `/users/${await idOf('alice')}`
  const noRole = problem(400, 'Bad Request', 'There is no role "none"')
  const noScope = problem(400, 'Bad Request', 'There is no scope "none"')
  t.strictSame((await send(admin, 'PATCH', url, { roles: ['user', 'none'], full_name: 'x' })).json(), noRole)
  t.strictSame(
    (await send(admin, 'POST', '/users', { username: 'b', password: PASSWORD, roles: ['none'] })).json(),
    noRole
  )
  t.strictSame((await send(admin, 'PATCH', '/roles/user', { scopes: ['none'], description: 'x' })).json(), noScope)
  t.strictSame((await send(admin, 'POST', '/roles', { name: 'b', scopes: ['none'] })).json(), noScope)
  t.strictSame((await send(admin, 'GET', url)).json().full_name, null)
  t.strictSame((await send(admin, 'GET', '/roles')).json().items[1], {
    name: 'user',
    description: 'May see and change their own profile',
    scopes: ['profile']
  })
})

t.test(
  'what may not be set is refused, and so is a value of another type: 400, and nothing is changed [AD3 HT6]',
  async (t) => {
    const { app, send, admin, alice, idOf } = await start(t)
    const id = await idOf('alice')
    const before = (await send(admin, 'GET', `/users/${id}`)).json()
    const user = { username: 'bob', password: PASSWORD }
    const foreign = [
      'id',
      'sub',
      'password_hash',
      'auth_version',
      'authVersion',
      'created_at',
      'updated_at',
      'is_admin',
      'scopes',
      'disabled_at',
      '__proto__x',
      'constructor'
    ]
    const cases: [string, 'POST' | 'PATCH', string, object][] = [
      ...['roles', 'disabled', 'username', 'password', ...foreign].map(
        (name) =>
          [alice, 'PATCH', '/users/me', { [name]: name === 'roles' ? ['admin'] : 'x' }] as [
            string,
            'PATCH',
            string,
            object
          ]
      ),
      ...['password', 'current_password', ...foreign].map(
        (name) => [admin, 'PATCH', `/users/${id}`, { [name]: 'x' }] as [string, 'PATCH', string, object]
      ),
      ...['disabled', ...foreign].map(
        (name) => [admin, 'POST', '/users', { ...user, [name]: 'x' }] as [string, 'POST', string, object]
      ),
      ...[
        { disabled: 'true' },
        { disabled: 1 },
        { disabled: null },
        { roles: 'admin' },
        { roles: [1] },
        { roles: null },
        { roles: [['admin']] },
        { roles: ['user', 'user'] },
        { email: 1 },
        { email: ['a@b'] },
        { full_name: true },
        { username: null },
        { username: 7 }
      ].map((body) => [admin, 'PATCH', `/users/${id}`, body] as [string, 'PATCH', string, object]),
      ...[
        {},
        { username: 'bob' },
        { password: PASSWORD },
        { ...user, username: 1 },
        { ...user, password: 123456789012345 },
        { ...user, roles: {} },
        [user],
        { ...user, email: {} }
      ].map((body) => [admin, 'POST', '/users', body] as [string, 'POST', string, object]),
      ...[
        {},
        { name: 1 },
        { name: '' },
        { name: 'A' },
        { name: 'a b' },
        { name: '1a' },
        { name: 'a'.repeat(65) },
        { name: 'b', scopes: 'profile' },
        { name: 'b', scopes: [1] },
        { name: 'b', description: 1 },
        { name: 'b', description: 'a\nb' },
        { name: 'b', users: [] }
      ].map((body) => [admin, 'POST', '/roles', body] as [string, 'POST', string, object]),
      ...[{ name: 'other' }, { scopes: null }, { scopes: ['profile', 'profile'] }, { description: null }].map(
        (body) => [admin, 'PATCH', '/roles/user', body] as [string, 'PATCH', string, object]
      ),
      ...[
        {},
        { current_password: PASSWORD },
        { new_password: NEW_PASSWORD },
        { current_password: PASSWORD, new_password: [NEW_PASSWORD] },
        { current_password: PASSWORD, new_password: NEW_PASSWORD, sub: id }
      ].map((body) => [alice, 'POST', '/users/me/password', body] as [string, 'POST', string, object])
    ]
    for (const [token, method, url, body] of cases) {
      const response = await send(token, method, url, body)
      t.equal(response.statusCode, 400, `${method} ${url} ${JSON.stringify(body)}`)
      t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
    }
    t.strictSame((await send(admin, 'GET', `/users/${id}`)).json(), before)
    t.equal((await app.auth.users.list({ after: null, limit: 10 })).items.length, 2)
    t.equal((await app.auth.roles.list({ after: null, limit: 10 })).items.length, 2)
  }
)

t.test('one name in all its spellings is one user, and one that PRECIS does not allow is refused [PW8]', async (t) => {
  const { app, send, admin, login } = await start(t)
  const add = (username: string) => send(admin, 'POST', '/users', { username, password: PASSWORD })
  t.equal((await add('Jürgen')).json().username, 'Jürgen')
  for (const same of ['jürgen', 'JÜRGEN', 'Ju\u0308rgen', 'Ｊürgen']) {
    t.strictSame((await add(same)).json(), taken('The username is taken'), same)
    t.type(await login(same), 'string', same)
  }
  for (const bad of ['', ' ', 'a b', ' jürgen', 'a\u200bb', '😀', 'ﬁsh', 'a'.repeat(65), 'אa', '\u202ealice', 'a\tb']) {
    const { statusCode } = await add(bad)
    t.equal(statusCode, 400, JSON.stringify(bad))
    t.equal(await login(bad || 'x'), undefined)
  }
  t.equal(
    (await add('a b')).json().detail,
    'A username has 1 to 64 letters, digits and signs, no spaces, and is written in one direction (RFC 8265)'
  )
  t.equal((await app.auth.users.list({ after: null, limit: 10 })).items.length, 3)
})

t.test('a new password is long enough, not common and not the own name; the reason is said [PW4 PW5]', async (t) => {
  const { send, admin, alice } = await start(t)
  const reasons: [string, string][] = [
    ['fourteen chars', 'A password has at least 15 characters'],
    ['🔑'.repeat(14), 'A password has at least 15 characters'],
    ['passwordpassword', 'The password is too common'],
    ['aaaaaaaaaaaaaaaaaaaa', 'The password is too common'],
    ['123456789012345', 'The password is too common'],
    ['é'.repeat(513), 'A password has at most 1024 bytes']
  ]
  for (const [password, reason] of reasons) {
    const expected = problem(400, 'Bad Request', reason)
    t.strictSame((await send(admin, 'POST', '/users', { username: 'bob', password })).json(), expected)
    const change = { current_password: PASSWORD, new_password: password }
    t.strictSame((await send(alice, 'POST', '/users/me/password', change)).json(), expected)
  }
  const own = problem(400, 'Bad Request', "The password is made of the user's own name")
  const marvin = { username: 'marvin', email: 'paranoid@example.com', full_name: 'Marvin Android' }
  for (const password of ['marvinmarvin1234', 'Paranoid-Android-42', 'latchkey-latchkey'])
    t.strictSame((await send(admin, 'POST', '/users', { ...marvin, password })).json(), own, password)

  for (const [index, password] of [
    'fifteen chars !',
    '            é à ç ñ',
    'no digits no capitals',
    '🔑🔒🗝🔐🔏🔓🛡🪪🚪🏠🏡🏢🏬🏭🏯'
  ].entries())
    t.equal((await send(admin, 'POST', '/users', { username: `u${index}`, password })).statusCode, 201, password)
})

t.test('LATCHKEY_PASSWORD_MIN_LENGTH says how long a new password is [PW4]', async (t) => {
  const app = await build(t, { env: { LATCHKEY_PASSWORD_MIN_LENGTH: '8' } })
  const admin = await app.login('admin', ALL)
  const add = (username: string, password: string) => app.send(admin, 'POST', '/users', { username, password })
  t.strictSame(
    (await add('bob', '7 chars')).json(),
    problem(400, 'Bad Request', 'A password has at least 8 characters')
  )
  t.equal((await add('bob', '8 chars!')).statusCode, 201)
})

onOneDatabase(
  t,
  'a new password needs the current one, holds at once, and ends the other sessions [PW9]',
  async (t, database) => {
    const { send, login, get, token, createUser } = await start(t, database)
    await createUser('bob')
    const [mine, other, bob] = [await login('alice'), await login('alice'), await login('bob')]
    const change = (current_password: string, new_password: string) =>
      send(mine, 'POST', '/users/me/password', { current_password, new_password })
    for (const wrong of ['wrong', '', `${PASSWORD} `, PASSWORD.toUpperCase(), 'é'.repeat(2000)])
      t.strictSame(
        (await change(wrong, NEW_PASSWORD)).json(),
        problem(400, 'Bad Request', 'The current password is wrong')
      )
    t.equal((await get('/users/me', other)).statusCode, 200, 'a wrong one ends nothing')

    const done = await change(PASSWORD, NEW_PASSWORD)
    t.strictSame([done.statusCode, done.body], [204, ''])
    t.equal((await get('/users/me', mine)).statusCode, 200)
    t.equal((await get('/users/me', other)).statusCode, 401)
    t.equal((await get('/users/me', bob)).statusCode, 200)
    t.equal((await token({ grant_type: 'password', username: 'alice', password: PASSWORD })).statusCode, 400)
    t.type(await login('alice', 'profile', NEW_PASSWORD), 'string')
  }
)

t.test('a password is one in NFC and NFD; case and spaces make another [PW6]', async (t) => {
  const { send, login, alice } = await start(t)
  const password = ' Crème brûlée à la carte '
  const change = { current_password: PASSWORD, new_password: password.normalize('NFD') }
  t.equal((await send(alice, 'POST', '/users/me/password', change)).statusCode, 204)
  for (const same of [password.normalize('NFC'), password.normalize('NFD')])
    t.type(await login('alice', 'profile', same), 'string')
  for (const other of [
    password.trim(),
    password.toLowerCase(),
    password.replaceAll(' ', '\u00a0'),
    password.replaceAll('è', 'e')
  ])
    t.equal(await login('alice', 'profile', other), undefined, other)
})

t.test(
  'what is not there and what may not be seen look alike to users, and no answer holds a secret [AD2 AD5]',
  async (t) => {
    const { send, admin, alice, idOf } = await start(t)
    const own = await idOf('alice')
    for (const id of [own, await idOf('admin'), NOBODY])
      for (const method of ['GET', 'PATCH', 'DELETE'] as const)
        t.strictSame(
          answer(await send(alice, method, `/users/${id}`)),
          forbidden(method === 'GET' ? 'users:read' : 'users:write')
        )
    for (const name of ['admin', 'none'])
      t.strictSame(answer(await send(alice, 'DELETE', `/roles/${name}`)), forbidden('roles:write'))
    const bodies = [
      (await send(admin, 'GET', '/users')).body,
      (await send(admin, 'GET', `/users/${own}`)).body,
      (await send(admin, 'POST', '/users', { username: 'bob', password: PASSWORD })).body,
      (await send(admin, 'POST', '/users', { username: 'bob', password: PASSWORD })).body
    ]
    t.notMatch(bodies.join(' '), /argon2|hash|battery/)
  }
)

t.test('e-mail is optional and unique, whatever its case', async (t) => {
  const { send, admin, alice } = await start(t)
  t.equal((await send(alice, 'PATCH', '/users/me', { email: 'Alice@Example.com' })).statusCode, 200)
  const bob = { username: 'bob', password: PASSWORD }
  t.strictSame(
    (await send(admin, 'POST', '/users', { ...bob, email: 'alice@example.COM' })).json(),
    taken('The e-mail is taken')
  )
  t.equal((await send(admin, 'POST', '/users', bob)).json().email, null)
  t.equal((await send(admin, 'POST', '/users', { ...bob, username: 'eve', email: null })).json().email, null)
})
