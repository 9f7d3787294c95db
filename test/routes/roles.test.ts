import t from 'tap'
import { ROLE_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, ISSUER, PASSWORD } from '../helper.ts'
import { problem } from '../http.ts'
import { sql } from '../sql.ts'
import { ALL_SCOPES, conflict, invalid, notFound, outcome } from './api.ts'

const ALL = ALL_SCOPES.join(' ')
const world = await build(t)
const { app, get, send, createUser, login } = world
const admin = await login('admin', ALL)
const { id: alice } = await app.auth.users.find('alice')
const { id: adminId } = await app.auth.users.find('admin')

t.test('an admin adds, lists, changes and deletes roles, and lists scopes', async (t) => {
  const b = { name: 'b', description: 'B', scopes: ['profile', 'roles:read'] }
  const created = await send(admin, 'POST', '/roles', b)
  t.strictSame([created.statusCode, created.headers.location, created.json()], [201, `${ISSUER}/roles/b`, b])
  const plain = { name: 'a.b_c-9', description: '', scopes: [] }
  t.strictSame(outcome(await send(admin, 'POST', '/roles', { name: 'a.b_c-9' })), [201, plain])
  t.strictSame(outcome(await send(admin, 'POST', '/roles', b)), conflict('A role with this name already exists'))
  t.strictSame(outcome(await send(admin, 'GET', '/roles/b')), [200, b])
  const described = { ...b, description: 'C' }
  t.strictSame(outcome(await send(admin, 'PATCH', '/roles/b', { description: 'C' })), [200, described])
  t.strictSame(outcome(await send(admin, 'PATCH', '/roles/b', { scopes: [] })), [200, { ...described, scopes: [] }])

  const names: string[] = []
  for (let cursor = '' as string | null; cursor !== null; ) {
    const { items, next_cursor } = (await send(admin, 'GET', `/roles?limit=1${cursor && `&cursor=${cursor}`}`)).json()
    names.push(...items.map((role: { name: string }) => role.name))
    cursor = next_cursor
  }
  t.strictSame(names, ['a.b_c-9', 'admin', 'b', 'user'])

  t.equal((await send(admin, 'DELETE', '/roles/b')).statusCode, 204)
  const noRole = notFound('There is no such role')
  t.strictSame(outcome(await send(admin, 'DELETE', '/roles/b')), noRole)
  t.strictSame(outcome(await send(admin, 'GET', '/roles/b')), noRole)
  t.strictSame(outcome(await send(admin, 'PATCH', '/roles/b', { description: 'x' })), noRole)
  t.strictSame((await send(admin, 'GET', '/scopes?limit=2&cursor=profile')).json(), {
    items: [
      { name: 'resources:read', description: 'See every resource', resource: ISSUER },
      { name: 'resources:write', description: 'Register, change and delete resources', resource: ISSUER }
    ],
    next_cursor: 'resources:write'
  })
})

t.test('a removed role, and a scope that a role loses, are gone at the next request [SC4]', async (t) => {
  const role = { name: 'reader', description: 'May read users', scopes: ['account', 'users:read'] }
  t.strictSame(outcome(await send(admin, 'POST', '/roles', role)), [201, role])
  const id = await createUser('bob', ['admin', 'reader'])
  const bob = await login('bob', ALL)
  t.equal((await get('/users', bob)).statusCode, 200)
  t.equal((await send(admin, 'PATCH', `/users/${id}`, { roles: ['reader'] })).statusCode, 200)
  t.strictSame(answer(await get('/users', bob)), forbidden({ role: 'admin' }))
  t.equal((await send(admin, 'PATCH', '/roles/reader', { scopes: ['account'] })).statusCode, 200)
  t.strictSame(answer(await get('/users', bob)), forbidden({ scope: 'users:read', role: 'admin' }))
  t.equal((await get('/users/me/sessions', bob)).statusCode, 200)
  t.equal((await send(admin, 'DELETE', '/roles/reader')).statusCode, 204)
  t.strictSame(answer(await get('/users/me/sessions', bob)), forbidden({ scope: 'account' }))
  t.strictSame((await send(admin, 'GET', `/users/${id}`)).json().roles, [])
})

t.test('the role admin keeps all scopes of the API of Latchkey, and cannot be deleted [AD4]', async (t) => {
  const keeps = conflict('The role admin keeps every scope of Latchkey’s own API')
  for (const scopes of [[], ['account'], ROLE_SCOPES.slice(1)])
    t.strictSame(outcome(await send(admin, 'PATCH', '/roles/admin', { scopes })), keeps)
  t.strictSame(outcome(await send(admin, 'DELETE', '/roles/admin')), conflict('The role admin cannot be deleted'))
  const changed = await send(admin, 'PATCH', '/roles/admin', { description: 'Root' })
  t.strictSame(changed.json().scopes, ROLE_SCOPES.toSorted())
})

t.test('an unknown role and an unknown scope are 400, and nothing is changed [AD4]', async (t) => {
  const noRole = invalid('There is no role "none"')
  const noScope = invalid('There is no scope "none"')
  const url = `/users/${alice}`
  const user = { username: 'b', password: PASSWORD, roles: ['none'] }
  t.strictSame(outcome(await send(admin, 'PATCH', url, { roles: ['user', 'none'], full_name: 'x' })), noRole)
  t.strictSame(outcome(await send(admin, 'POST', '/users', user)), noRole)
  t.strictSame(outcome(await send(admin, 'PATCH', '/roles/user', { scopes: ['none'], description: 'x' })), noScope)
  t.strictSame(outcome(await send(admin, 'POST', '/roles', { name: 'b', scopes: ['none'] })), noScope)
  t.strictSame((await send(admin, 'GET', url)).json().full_name, null)
  t.strictSame((await send(admin, 'GET', '/roles/user')).json(), {
    name: 'user',
    description: 'May change their own profile',
    scopes: ['account']
  })
})

t.test('an invalid member of a role is 400 [AD3 HT6]', async (t) => {
  const before = (await send(admin, 'GET', '/roles')).json()
  const creations = [
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
  ]
  const changes = [{ name: 'other' }, { scopes: null }, { scopes: ['profile', 'profile'] }, { description: null }]
  for (const [method, url, bodies] of [
    ['POST', '/roles', creations],
    ['PATCH', '/roles/user', changes]
  ] as const) {
    for (const body of bodies) {
      const response = await send(admin, method, url, body)
      t.equal(response.statusCode, 400, `${method} ${url} ${JSON.stringify(body)}`)
      t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
    }
  }
  t.strictSame((await send(admin, 'GET', '/roles')).json(), before)
})

t.test('an admin gives only roles and scopes that the admin has: 403 [AD4]', async (t) => {
  const refused = {
    ...forbidden({ role: 'admin' }),
    challenge:
      'Bearer realm="latchkey", error="insufficient_scope", error_description="You can give only roles and scopes that you have"',
    body: problem(403, 'You can give only roles and scopes that you have')
  }
  const scope = `insert into scopes (name, description, resource_id) values ('orders:read', 'See orders', 'latchkey')`
  await sql(world, scope)
  await app.auth.roles.create(OPERATOR, { name: 'clerk', description: '', scopes: ['orders:read'] })
  const attempts = [
    ['PATCH', `/users/${alice}`, { roles: ['clerk'] }],
    ['PATCH', `/users/${alice}`, { roles: ['user', 'clerk'], full_name: 'x' }],
    ['PATCH', `/users/${adminId}`, { roles: ['admin', 'clerk'] }],
    ['POST', '/users', { username: 'eve', password: PASSWORD, roles: ['clerk'] }],
    ['PATCH', '/roles/user', { scopes: ['profile', 'orders:read'] }],
    ['PATCH', '/roles/admin', { scopes: [...ROLE_SCOPES, 'orders:read'] }],
    ['POST', '/roles', { name: 'spy', scopes: ['orders:read'] }]
  ] as const
  const read = async () => [(await send(admin, 'GET', '/users')).json(), (await send(admin, 'GET', '/roles')).json()]
  const before = await read()
  for (const [method, url, body] of attempts)
    t.strictSame(answer(await send(admin, method, url, body)), refused, `${method} ${url}`)
  t.strictSame(await read(), before)

  await app.auth.users.change(OPERATOR, alice, { roles: ['clerk'] })
  const added = await send(admin, 'PATCH', `/users/${alice}`, { roles: ['clerk', 'user'] })
  t.equal(added.statusCode, 200, 'a user keeps a role that the admin does not have')
  const kept = await send(admin, 'PATCH', '/roles/clerk', { scopes: ['orders:read', 'profile'] })
  t.equal(kept.statusCode, 200, 'a role keeps a scope that the admin does not have')
  await app.auth.users.change(OPERATOR, adminId, { roles: ['admin', 'clerk'] })
  for (const [method, url, body] of attempts.slice(3))
    t.ok((await send(admin, method, url, body)).statusCode < 300, `with the scope: ${method} ${url}`)
  t.equal((await get('/users', admin)).statusCode, 200)
})
