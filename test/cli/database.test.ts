import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { MIGRATIONS } from '../../src/store/migrations/index.ts'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'
import { command } from './command.ts'
import { fresh, login, me, serve } from './process.ts'

const AT_VERSION = `the database is at version ${MIGRATIONS.length}`

t.test('serve does not set up PostgreSQL, and prints the command that sets it up', async (t) => {
  const database = await createDatabase(t, 'postgres')
  const { code, stderr } = await command(environment(database), ['serve'])
  t.strictSame([code, stderr], [1, 'the database is not set up: run "latchkey migrate"\n'])
  t.strictSame(await sql({ env: environment(database) }, "select * from pg_tables where schemaname = 'public'"), [])
})

t.test(
  'a server on PostgreSQL starts without an admin and reports it, and migrate creates the admin from the settings',
  async (t) => {
    const database = await createDatabase(t, 'postgres')
    const { LATCHKEY_ADMIN_PASSWORD, ...env } = environment(database)
    t.strictSame(
      (await command(env, ['migrate'])).stderr,
      `${AT_VERSION}, newly set up\nthere is no admin: run "latchkey user add <name> --role admin", or set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate" again\n`
    )
    const server = await serve(t, env)
    t.match(
      server.output().stderr,
      'There is no admin yet: run "latchkey user add <name> --role admin", or set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate".'
    )
    t.strictSame(
      (await command({ ...env, LATCHKEY_ADMIN_PASSWORD: PASSWORD }, ['migrate'])).stderr,
      `${AT_VERSION}\nadmin admin was created\n`
    )
    t.equal((await me(server.origin, await login(server.origin, 'admin', PASSWORD))).status, 200)
  }
)

t.test('a missing, empty or damaged database is never replaced by a new database [F9]', async (t) => {
  const first = await fresh(t)
  const { dir } = first
  const env = { ...first.env, LATCHKEY_PORT: '0' }
  t.equal((await command(env, ['migrate'])).code, 0)
  const file = join(dir, 'latchkey.db')
  const intact = readFileSync(file)
  const refused = `the sealing key ${dir}/sealing-key exists but its database does not: restore the database, or move the key away to create a new database\n`

  truncateSync(file)
  for (const name of ['-wal', '-shm']) rmSync(file + name, { force: true })
  t.match(await command(env, ['serve']), { code: 1, stderr: refused })

  rmSync(file)
  t.match(await command(env, ['serve']), { code: 1, stderr: refused })
  t.match(await command(env, ['migrate']), { code: 1, stderr: refused })
  t.notOk(existsSync(file))

  writeFileSync(file, 'this is no database, it only pretends to be one'.repeat(100))
  t.match(await command(env, ['serve']), {
    code: 1,
    stderr: 'the database file is damaged or not a SQLite database: restore a backup\n'
  })

  writeFileSync(file, intact)
  rmSync(join(dir, 'sealing-key'))
  t.match(await command(env, ['serve']), {
    code: 1,
    stderr: `the sealing key file ${dir}/sealing-key is missing: restore it from your backup\n`
  })
  t.notOk(existsSync(join(dir, 'sealing-key')))
  writeFileSync(join(dir, 'sealing-key'), Buffer.alloc(32, 1).toString('base64'))
  t.match(await command(env, ['serve']), {
    code: 1,
    stderr:
      'the database was sealed with another sealing key: use that key, or set it as LATCHKEY_SEALING_KEY_PREVIOUS\n'
  })
})

t.test('with the sealing key in the settings, only migrate creates a new database [F9]', async (t) => {
  const first = await fresh(t)
  const { dir } = first
  const env = { ...first.env, LATCHKEY_PORT: '0', LATCHKEY_SEALING_KEY: Buffer.alloc(32, 3).toString('base64') }
  const refused = 'the database is missing: restore it, or run "latchkey migrate" to create a new one\n'
  t.match(await command(env, ['serve']), { code: 1, stderr: refused })
  t.notOk(existsSync(dir))
  const created = `${AT_VERSION}, newly set up\nadmin admin was created; the password is in ${dir}/admin-password\n`
  t.match(await command(env, ['migrate']), { code: 0, stderr: created })
  const server = await serve(t, { ...env, LATCHKEY_PORT: '' })
  const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
  t.equal((await me(server.origin, await login(server.origin, 'admin', password))).status, 200)
})

t.test('serve and migrate refuse a schema that is too new, and write nothing into it', async (t) => {
  const database = await createDatabase(t, 'postgres')
  const env = environment(database)
  await command(env, ['migrate'])
  await sql({ env }, 'update schema_version set version = 1000, compatible_from = 1000')
  // Without a user, both commands would create the admin.
  await sql({ env }, 'delete from users')
  const refused = { code: 1, stderr: 'the schema is newer than this version can use: install a newer latchkey\n' }
  t.match(await command(env, ['serve']), refused)
  t.match(await command(env, ['migrate']), refused)
  t.strictSame(await sql({ env }, 'select username from users'), [])
})
