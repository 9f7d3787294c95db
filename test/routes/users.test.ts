import t from 'tap'
import { build, onEachDatabase } from '../helper.ts'

onEachDatabase(t, 'a user reads the own profile with a token of the scope profile', async (t, database) => {
  const { login, get } = await build(t, { database })
  const response = await get('/users/me', await login('alice'))
  const { id, created_at, updated_at, ...rest } = response.json()
  t.equal(response.statusCode, 200)
  t.strictSame(rest, { username: 'alice', email: null, full_name: null, disabled: false, roles: ['user'] })
  t.equal(created_at, '2026-01-01T12:00:00.000Z')
  t.equal(updated_at, created_at)
  t.match(id, /^[0-9a-f-]{36}$/)
})
