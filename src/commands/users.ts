import { type Command, Option } from 'commander'
import type { User } from '../domain/model.ts'
import { view } from '../domain/users.ts'
import {
  confirm,
  everyPage,
  type Json,
  print,
  Refusal,
  readPassword,
  type Terminal,
  table,
  withAuth
} from './terminal.ts'

const HEAD = ['USERNAME', 'EMAIL', 'FULL NAME', 'ROLES', 'STATE']
const row = ({ username, email, fullName, roles, disabledAt }: User) => [
  username,
  email ?? '',
  fullName ?? '',
  roles.join(' '),
  disabledAt === null ? 'enabled' : 'disabled'
]

/** `latchkey user …` */
export function addUserCommands(program: Command, terminal: Terminal): void {
  const group = program.command('user').description('people who log in, by name or id').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON, with the names of the API')
  const show = (json: true | undefined, user: User, text: string) => print(terminal, json, view(user), text)

  command('add <username>', 'add a user; the password is asked for, or is the first line of standard input')
    .option('--email <address>', 'e-mail address')
    .option('--full-name <name>', 'name as people write it')
    .option('--role <role...>', 'roles', ['user'])
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  latchkey user add alice --email alice@example.com --full-name "Alice Liddell"\n' +
        '  printf \'%s\\n\' "$PASSWORD" | latchkey user add ci --role user --json'
    )
    .action(
      async (
        username: string,
        { json, role: roles, ...profile }: Json & { email?: string; fullName?: string; role: string[] }
      ) => {
        const user = await withAuth(terminal, async (auth) =>
          auth.users.create(
            { username, ...profile, roles, password: await readPassword(terminal, auth.users.passwordMinLength) },
            null
          )
        )
        show(json, user, `user ${user.username} was added`)
      }
    )

  command('list', 'list users by age')
    .option('--search <text>', 'whose username or e-mail begins so')
    .option('--role <role>', 'who have this role')
    .addOption(new Option('--disabled', 'who are disabled').conflicts('enabled'))
    .option('--enabled', 'who are enabled')
    .action(
      async ({
        json,
        disabled,
        enabled,
        ...filter
      }: Json & { search?: string; role?: string; disabled?: true; enabled?: true }) => {
        const state = disabled || enabled ? { disabled: disabled === true } : {}
        const users = await withAuth(terminal, (auth) =>
          everyPage((page) => auth.users.list(page, { ...filter, ...state }))
        )
        print(terminal, json, users.map(view), table([HEAD, ...users.map(row)]))
      }
    )

  command('show <username>', 'show a user').action(async (username: string, { json }: Json) => {
    const user = await withAuth(terminal, (auth) => auth.users.find(username))
    const { roles, disabled, ...rest } = view(user)
    const lines = { ...rest, disabled: disabled ? 'yes' : 'no', roles: roles.join(' ') }
    show(json, user, table(Object.entries(lines).map(([name, value]) => [name, value ?? ''])))
  })

  for (const [name, disabled, description] of [
    ['disable', true, 'refuse a user from the next request on, and end their sessions'],
    ['enable', false, 'let a user log in again']
  ] as const) {
    command(`${name} <username>`, description).action(async (username: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) =>
        users.change((await users.find(username)).id, { disabled }, null)
      )
      show(json, user, `user ${user.username} is ${name}d`)
    })
  }

  command(
    'passwd <username>',
    'give a user a new password, asked for or the first line of standard input, and end their sessions'
  )
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey user passwd alice\n  printf \'%s\\n\' "$PASSWORD" | latchkey user passwd alice'
    )
    .action(async (username: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) => {
        const { id } = await users.find(username)
        await users.setPassword(id, await readPassword(terminal, users.passwordMinLength))
        return users.get(id)
      })
      show(json, user, `user ${user.username} has a new password`)
    })

  command('roles <username> [role...]', 'show the roles of a user, or set them: those given are then all')
    .option('--none', 'take all roles away')
    .addHelpText('after', '\nExamples:\n  latchkey user roles alice user admin\n  latchkey user roles alice --none')
    .action(async (username: string, roles: string[], { json, none }: Json & { none?: true }) => {
      if (none && roles.length > 0) throw new Refusal('give roles or --none, not both', 2)
      const user = await withAuth(terminal, async ({ users }) => {
        const found = await users.find(username)
        return none || roles.length > 0 ? users.change(found.id, { roles }, null) : found
      })
      show(json, user, user.roles.join('\n') || `user ${user.username} has no roles`)
    })

  command('rename <username> <new-name>', 'give a user another name to log in with').action(
    async (username: string, name: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) =>
        users.change((await users.find(username)).id, { username: name }, null)
      )
      show(json, user, `user ${user.username} is the new name of ${username}`)
    }
  )

  command('delete <username>', 'delete a user, with everything that is theirs')
    .option('--yes', 'do not ask')
    .action(async (username: string, { json, yes }: Json & { yes?: true }) => {
      const user = await withAuth(terminal, async ({ users }) => {
        const found = await users.find(username)
        await confirm(terminal, found.username, yes)
        await users.delete(found.id)
        return found
      })
      show(json, user, `user ${user.username} was deleted`)
    })
}
