import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { withSettings } from '../docs/settings.ts'
import { createDatabase, environment, PASSWORD } from './helper.ts'
import { launch, login, me, run, serve } from './process.ts'

const ROUNDS = Math.max(1, Math.round(Number(process.env.LATCHKEY_ROUNDS ?? 10) / 10))

/** The settings of a newcomer: nothing but where the data goes. */
async function fresh(t: Test): Promise<{ LATCHKEY_DATA_DIR: string; dir: string }> {
  const { dataDir } = await createDatabase(t, 'sqlite')
  return { LATCHKEY_DATA_DIR: join(dataDir, 'data'), dir: join(dataDir, 'data') }
}

async function rows(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query(sql)
  await client.end()
  return rows
}

t.test('a first start shows the way in, and the admin logs in with the password that it made', async (t) => {
  const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
  const server = await serve(t, { LATCHKEY_DATA_DIR })
  const file = join(dir, 'admin-password')
  t.equal(
    server.output().stderr,
    [
      'Latchkey 0.1.0',
      '',
      `  address   ${server.origin}`,
      `  docs      ${server.origin}/docs`,
      '  admin     admin',
      `  password  in ${file}`,
      '',
      '  Try it:',
      `  curl -d grant_type=password --data-urlencode username=admin --data-urlencode "password=$(cat ${file})" ${server.origin}/token`,
      '',
      ''
    ].join('\n')
  )
  t.equal(server.output().stdout, '')
  const { status, body } = await me(
    server.origin,
    await login(server.origin, 'admin', readFileSync(file, 'utf8').trim())
  )
  t.strictSame([status, body.username, body.roles], [200, 'admin', ['admin']])

  t.equal(statSync(dir).mode & 0o777, 0o700)
  for (const name of readdirSync(dir)) t.equal(statSync(join(dir, name)).mode & 0o777, 0o600, `${name} is its owner's`)
})

t.test('port 0 is a free port, known before the issuer is', async (t) => {
  const { LATCHKEY_DATA_DIR } = await fresh(t)
  const { output } = await serve(t, { LATCHKEY_DATA_DIR, LATCHKEY_PORT: '0' })
  const [, address] = /address +(http:\/\/localhost:\d+)\n/.exec(output().stderr) ?? []
  const metadata = await (await fetch(`${address}/.well-known/oauth-authorization-server`)).json()
  t.match(metadata, { issuer: address, token_endpoint: `${address}/token` })
})

t.test('a second start changes nothing, and speaks of no password once its file is gone', async (t) => {
  const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
  const first = await serve(t, { LATCHKEY_DATA_DIR })
  const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
  first.process.kill('SIGTERM')
  t.match(await first.exited, { code: 0, signal: null })

  rmSync(join(dir, 'admin-password'))
  const second = await serve(t, { LATCHKEY_DATA_DIR })
  t.notMatch(second.output().stderr, 'password')
  t.equal((await me(second.origin, await login(second.origin, 'admin', password))).status, 200)
})

t.test('two servers started at once on one empty directory make one first start', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
    const servers = await Promise.all([serve(t, { LATCHKEY_DATA_DIR }), serve(t, { LATCHKEY_DATA_DIR })])
    t.strictSame(
      readdirSync(dir)
        .filter((name) => !/^latchkey\.db-(wal|shm)$/.test(name))
        .sort(),
      ['admin-password', 'latchkey.db', 'sealing-key']
    )
    const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
    const keys = await Promise.all(
      servers.map(async ({ origin }) => (await fetch(`${origin}/.well-known/jwks.json`)).json())
    )
    t.equal((keys[0] as { keys: unknown[] }).keys.length, 2)
    t.strictSame(keys[0], keys[1])
    for (const { origin } of servers) t.equal((await me(origin, await login(origin, 'admin', password))).status, 200)
    for (const { process: child } of servers) child.kill('SIGTERM')
    await Promise.all(servers.map(({ exited }) => exited))
  }
})

t.test(
  'migrate run twice at once on an empty PostgreSQL makes one first start, and two servers share it',
  async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const database = await createDatabase(t, 'postgres')
      const env = environment(database)
      const exits = await Promise.all([run(['migrate'], env), run(['migrate'], env)])
      t.strictSame(
        exits.map(({ code }) => code),
        [0, 0],
        exits.map(({ stderr }) => stderr).join('\n')
      )
      t.equal(exits.filter(({ stderr }) => /set up anew/.test(stderr)).length, 1)
      t.equal(exits.filter(({ stderr }) => /admin admin was made/.test(stderr)).length, 1)
      t.strictSame(await rows(database.url, 'select state from signing_keys order by state'), [
        { state: 'next' },
        { state: 'signing' }
      ])
      t.strictSame(await rows(database.url, 'select username from users'), [{ username: 'admin' }])
      t.equal(existsSync(join(database.dataDir, 'sealing-key')), false)

      if (round > 0) continue
      const shared = { ...env, LATCHKEY_ISSUER: 'https://id.example.com' }
      const [one, two] = await Promise.all([serve(t, shared), serve(t, shared)])
      const own = await login(one.origin, 'admin', PASSWORD)
      t.equal((await me(two.origin, own)).status, 200, 'each accepts the tokens of the other')
      t.equal((await me(one.origin, await login(two.origin, 'admin', PASSWORD))).status, 200)
    }
  }
)

t.test('serve on PostgreSQL changes nothing by itself and says which command helps', async (t) => {
  const database = await createDatabase(t, 'postgres')
  const { code, stderr } = await run(['serve'], environment(database))
  t.strictSame([code, stderr], [1, 'the database is not set up: run "latchkey migrate"\n'])
  t.strictSame(await rows(database.url, "select * from pg_tables where schemaname = 'public'"), [])
})

t.test(
  'PostgreSQL without an admin serves and says so; migrate makes one as soon as the settings name it',
  async (t) => {
    const database = await createDatabase(t, 'postgres')
    const { LATCHKEY_ADMIN_PASSWORD, ...env } = environment(database)
    t.strictSame(
      (await run(['migrate'], env)).stderr,
      'the database is at version 1, set up anew\nthere is no admin: set LATCHKEY_ADMIN_PASSWORD and run this again\n'
    )
    const server = await serve(t, env)
    t.match(server.output().stderr, 'There is no admin yet: set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate".')
    t.strictSame(
      (await run(['migrate'], { ...env, LATCHKEY_ADMIN_PASSWORD: PASSWORD })).stderr,
      'the database is at version 1\nadmin admin was made\n'
    )
    t.equal((await me(server.origin, await login(server.origin, 'admin', PASSWORD))).status, 200)
  }
)

t.test('F9 a missing, emptied or damaged database is never replaced by a fresh one', async (t) => {
  const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
  const env = { LATCHKEY_DATA_DIR, LATCHKEY_PORT: '0' }
  t.equal((await run(['migrate'], env)).code, 0)
  const file = join(dir, 'latchkey.db')
  const good = readFileSync(file)
  const refused = `the sealing key ${dir}/sealing-key is there but its database is not: put the database back, or move the key away to begin anew\n`

  truncateSync(file)
  for (const name of ['-wal', '-shm']) rmSync(file + name, { force: true })
  t.match(await run(['serve'], env), { code: 1, stderr: refused })

  rmSync(file)
  t.match(await run(['serve'], env), { code: 1, stderr: refused })
  t.match(await run(['migrate'], env), { code: 1, stderr: refused })
  t.notOk(existsSync(file))

  writeFileSync(file, 'this is no database, it only pretends to be one'.repeat(100))
  t.match(await run(['serve'], env), { code: 1, stderr: 'the database is damaged or is no database\n' })

  writeFileSync(file, good)
  rmSync(join(dir, 'sealing-key'))
  t.match(await run(['serve'], env), {
    code: 1,
    stderr: `the sealing key file ${dir}/sealing-key is missing: put it back from where it is kept\n`
  })
  t.notOk(existsSync(join(dir, 'sealing-key')))
  writeFileSync(join(dir, 'sealing-key'), Buffer.alloc(32, 1).toString('base64'))
  t.match(await run(['serve'], env), {
    code: 1,
    stderr: 'the sealing key is not the one that this database was sealed with\n'
  })
})

t.test('F9 with a key from the settings, only migrate makes a new database', async (t) => {
  const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
  const env = { LATCHKEY_DATA_DIR, LATCHKEY_PORT: '0', LATCHKEY_SEALING_KEY: Buffer.alloc(32, 3).toString('base64') }
  const refused = 'the database is missing: put it back, or run "latchkey migrate" to make a new one\n'
  t.match(await run(['serve'], env), { code: 1, stderr: refused })
  t.notOk(existsSync(dir))
  const made = `the database is at version 1, set up anew\nadmin admin was made; the password is in ${dir}/admin-password\n`
  t.match(await run(['migrate'], env), { code: 0, stderr: made })
  const server = await serve(t, { ...env, LATCHKEY_PORT: '' })
  const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
  t.equal((await me(server.origin, await login(server.origin, 'admin', password))).status, 200)
})

t.test('a schema that is too new is refused by every command, and nothing is written into it', async (t) => {
  const database = await createDatabase(t, 'postgres')
  const env = environment(database)
  await run(['migrate'], env)
  await rows(database.url, 'update schema_version set version = 9, compatible_from = 9')
  await rows(database.url, 'delete from users')
  const refused = { code: 1, stderr: 'the schema is newer than this version can use: install a newer latchkey\n' }
  t.match(await run(['serve'], env), refused)
  t.match(await run(['migrate'], env), refused)
  t.strictSame(await rows(database.url, 'select username from users'), [])
})

t.test(
  'F3 a first start that is killed at any moment is completed by the next one, with a password to log in',
  async (t) => {
    for (let round = 0; round < ROUNDS * 2; round++) {
      const { dir, LATCHKEY_DATA_DIR } = await fresh(t)
      const delay = Math.round(Math.random() * 400)
      const killed = launch(['serve'], { LATCHKEY_DATA_DIR, LATCHKEY_PORT: '0' })
      while (!existsSync(dir)) await sleep(1)
      await sleep(delay)
      killed.child.kill('SIGKILL')
      await killed.exited
      const server = await serve(t, { LATCHKEY_DATA_DIR })
      const file = join(dir, 'admin-password')
      t.match(server.output().stderr, `password  in ${file}`, `killed ${delay} ms after the directory was there`)
      const token = await login(server.origin, 'admin', readFileSync(file, 'utf8').trim())
      t.equal((await me(server.origin, token)).status, 200)
      server.process.kill('SIGTERM')
      await server.exited
    }
  }
)

t.test('wrong settings stop every command with one line for each', async (t) => {
  const { code, stdout, stderr } = await run(['serve'], { LATCHKEY_PORT: 'http', LATCHKEY_ISSUR: 'x' })
  t.strictSame(
    [code, stdout, stderr],
    [
      1,
      '',
      'LATCHKEY_ISSUR is no setting; the settings are listed in docs/operations.md\n' +
        'LATCHKEY_PORT: "http" is not allowed; allowed: an integer from 0 to 65535\n'
    ]
  )
})

t.test('a port that is taken is said in one line', async (t) => {
  const { LATCHKEY_DATA_DIR } = await fresh(t)
  const server = await serve(t, { LATCHKEY_DATA_DIR })
  const { code, stderr } = await run(['serve'], { LATCHKEY_DATA_DIR, LATCHKEY_PORT: new URL(server.origin).port })
  t.strictSame([code, stderr.split('\n').length], [1, 2])
  t.match(stderr, 'EADDRINUSE')

  const other = await fresh(t)
  await run(['serve'], { LATCHKEY_DATA_DIR: other.dir, LATCHKEY_PORT: new URL(server.origin).port })
  const again = await serve(t, { LATCHKEY_DATA_DIR: other.dir })
  t.match(
    again.output().stderr,
    `password  in ${other.dir}/admin-password`,
    'the next start still says where the password is'
  )
})

t.test('help and version answer without any setting', async (t) => {
  const [help, version, unknown] = await Promise.all([run(['--help']), run(['--version']), run(['nonsense'])])
  t.match(help, { code: 0, stderr: '' })
  for (const command of ['serve', 'migrate', 'openapi', 'settings']) t.match(help.stdout, command)
  t.match(version, { code: 0, stdout: '0.1.0\n' })
  t.match(unknown, { code: 1, stderr: /unknown command 'nonsense'/ })
})

t.test('openapi prints openapi.yaml, whatever the settings are', async (t) => {
  const { stdout } = await run(['openapi'], { LATCHKEY_ISSUER: 'https://id.example.com/auth', LATCHKEY_DOCS: 'false' })
  t.equal(stdout, readFileSync('openapi.yaml', 'utf8'))
})

t.test('the settings stand in docs/operations.md as the code has them: npm run settings writes them', async (t) => {
  const page = readFileSync('docs/operations.md', 'utf8')
  t.equal(page, withSettings(page))
  const { stdout } = await run(['settings'])
  t.ok(page.includes(stdout))
})
