import type { Static } from '@sinclair/typebox'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { User } from '../../src/domain/model.ts'
import * as wire from '../../src/wire/users.ts'
import { NOW, openDomain } from '../domain/open.ts'
import { accepts, type Limit, sameLimits } from './schema.ts'

type Creation = Static<typeof wire.UserCreation>

const USER: User = {
  id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
  username: 'alice',
  email: 'alice@example.com',
  fullName: 'Alice Liddell',
  disabledAt: null,
  roles: ['user'],
  createdAt: NOW,
  updatedAt: NOW + 1500
}
const PASSWORD = 'correct horse battery staple'

t.test('a user is written with the names of the API', async (t) => {
  const written = {
    id: USER.id,
    username: 'alice',
    email: 'alice@example.com',
    full_name: 'Alice Liddell',
    disabled: false,
    roles: ['user'],
    created_at: '2026-11-22T09:00:00.000Z',
    updated_at: '2026-11-22T09:00:01.500Z'
  }
  t.strictSame(wire.toWire(USER), written)
  t.ok(accepts(wire.UserView, written))
  t.strictSame(wire.toWire({ ...USER, email: null, fullName: null, disabledAt: NOW }), {
    ...written,
    email: null,
    full_name: null,
    disabled: true
  })
})

t.test('a new user is read with the documented defaults', async (t) => {
  const body: Creation = { username: 'bob', password: PASSWORD }
  t.strictSame(wire.inputFromWire(body), { username: 'bob', password: PASSWORD, roles: ['user'] })
  t.ok(accepts(wire.UserCreation, body))
  t.strictSame(body.roles, ['user'])
  t.strictSame(wire.inputFromWire({ ...body, email: null, full_name: 'Bob', roles: [] }), {
    username: 'bob',
    password: PASSWORD,
    email: null,
    fullName: 'Bob',
    roles: []
  })
})

t.test('a change holds the given members only, and null stays null', async (t) => {
  t.strictSame(wire.editFromWire({}), {})
  t.strictSame(wire.editFromWire({ full_name: null }), { fullName: null })
  t.strictSame(wire.editFromWire({ username: 'al', email: null, full_name: 'Al', disabled: true, roles: [] }), {
    username: 'al',
    email: null,
    fullName: 'Al',
    disabled: true,
    roles: []
  })
  t.strictSame(wire.passwordChangeFromWire({ current_password: 'a', new_password: 'b' }), { current: 'a', next: 'b' })
})

t.test('a filter is read from text', async (t) => {
  t.strictSame(wire.filterFromWire({}), {})
  t.strictSame(wire.filterFromWire({ disabled: 'true' }), { disabled: true })
  t.strictSame(wire.filterFromWire({ disabled: 'false', search: 'a', role: 'user', limit: 1 }), {
    disabled: false,
    search: 'a',
    role: 'user'
  })
  for (const query of [{ limit: 0 }, { limit: 101 }, { cursor: 'x' }, { disabled: 'yes' }, { search: '' }, { q: 'x' }])
    t.notOk(accepts(wire.UserQuery, query), JSON.stringify(query))
  t.ok(accepts(wire.UserQuery, { limit: 100, cursor: USER.id }))
})

t.test('a stored user is returned with the values that were sent', async (t) => {
  const { users } = (await openDomain(t)).auth
  const { password, ...profile } = { username: 'Bob', password: PASSWORD, email: 'B@example.com', full_name: 'Bøb' }
  const user = await users.create(OPERATOR, wire.inputFromWire({ ...profile, password, roles: ['user'] }))
  t.match(wire.toWire(user), { ...profile, roles: ['user'], disabled: false })
  const edit = { username: 'bobby', email: null, full_name: null, disabled: true, roles: [] }
  t.match(wire.toWire(await users.change(OPERATOR, user.id, wire.editFromWire(edit))), edit)
})

t.test('schema and domain have the same limits for a user', async (t) => {
  const { users } = (await openDomain(t)).auth
  /** No common password, and each character is one byte. */
  const letters = Array.from({ length: 400 }, (_, n) => n.toString(36)).join('-')
  let count = 0
  const body = (members: Partial<Creation>): Creation => ({
    username: `user${++count}`,
    password: PASSWORD,
    roles: [],
    ...members
  })
  const limit = <K extends keyof Creation>(name: K, max: Creation[K], over: Creation[K]): Limit<Creation> => ({
    name,
    max: body({ [name]: max }),
    over: body({ [name]: over })
  })
  const email = (length: number) => `${'a'.repeat(length - 12)}@example.com`
  // One character that is four in its decomposed form.
  const decomposed = 'ᾂ'.normalize('NFD')

  t.equal([...decomposed].length, 4)
  t.ok(letters.length > 1024)
  await sameLimits(t, wire.UserCreation, {
    limits: [
      limit('username', decomposed.repeat(64), decomposed.repeat(65)),
      limit('email', email(254), email(255)),
      limit('full_name', '𝐀'.repeat(200), '𝐀'.repeat(201)),
      limit('full_name', 'Alice', 'Alice\nLiddell'),
      limit('email', 'a@b', 'a@b@c'),
      limit('password', letters.slice(0, 1024), letters.slice(0, 1025))
    ],
    send: (given) => users.create(OPERATOR, wire.inputFromWire(given))
  })
})

t.test(
  'the schema refuses too many, repeated and too long roles, and members that the body does not have',
  async (t) => {
    const roles = (count: number) => ({ roles: Array.from({ length: count }, (_, n) => `r${n}`) })
    t.ok(accepts(wire.UserEdit, roles(50)))
    t.notOk(accepts(wire.UserEdit, roles(51)))
    t.notOk(accepts(wire.UserEdit, { roles: ['user', 'user'] }))
    t.notOk(accepts(wire.UserEdit, { roles: ['x'.repeat(65)] }))
    t.notOk(accepts(wire.UserEdit, { password: PASSWORD }))
    t.notOk(accepts(wire.UserChanges, { disabled: true }))
  }
)
