import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { unshownPassword } from '../../src/first-start.ts'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'
import { command } from './command.ts'
import { fresh, launch, login, me, run, serve } from './process.ts'

const ROUNDS = Math.ceil(Number(process.env.LATCHKEY_ROUNDS ?? 1) / 10)

t.test(
  'a first start shows how to log in; a later start changes nothing and shows no password that was changed or whose file was removed',
  async (t) => {
    const { dir } = await fresh(t)
    const env = { LATCHKEY_DATA_DIR: dir }
    const server = await serve(t, env)
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
    for (const name of readdirSync(dir))
      t.equal(statSync(join(dir, name)).mode & 0o777, 0o600, `${name} is its owner's`)

    const password = readFileSync(file, 'utf8').trim()
    server.process.kill('SIGTERM')
    t.match(await server.exited, { code: 0, signal: null })

    t.match((await command(env, ['user', 'passwd', 'admin'], PASSWORD)).stderr, '')
    const second = await serve(t, env)
    t.notMatch(second.output().stderr, 'password', 'a password that was changed')
    t.equal((await me(second.origin, await login(second.origin, 'admin', PASSWORD))).status, 200)

    await command(env, ['user', 'passwd', 'admin'], password)
    const config = loadConfig(env)
    const app = await buildApp(config, { logger: false })
    t.teardown(() => app.close())
    t.equal(await unshownPassword(app, config), password)
    rmSync(file)
    t.equal(await unshownPassword(app, config), null, 'a password whose file was removed')
  }
)

t.test('two servers that start concurrently on an empty directory make one first start', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { dir, env } = await fresh(t)
    const servers = await Promise.all([serve(t, env), serve(t, env)])
    t.strictSame(
      readdirSync(dir)
        .filter((name) => !/^latchkey\.db-(wal|shm)$/.test(name))
        .sort(),
      ['admin-password', 'latchkey.db', 'latchkey.db-server', 'sealing-key']
    )
    const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
    const keys = await Promise.all(
      servers.map(async ({ origin }) => (await fetch(`${origin}/.well-known/jwks.json`)).json())
    )
    t.equal((keys[0] as { keys: unknown[] }).keys.length, 2)
    t.strictSame(keys[0], keys[1])
    for (const { origin } of servers) t.equal((await me(origin, await login(origin, 'admin', password))).status, 200)
    for (const { process: child } of servers) child.kill('SIGKILL')
    await Promise.all(servers.map(({ exited }) => exited))
  }
})

t.test('two concurrent runs of migrate on an empty PostgreSQL make one first start', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const database = await createDatabase(t, 'postgres')
    const env = environment(database)
    const exits = await Promise.all([run(['migrate'], env), run(['migrate'], env)])
    t.strictSame(
      exits.map(({ code }) => code),
      [0, 0],
      exits.map(({ stderr }) => stderr).join('\n')
    )
    t.equal(exits.filter(({ stderr }) => /newly set up/.test(stderr)).length, 1)
    t.equal(exits.filter(({ stderr }) => /admin admin was created/.test(stderr)).length, 1)
    t.strictSame(await sql({ env }, 'select state from signing_keys order by state'), [
      { state: 'next' },
      { state: 'signing' }
    ])
    t.strictSame(await sql({ env }, 'select username from users'), [{ username: 'admin' }])
    t.equal(existsSync(join(database.dataDir, 'sealing-key')), false)
  }
})

t.test(
  'the next start completes a first start that was killed at any moment, and its password is valid [F3]',
  async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const { dir, env } = await fresh(t)
      const delay = Math.round(Math.random() * 400)
      const killed = launch(['serve'], { ...env, LATCHKEY_PORT: '0' })
      while (!existsSync(dir)) await sleep(2)
      await sleep(delay)
      killed.child.kill('SIGKILL')
      await killed.exited
      const server = await serve(t, env)
      const file = join(dir, 'admin-password')
      t.match(server.output().stderr, `password  in ${file}`, `killed ${delay} ms after the directory was there`)
      const token = await login(server.origin, 'admin', readFileSync(file, 'utf8').trim())
      t.equal((await me(server.origin, token)).status, 200)
      server.process.kill('SIGKILL')
      await server.exited
    }
  }
)
