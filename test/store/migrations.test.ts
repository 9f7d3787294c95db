import t from 'tap'
import { build, createDatabase, onEachDatabase } from '../helper.ts'
import { sql } from '../sql.ts'

onEachDatabase(
  t,
  'what version 2 adds to a database of version 1 is as in a new one, and what was there stays',
  async (t, database) => {
    const at = await createDatabase(t, database, 'ready')
    const old = await build(t, { at })
    for (const statement of [
      'drop table guesses',
      "delete from invariants where name = 'admins'",
      "delete from scopes where name not in ('profile', 'users:read')",
      'update schema_version set version = 1, compatible_from = 1',
      "delete from kysely_migration where name = '0002'"
    ])
      await sql(old, statement)
    t.equal((await old.app.store.schema())?.version, 1)

    const { app, login, token, get } = await build(t, { at, env: { LATCHKEY_THROTTLE: 'on' } })
    t.strictSame(await app.store.schema(), { version: 2, compatibleFrom: 1 })
    const scope = 'profile roles:read roles:write users:read users:write'
    const granted = await token({
      grant_type: 'password',
      username: 'admin',
      password: 'correct horse battery staple',
      scope
    })
    t.equal(granted.json().scope, scope)
    t.equal((await get('/roles', granted.json().access_token)).statusCode, 200)
    t.equal((await get('/users/me', await login('alice'))).statusCode, 200)
    const page = { after: null, limit: 10 }
    const [{ app: fresh }, migrated] = [await build(t, { database }), app]
    t.strictSame(await migrated.auth.scopes.list(page), await fresh.auth.scopes.list(page), 'as in a new one')
    t.strictSame(await migrated.auth.roles.list(page), await fresh.auth.roles.list(page))
    t.strictSame(await migrated.auth.clients.get('docs'), await fresh.auth.clients.get('docs'))
  }
)
