import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, ISSUER, NOBODY, PASSWORD } from '../helper.ts'
import { ALL_SCOPES, AT, conflict, invalid, notFound, outcome } from './api.ts'

const ALL = ALL_SCOPES.join(' ')
const NO_USER = notFound('There is no such user')

const { app, clock, get, inject, login, send, token, createUser } = await build(t)
const admin = await login('admin', ALL)
const { id: adminId } = await app.auth.users.find('admin')
const { id: aliceId } = await app.auth.users.find('alice')
const alice = await login('alice')

t.test('an admin finds users by the beginning of name or e-mail, by role, and by being disabled', async (t) => {
  for (const [username, email] of [
    ['Ärmel', 'sleeve@example.com'],
    ['bob', 'Bob@example.com'],
    ['b_b', null],
    ['b%b', null]
  ] as const)
    await app.auth.users.create(OPERATOR, { username, email, password: PASSWORD, roles: ['user'] })
  const { id: bob } = await app.auth.users.find('bob')
  await send(admin, 'PATCH', `/users/${bob}`, { disabled: true })
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
})

t.test('an admin adds a user who logs in, and reads, changes and deletes the user', async (t) => {
  const given = { username: 'Ben', email: 'Ben@example.com', full_name: 'Ben B.' }
  const created = await send(admin, 'POST', '/users', { ...given, password: PASSWORD })
  const ben = created.json()
  const url = `/users/${ben.id}`
  t.strictSame(
    [created.statusCode, created.headers.location, ben],
    [201, `${ISSUER}${url}`, { id: ben.id, ...given, disabled: false, roles: ['user'], created_at: AT, updated_at: AT }]
  )
  t.strictSame(outcome(await send(admin, 'GET', url)), [200, ben])
  const jwt = await login('bEN')
  t.equal((await get('/users/me', jwt)).json().id, ben.id)

  clock.advance(1)
  const changes = { username: 'robert', email: null, full_name: 'R.', roles: ['admin', 'user'] }
  const changed = { ...ben, ...changes, updated_at: '2026-01-01T12:00:01.000Z' }
  t.strictSame(outcome(await send(admin, 'PATCH', url, changes)), [200, changed])
  t.equal((await get('/users', await login('robert', ALL))).statusCode, 200, 'the next login has the new role')
  t.equal((await get('/users/me', jwt)).json().username, 'robert', 'the change ended no session')

  const deleted = await inject({
    method: 'DELETE',
    url,
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
  })
  t.strictSame([deleted.statusCode, deleted.body], [204, ''], 'a content type without a body is allowed')
  t.equal((await get('/users/me', jwt)).statusCode, 401)
  t.equal(await login('robert'), undefined)
  for (const method of ['GET', 'DELETE'] as const) t.strictSame(outcome(await send(admin, method, url)), NO_USER)
})

t.test(
  'a taken username is 409, an e-mail address is never taken, and an invalid name or password 400 with the reason [PW5 PW8]',
  async (t) => {
    const add = async (user: object) => outcome(await send(admin, 'POST', '/users', { password: PASSWORD, ...user }))
    t.equal((await add({ username: 'Zoë', email: 'Zoe@Example.com' }))[0], 201)
    t.strictSame(await add({ username: 'ZOE\u0308' }), conflict('The username is taken'))
    t.match(await add({ username: 'x', email: 'zoe@example.COM' }), [201, { email: 'zoe@example.COM' }])
    t.match(await add({ username: 'eve' }), [201, { email: null }])
    t.match(await add({ username: 'eva', email: null }), [201, { email: null }])
    t.strictSame(
      await add({ username: 'a b' }),
      invalid(
        'A username has 1 to 64 letters, digits and punctuation characters, no spaces, and is written in one direction (RFC 8265)'
      )
    )
    t.strictSame(await add({ username: 'x', password: 'passwordpassword' }), invalid('The password is too common'))
  }
)

t.test('a disabled user is refused at the next request, and enabling revives no token [SC5]', async (t) => {
  const url = `/users/${await createUser('carol')}`
  const carol = await login('carol')
  const setDisabled = async (disabled: boolean) => (await send(admin, 'PATCH', url, { disabled })).json().disabled
  t.equal((await get('/users/me', carol)).statusCode, 200)
  t.equal(await setDisabled(true), true)
  t.equal((await get('/users/me', carol)).statusCode, 401)
  const response = await token({ grant_type: 'password', username: 'carol', password: PASSWORD })
  t.strictSame(response.json(), { error: 'invalid_grant', error_description: 'Incorrect username or password' })
  t.equal(await setDisabled(true), true, 'disabling again changes nothing')
  t.equal(await setDisabled(false), false)
  t.equal((await get('/users/me', carol)).statusCode, 401)
  t.equal((await get('/users/me', await login('carol'))).statusCode, 200)
})

t.test(
  'a member that a caller may not set, or of a wrong type, is 400, and nothing is changed [AD3 HT6]',
  async (t) => {
    const url = `/users/${aliceId}`
    const before = (await send(admin, 'GET', '/users')).json()
    const user = { username: 'dan', password: PASSWORD }
    const foreign = [
      ...[
        'id',
        'sub',
        'password_hash',
        'auth_version',
        'authVersion',
        'created_at',
        'updated_at',
        'is_admin',
        'scopes'
      ],
      ...['disabled_at', '__proto__x', 'constructor']
    ]
    const withEach = (names: string[]) => names.map((name) => ({ [name]: 'x' }))
    const cases: [token: string, method: 'POST' | 'PATCH', url: string, bodies: object[]][] = [
      [
        alice,
        'PATCH',
        '/users/me',
        [{ roles: ['admin'] }, ...withEach(['disabled', 'username', 'password', ...foreign])]
      ],
      [admin, 'PATCH', url, withEach(['password', 'current_password', ...foreign])],
      [admin, 'POST', '/users', withEach(['disabled', ...foreign]).map((more) => ({ ...user, ...more }))],
      [
        admin,
        'PATCH',
        url,
        [
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
        ]
      ],
      [
        admin,
        'POST',
        '/users',
        [
          {},
          { username: 'dan' },
          { password: PASSWORD },
          { ...user, username: 1 },
          { ...user, password: 123456789012345 },
          { ...user, roles: {} },
          [user],
          { ...user, email: {} }
        ]
      ]
    ]
    for (const [bearer, method, target, bodies] of cases) {
      for (const body of bodies) {
        const response = await send(bearer, method, target, body)
        t.equal(response.statusCode, 400, `${method} ${target} ${JSON.stringify(body)}`)
        t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
      }
    }
    t.strictSame((await send(admin, 'GET', '/users')).json(), before)
  }
)

t.test('a user without rights gets the same answer for objects that exist and that do not [AD2]', async (t) => {
  for (const id of [aliceId, adminId, NOBODY])
    for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
      const scope = method === 'GET' ? 'users:read' : 'users:write'
      t.strictSame(answer(await send(alice, method, `/users/${id}`)), forbidden({ scope, role: 'admin' }))
    }
  for (const name of ['admin', 'none'])
    t.strictSame(
      answer(await send(alice, 'DELETE', `/roles/${name}`)),
      forbidden({ scope: 'roles:write', role: 'admin' })
    )
})

t.test('no answer about users holds a password or its hash [AD5]', async (t) => {
  const add = { username: 'frank', password: PASSWORD }
  for (const { body } of [
    await send(admin, 'POST', '/users', add),
    await send(admin, 'POST', '/users', add),
    await send(admin, 'GET', '/users'),
    await send(admin, 'GET', `/users/${aliceId}`)
  ])
    t.notMatch(body, /argon2|hash|battery/)
})

t.test(
  'the last enabled admin cannot be disabled, demoted or deleted: 409, and nothing is changed [AD4]',
  async (t) => {
    const refused = conflict('One enabled user must have the role admin: give it to another user first')
    const url = `/users/${adminId}`
    const before = (await send(admin, 'GET', url)).json()
    const assertLast = async () => {
      for (const changes of [
        { disabled: true },
        { roles: [] },
        { roles: ['user'], full_name: 'x' },
        { disabled: true, roles: ['admin'] }
      ])
        t.strictSame(outcome(await send(admin, 'PATCH', url, changes)), refused)
      t.strictSame(outcome(await send(admin, 'DELETE', url)), refused)
      t.strictSame((await send(admin, 'GET', url)).json(), before)
    }
    await assertLast()
    const other = await createUser('other', ['admin'])
    t.equal((await send(admin, 'PATCH', `/users/${other}`, { disabled: true })).statusCode, 200)
    await assertLast()
    t.equal((await send(admin, 'PATCH', `/users/${other}`, { disabled: false })).statusCode, 200)
    t.equal((await send(admin, 'DELETE', url)).statusCode, 204)
    t.equal((await get('/users', admin)).statusCode, 401)
  }
)
