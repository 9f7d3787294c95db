import { existsSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { build, createDatabase, type Database, environment, onEachDatabase, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'
import { command, done, keyboard, refused } from './command.ts'

const OTHER = 'another horse battery staple'

/** A database with admin and alice, and commands on it. */
async function terminal(t: Test, database: Database = 'sqlite') {
  const env = environment(await createDatabase(t, database, 'ready'))
  const user = (args: string[], stdin?: Parameters<typeof command>[2]) => command(env, ['user', ...args], stdin)
  return { env, user }
}

onEachDatabase(t, 'an added user logs in, and --json prints what the API returns', async (t, database) => {
  const { env, login, get } = await build(t, { database })
  const profile = ['--email', 'bob@example.com', '--full-name', 'Bob Bauer']
  const added = await command(env, ['user', 'add', 'Bob', ...profile, '--role', 'user', 'admin', '--json'], PASSWORD)
  const { id, created_at, updated_at, ...rest } = JSON.parse(added.stdout)
  t.strictSame([added.code, added.stderr], [0, ''])
  t.strictSame(rest, {
    username: 'Bob',
    email: 'bob@example.com',
    full_name: 'Bob Bauer',
    disabled: false,
    roles: ['admin', 'user']
  })
  const seen = async (path: string) => (await get(path, await login('bob', 'users:read'))).json()
  t.strictSame(await seen(`/users/${id}`), { id, created_at, updated_at, ...rest })
  t.strictSame(JSON.parse((await command(env, ['user', 'show', 'BOB', '--json'])).stdout), await seen(`/users/${id}`))
  t.strictSame(JSON.parse((await command(env, ['user', 'list', '--json'])).stdout), (await seen('/users')).items)
})

onEachDatabase(t, 'each change is stored and printed', async (t, database) => {
  const env = environment(await createDatabase(t, database, 'ready'))
  const user = async (args: string[], stdin = '') => {
    const { code, stdout, stderr } = await command(env, ['user', ...args, '--json'], stdin)
    const { id, created_at, updated_at, email, full_name, username, ...rest } = JSON.parse(stdout)
    t.strictSame([code, stderr, username], [0, '', 'alice'])
    return rest
  }
  t.strictSame(await user(['disable', 'alice']), { disabled: true, roles: ['user'] })
  t.strictSame(await user(['passwd', 'alice'], OTHER), { disabled: true, roles: ['user'] })
  t.strictSame(await user(['enable', 'alice']), { disabled: false, roles: ['user'] })
  t.strictSame(await user(['roles', 'alice', 'admin']), { disabled: false, roles: ['admin'] })
  t.strictSame(await user(['roles', 'alice', '--none']), { disabled: false, roles: [] })
  t.strictSame(await user(['roles', 'alice']), { disabled: false, roles: [] })
  t.strictSame(await user(['delete', 'alice', '--yes']), { disabled: false, roles: [] })
  t.strictSame(
    await command(env, ['user', 'show', 'alice']),
    refused('There is no user "alice"; "latchkey user list" lists the existing ones')
  )
})

t.test('without --json the output is one line, or an aligned table', async (t) => {
  const { env, user } = await terminal(t)
  t.strictSame(await user(['add', 'Bob', '--full-name', 'Bøb Bauer'], PASSWORD), done('user Bob was added\n'))
  t.strictSame(await user(['disable', 'bob']), done('user Bob is disabled\n'))
  t.strictSame(
    await user(['list']),
    done(
      [
        'USERNAME  EMAIL  FULL NAME  ROLES  STATE',
        'admin                       admin  enabled',
        'alice                       user   enabled',
        'Bob              Bøb Bauer  user   disabled',
        ''
      ].join('\n')
    )
  )
  t.strictSame(await user(['enable', 'bob']), done('user Bob is enabled\n'))
  t.strictSame(await user(['passwd', 'bob'], OTHER), done('user Bob has a new password\n'))
  t.strictSame(await user(['roles', 'bob', 'user', 'admin']), done('admin\nuser\n'))
  t.strictSame(await user(['roles', 'bob']), done('admin\nuser\n'))

  const [{ id } = {}] = await sql({ env }, "select id from users where username_key = 'alice'")
  const shown = [
    `id          ${id}`,
    'username    alice',
    'email',
    'full_name',
    'created_at  2026-01-01T12:00:00.000Z',
    'updated_at  2026-01-01T12:00:00.000Z',
    'disabled    no',
    'roles       user',
    ''
  ]
  t.strictSame(await user(['show', 'alice']), done(shown.join('\n')))
  t.strictSame(await user(['roles', 'alice', '--none']), done('user alice has no roles\n'))
  t.strictSame(await user(['delete', 'alice', '--yes']), done('user alice was deleted\n'))
})

t.test('a list prints all pages, and only the users that match its filters', async (t) => {
  const { env, user } = await terminal(t)
  await sql(
    { env },
    `insert into users (id, username, username_key, auth_version, created_at, updated_at)
     select 'id' || n, 'many' || n, 'many' || n, 1, 0, 0
     from (with recursive count(n) as (select 1 union all select n + 1 from count where n < 450) select n from count);`
  )
  const names = async (...filter: string[]) =>
    JSON.parse((await user(['list', '--json', ...filter])).stdout).map((each: { username: string }) => each.username)
  t.equal((await names()).length, 452)
  t.equal((await names('--search', 'MANY')).length, 450)
  t.strictSame(await names('--role', 'user'), ['alice'])
  await user(['disable', 'alice'])
  t.strictSame(await names('--disabled'), ['alice'])
  t.strictSame(await names('--enabled', '--search', 'a'), ['admin'])
  t.strictSame(await user(['list', '--search', 'nobody', '--json']), done('[]\n'))
  t.strictSame(await user(['list', '--search', 'nobody']), done('USERNAME  EMAIL  FULL NAME  ROLES  STATE\n'))
})

t.test('a refusal of the domain is one line, and changes nothing', async (t) => {
  const { user } = await terminal(t)
  const before = await user(['list', '--json'])
  for (const [args, password, line] of [
    [['add', 'bob'], 'short', 'A password has at least 15 characters'],
    [['add', 'bob'], 'passwordpassword', 'The password is too common'],
    [['add', 'bob'], 'x'.repeat(100_000), 'A password has at most 1024 bytes'],
    [['add', 'Alice'], PASSWORD, 'The username is taken'],
    [
      ['add', 'bob', '--role', 'nothing'],
      PASSWORD,
      'There is no role "nothing"; "latchkey role list" lists the existing ones'
    ],
    [['add', 'bob', '--email', 'nothing'], PASSWORD, 'The e-mail address is invalid'],
    [
      ['add', 'bob', '--role', 'usr'],
      PASSWORD,
      'There is no role "usr", did you mean "user"?; "latchkey role list" lists the existing ones'
    ],
    [
      ['list', '--role', 'admn'],
      '',
      'There is no role "admn", did you mean "admin"?; "latchkey role list" lists the existing ones'
    ],
    [['passwd', 'alice'], 'short', 'A password has at least 15 characters'],
    [['passwd', 'nobody'], PASSWORD, 'There is no user "nobody"; "latchkey user list" lists the existing ones'],
    [['show', 'nobody'], '', 'There is no user "nobody"; "latchkey user list" lists the existing ones'],
    [['roles', 'alice', 'nothing'], '', 'There is no role "nothing"; "latchkey role list" lists the existing ones'],
    [['disable', 'admin'], '', 'One enabled user must have the role admin: give it to another user first'],
    [['roles', 'admin', '--none'], '', 'One enabled user must have the role admin: give it to another user first'],
    [['delete', 'admin', '--yes'], '', 'One enabled user must have the role admin: give it to another user first']
  ] as const)
    t.strictSame(await user([...args], password), refused(line), args.join(' '))
  t.strictSame(await user(['list', '--json']), before)
})

t.test('wrong usage exits with 2 and one line that names the help of the command', async (t) => {
  const { user } = await terminal(t)
  for (const [args, line] of [
    [[], 'Usage: latchkey user'],
    [['nonsense'], /^error: unknown command 'nonsense'; see "latchkey help user"\n$/],
    [['shw', 'alice'], /^error: unknown command 'shw', did you mean show\?; see "latchkey help user"\n$/],
    [['add'], /^error: missing required argument 'username'; see "latchkey help user add"\n$/],
    [['add', 'bob', 'secret'], 'error: too many arguments'],
    [['add', 'bob', '--password', 'secret'], "error: unknown option '--password'"],
    [['list', '--disabled', '--enabled'], "error: option '--disabled' cannot be used with option '--enabled'"],
    [['roles', 'alice', 'user', '--none'], 'give roles or --none, not both']
  ] as const) {
    const { code, stdout, stderr } = await user([...args])
    t.strictSame([code, stdout], [2, ''], args.join(' '))
    t.match(stderr, line)
  }
  for (const name of ['add', 'list', 'show', 'disable', 'enable', 'passwd', 'roles', 'delete'])
    t.match(await user([name, '--help']), { code: 0, stdout: `Usage: latchkey user ${name}`, stderr: '' })
})

t.test('a password is the first line of standard input, without its line ending', async (t) => {
  const { env, login } = await build(t)
  const passwd = (input: Parameters<typeof command>[2]) => command(env, ['user', 'passwd', 'alice'], input)
  const open = new PassThrough()
  open.write(`${OTHER} 4\n`)
  for (const [input, password] of [
    [`${OTHER} 1`, `${OTHER} 1`],
    [`${OTHER} 2\r\nsecond line\n`, `${OTHER} 2`],
    [`  ${OTHER}\u2028 3 \n`, `  ${OTHER}\u2028 3 `],
    [open, `${OTHER} 4`]
  ] as const) {
    t.strictSame(await passwd(input), done('user alice has a new password\n'))
    t.ok(await login('alice', 'profile', password))
  }
  for (const empty of ['', '\n', `\n${PASSWORD}\n`])
    t.strictSame(await passwd(empty), refused('the password is empty, nothing was changed'))
  t.strictSame(await passwd(Buffer.from(`${OTHER} é`, 'latin1')), refused('the password is not UTF-8'))
  t.ok(await login('alice', 'profile', `${OTHER} 4`))
})

t.test('on a terminal a password is typed twice and not echoed', async (t) => {
  const { env, login } = await build(t)
  const typing = async (typed: string) => {
    const { stream, isRaw } = keyboard(typed)
    const outcome = await command(env, ['user', 'passwd', 'alice'], stream)
    t.notOk(isRaw(), 'the terminal is as it was')
    return outcome
  }
  const questions = 'New password (at least 15 characters): \nRepeat the password: \n'
  t.strictSame(await typing(`${OTHER}\r${OTHER}\r`), {
    code: 0,
    stdout: 'user alice has a new password\n',
    stderr: questions
  })
  t.ok(await login('alice', 'profile', OTHER))
  t.strictSame(
    await typing(`${PASSWORD}\r${OTHER}\r`),
    refused(`${questions}the two passwords differ, nothing was changed`)
  )
  t.strictSame(await typing('\r\r'), refused(`${questions}the password is empty, nothing was changed`))
  for (const key of ['\u0003', '\u0004'])
    t.strictSame(
      await typing(`${key}`),
      refused('New password (at least 15 characters): \ninterrupted, nothing was changed')
    )
  t.strictSame(await typing(`${OTHER}\r${OTHER}\u0003`), refused(`${questions}interrupted, nothing was changed`))
  t.ok(await login('alice', 'profile', OTHER))
})

t.test('a user is deleted after the name is typed again, or with --yes', async (t) => {
  const { user } = await terminal(t)
  const question = 'Type alice again to confirm: '
  const unsure = await user(['delete', 'alice'], keyboard('alic\r').stream)
  t.strictSame([unsure.code, unsure.stdout], [1, ''])
  t.ok(unsure.stderr.startsWith(question))
  t.ok(unsure.stderr.endsWith('the names differ, nothing was changed\n'))
  t.match(await user(['delete', 'alice'], keyboard('\u0003').stream), { code: 1, stdout: '' })
  t.strictSame(await user(['delete', 'alice'], 'alice\n'), {
    code: 2,
    stdout: '',
    stderr: 'there is no terminal to ask on: add --yes to confirm\n'
  })
  t.match(await user(['show', 'alice']), { code: 0 })
  t.match(await user(['delete', 'alice'], keyboard('alice\r').stream), { code: 0, stdout: 'user alice was deleted\n' })
  t.match(await user(['show', 'alice']), { code: 1 })
})

onEachDatabase(t, 'a database that is not set up is refused and not changed', async (t, database) => {
  const { url, dataDir } = await createDatabase(t, database)
  const outcome = await command(environment({ url, dataDir }), ['user', 'add', 'bob'], PASSWORD)
  t.strictSame(
    outcome,
    refused(
      `the database ${url.replace('latchkey:latchkey@', '')} is not set up: give the settings of the service (LATCHKEY_DATA_DIR, LATCHKEY_DATABASE_URL), or run "latchkey migrate" to create a new database`
    )
  )
  t.notOk(existsSync(`${dataDir}/latchkey.db`))
})

t.test('invalid settings and an unreachable database are errors of one line', async (t) => {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  t.strictSame(
    await command({ ...env, LATCHKEY_PORT: 'x' }, ['user', 'list']),
    refused('LATCHKEY_PORT must be an integer from 0 to 65535; got "x"')
  )
  t.match(
    await command({ ...env, LATCHKEY_DATABASE_URL: 'postgres://a:b@127.0.0.1:1/nothing' }, ['user', 'list']),
    refused('The database is not available (connect ECONNREFUSED 127.0.0.1:1)')
  )
})

onEachDatabase(t, 'a user is renamed, also by the id when the current name is no longer valid', async (t, database) => {
  const { env, user } = await terminal(t, database)
  await sql({ env }, "update users set username = 'my alice', username_key = 'my alice' where username = 'alice'")
  t.equal(
    (await user(['show', 'my alice'])).stderr,
    'There is no user "my alice"; "latchkey user list" lists the existing ones\n'
  )
  const { id } = JSON.parse((await user(['list', '--search', 'my', '--json'])).stdout)[0]
  t.equal((await user(['rename', id, 'Alice'])).stdout, `user Alice is the new name of ${id}\n`)
  t.equal((await user(['rename', 'ALICE', 'alicia'])).stdout, 'user alicia is the new name of ALICE\n')
  t.strictSame(await user(['rename', 'alicia', 'admin']), { code: 1, stdout: '', stderr: 'The username is taken\n' })
  t.equal(JSON.parse((await user(['show', 'alicia', '--json'])).stdout).id, id)
})
