import t from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/scopes.ts'
import { build, createDatabase, onEachDatabase, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

/** What takes away again what a version added, the newest first. */
const UNDO: Record<number, string[]> = {
  6: ["delete from scopes where name = 'revocations:read'"],
  5: [
    "delete from invariants where name = 'subjects'",
    'alter table clients drop column first_party',
    'alter table clients drop column resources',
    'alter table clients drop column redirect_uris',
    'alter table clients drop column jwks',
    'alter table clients drop column access_token_ttl',
    'alter table clients drop column revoked_seq',
    'alter table client_secrets drop column expires_at',
    'alter table client_secrets drop column last_used_at',
    'drop table client_assertions',
    'drop index resources_identifier',
    'alter table resources drop column identifier',
    'drop table introspection_clients',
    "delete from scopes where name like 'clients:%' or name like 'resources:%'"
  ],
  4: [
    "delete from invariants where name = 'keys'",
    'alter table signing_keys drop column signs_since_at',
    'alter table signing_keys drop column verifies_until_at',
    'alter table signing_keys drop column retired_at',
    'alter table refresh_keys drop column verifies_until_at',
    "delete from scopes where name in ('keys:read', 'keys:write')"
  ],
  3: [
    'drop index sessions_by_end',
    'alter table sessions drop column counter',
    'alter table sessions drop column salt',
    'alter table sessions drop column rotated_at',
    'drop table refresh_keys',
    'drop table revocations',
    'drop table leases',
    'drop table client_secrets',
    'alter table clients drop column kind',
    "update clients set grant_types = 'password'",
    "delete from scopes where name = 'tokens:introspect'"
  ],
  2: [
    'drop table guesses',
    "delete from invariants where name = 'admins'",
    "delete from scopes where name not in ('profile', 'users:read')"
  ]
}

for (const version of [5, 3, 2, 1]) {
  onEachDatabase(
    t,
    `a database of version ${version} becomes one like a new one, and what was there stays`,
    async (t, database) => {
      const at = await createDatabase(t, database, 'ready')
      const old = await build(t, { at })
      const session = await old.login('alice')
      for (let added = 6; added > version; added--)
        for (const statement of [...(UNDO[added] ?? []), `delete from kysely_migration where name = '000${added}'`])
          await sql(old, statement)
      if (version === 5) await sql(old, "insert into role_scopes values ('user', 'tokens:introspect')")
      await sql(old, `update schema_version set version = ${version}, compatible_from = 1`)
      t.equal((await old.app.store.schema())?.version, version)

      const { app, token, get } = await build(t, { at, env: { LATCHKEY_THROTTLE: 'on' } })
      t.strictSame(await app.store.schema(), { version: 6, compatibleFrom: 1 })
      t.equal((await get('/users/me', session)).statusCode, 200, 'a session of before lives on')
      const scope = BUILT_IN_SCOPES.map(({ name }) => name)
        .toSorted()
        .join(' ')
      const login = { grant_type: 'password', username: 'admin', password: PASSWORD, scope }
      const granted = (await token(login)).json()
      t.equal(granted.scope, scope)
      t.equal((await get('/roles', granted.access_token)).statusCode, 200)
      const renewal = { grant_type: 'refresh_token', refresh_token: granted.refresh_token }
      t.equal((await token(renewal)).statusCode, 200)
      const page = { after: null, limit: 10 }
      const [{ app: fresh }, migrated] = [await build(t, { database }), app]
      t.strictSame(await migrated.auth.scopes.list(page), await fresh.auth.scopes.list(page), 'as in a new one')
      t.strictSame(await migrated.auth.roles.list(page), await fresh.auth.roles.list(page))
      t.strictSame(await migrated.auth.clients.get('docs'), await fresh.auth.clients.get('docs'))
    }
  )
}
