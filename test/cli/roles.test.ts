import t, { type Test } from 'tap'
import { ROLE_SCOPES } from '../../src/domain/built-in.ts'
import { build, createDatabase, environment, onEachDatabase } from '../helper.ts'
import { command, done, keyboard, refused } from './command.ts'

/** Returns a function that runs `latchkey role`. */
async function openCommand(t: Test) {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  return (args: string[], stdin?: Parameters<typeof command>[2]) => command(env, ['role', ...args], stdin)
}

onEachDatabase(
  t,
  'roles are added, changed and deleted, and --json prints what the API returns',
  async (t, database) => {
    const { env, login, get } = await build(t, { database })
    const role = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['role', ...args, '--json'])
      t.strictSame([code, stderr], [0, ''])
      return JSON.parse(stdout)
    }
    const support = { name: 'support', description: 'First line', scopes: ['profile', 'users:read'] }
    t.strictSame(
      await role('add', 'support', '--description', 'First line', '--scope', 'users:read', '--scope', 'profile'),
      support
    )
    t.strictSame(await role('list'), (await get('/roles', await login('admin', 'roles:read'))).json().items)
    t.strictSame(await role('set', 'support', '--scope', 'users:read'), { ...support, scopes: ['users:read'] })
    t.strictSame(await role('set', 'support', '--description', ''), {
      name: 'support',
      description: '',
      scopes: ['users:read']
    })
    t.strictSame(await role('set', 'support', '--no-scope'), { name: 'support', description: '', scopes: [] })
    t.strictSame(await role('delete', 'support', '--yes'), { name: 'support', description: '', scopes: [] })
    t.strictSame(
      await command(env, ['role', 'delete', 'support', '--yes']),
      refused('There is no role "support"; "latchkey role list" lists the existing ones')
    )
  }
)

t.test('without --json the output is one line, or an aligned table', async (t) => {
  const role = await openCommand(t)
  t.strictSame(await role(['add', 'support', '--scope', 'users:read', 'profile']), done('role support was added\n'))
  t.strictSame(
    await role(['set', 'support', '--description', 'First line', '--no-scope']),
    done('role support was changed\n')
  )
  const all = ROLE_SCOPES.toSorted().join(' ')
  const column = (text: string) => text.padEnd(all.length)
  t.strictSame(
    await role(['list']),
    done(
      [
        `NAME     ${column('SCOPES')}  DESCRIPTION`,
        `admin    ${all}  May do everything`,
        `support  ${column('')}  First line`,
        `user     ${column('account')}  May change their own profile`,
        ''
      ].join('\n')
    )
  )
  t.strictSame(await role(['delete', 'support', '--yes']), done('role support was deleted\n'))
})

t.test('a refused command prints one line and changes nothing', async (t) => {
  const role = await openCommand(t)
  const before = await role(['list', '--json'])
  for (const [args, line] of [
    [['add', 'user'], 'A role with this name already exists'],
    [
      ['add', 'Support'],
      'The name of a role has 1 to 64 characters of a-z, 0-9, dot, hyphen and underscore, and begins with a letter'
    ],
    [
      ['add', 'support', '--scope', 'nothing'],
      'There is no scope "nothing"; "latchkey resource list" lists the existing ones'
    ],
    [['add', 'support', '--scope', 'tokens:introspect'], 'The scope tokens:introspect is for clients only'],
    [['set', 'user', '--scope', 'revocations:read'], 'The scope revocations:read is for clients only'],
    [['set', 'support', '--no-scope'], 'There is no role "support"; "latchkey role list" lists the existing ones'],
    [
      ['set', 'user', '--scope', 'nothing'],
      'There is no scope "nothing"; "latchkey resource list" lists the existing ones'
    ],
    [['set', 'admin', '--no-scope'], 'The role admin keeps every scope of Latchkey’s own API'],
    [
      ['set', 'usr', '--no-scope'],
      'There is no role "usr", did you mean "user"?; "latchkey role list" lists the existing ones'
    ],
    [['delete', 'admin', '--yes'], 'The role admin cannot be deleted'],
    [['delete', 'support', '--yes'], 'There is no role "support"; "latchkey role list" lists the existing ones']
  ] as const)
    t.strictSame(await role([...args]), refused(line), args.join(' '))
  t.strictSame(await role(['list', '--json']), before)
})

t.test('invalid arguments exit with 2 and one line that says what is wrong', async (t) => {
  const role = await openCommand(t)
  t.strictSame(await role(['set', 'user']), {
    code: 2,
    stdout: '',
    stderr: 'there is nothing to change: give --description, --scope or --no-scope\n'
  })
  t.match(await role([]), { code: 2, stdout: '', stderr: 'Usage: latchkey role' })
  for (const args of [['add'], ['set', 'user', '--scopes', 'profile'], ['list', 'user']])
    t.match(await role(args), { code: 2, stdout: '', stderr: /^error: .+; see "latchkey help role[ a-z]*"\n$/ })
  for (const name of ['add', 'list', 'set', 'delete'])
    t.match(await role([name, '--help']), { code: 0, stdout: `Usage: latchkey role ${name}`, stderr: '' })
})

t.test('a role is deleted after its name is typed again, or with --yes', async (t) => {
  const role = await openCommand(t)
  t.match(await role(['delete', 'user'], keyboard('users\r').stream), { code: 1, stdout: '' })
  t.strictSame(await role(['delete', 'user']), {
    code: 2,
    stdout: '',
    stderr: 'there is no terminal to ask on: add --yes to confirm\n'
  })
  t.match(JSON.parse((await role(['list', '--json'])).stdout), [{ name: 'admin' }, { name: 'user' }])
  t.match(await role(['delete', 'user'], keyboard('user\r').stream), { code: 0, stdout: 'role user was deleted\n' })
})
