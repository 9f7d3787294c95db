import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { runFirstStart } from '../../src/first-start.ts'
import { build } from '../helper.ts'
import { sql } from '../sql.ts'

// test/domain/subjects.test.ts tests that users and clients have different names.

t.test('the token of a client names no user, and the token of a user names the user [CA7]', async (t) => {
  const { app, token, get, login } = await build(t)
  const { accessTokens, clients, users } = app.auth
  const grants = { grantTypes: ['client_credentials'], scopes: ['users:read'] }
  const { secret } = await clients.create(OPERATOR, { id: 'worker', name: 'x', ...grants })
  const form = { grant_type: 'client_credentials', client_id: 'worker', client_secret: secret as string }
  const jwt = (await token(form)).json().access_token
  t.match(await accessTokens.verify(jwt), { kind: 'client', sub: 'worker', clientId: 'worker', sid: null, roles: [] })
  t.equal((await get('/users/me', jwt)).statusCode, 403)
  const { id } = await users.find('alice')
  t.match(await accessTokens.verify(await login('alice')), { kind: 'user', sub: id, clientId: 'docs' })
})

t.test('the first admin cannot have the id of a client for a name [CA7]', async (t) => {
  const world = await build(t)
  const message =
    'LATCHKEY_ADMIN_USERNAME, LATCHKEY_ADMIN_PASSWORD: The username is the id of a client: choose another name'
  for (const name of ['docs', 'Docs', 'ｄｏｃｓ']) {
    await sql(world, 'delete from users;delete from user_roles;')
    const config = loadConfig({ ...world.env, LATCHKEY_ADMIN_USERNAME: name })
    await t.rejects(
      runFirstStart(world.app, config, { mayCreateDatabase: true }),
      { name: 'SetupError', message },
      name
    )
  }
  t.strictSame(await sql(world, 'select id from users'), [])
})
