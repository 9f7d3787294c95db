import { type Command, Option } from 'commander'
import { defined } from '../defined.ts'
import { OPERATOR } from '../domain/caller.ts'
import type { User } from '../domain/model.ts'
import { toWire } from '../wire/users.ts'
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
  const group = program.command('user').description('manage users, by username or id').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of the HTTP API')
  const show = (json: true | undefined, user: User, text: string) => print(terminal, json, toWire(user), text)

  command(
    'add <username>',
    'add a user; on a terminal it asks for the password, else it reads the first line of standard input'
  )
    .option('--email <address>', 'e-mail address')
    .option('--full-name <name>', 'full name')
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
          auth.users.create(OPERATOR, {
            username,
            ...profile,
            roles,
            password: await readPassword(terminal, auth.users.passwordMinLength)
          })
        )
        show(json, user, `user ${user.username} was added`)
      }
    )

  command('list', 'list users, oldest first')
    .option('--search <text>', 'only users whose username or e-mail address begins with this text')
    .option('--role <role>', 'only users with this role')
    .addOption(new Option('--disabled', 'only disabled users').conflicts('enabled'))
    .option('--enabled', 'only enabled users')
    .action(
      async ({
        json,
        disabled,
        enabled,
        ...filter
      }: Json & { search?: string; role?: string; disabled?: true; enabled?: true }) => {
        const state = defined({ disabled: disabled || enabled ? disabled === true : undefined })
        const users = await withAuth(terminal, async (auth) => {
          // An empty list would hide a mistyped role.
          if (filter.role !== undefined) await auth.roles.get(filter.role)
          return everyPage((page) => auth.users.list(page, { ...filter, ...state }))
        })
        print(terminal, json, users.map(toWire), table([HEAD, ...users.map(row)]))
      }
    )

  command('show <username>', 'show a user').action(async (username: string, { json }: Json) => {
    const user = await withAuth(terminal, (auth) => auth.users.find(username))
    const { roles, disabled, ...rest } = toWire(user)
    const lines = { ...rest, disabled: disabled ? 'yes' : 'no', roles: roles.join(' ') }
    show(json, user, table(Object.entries(lines).map(([name, value]) => [name, value ?? ''])))
  })

  for (const [name, disabled, description] of [
    ['disable', true, 'refuse the requests of a user from now on, and end their sessions'],
    ['enable', false, 'let a user log in again, also after too many wrong passwords']
  ] as const) {
    command(`${name} <username>`, description).action(async (username: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) =>
        users.change(OPERATOR, (await users.find(username)).id, { disabled })
      )
      show(json, user, `user ${user.username} is ${name}d`)
    })
  }

  command(
    'passwd <username>',
    'set the password of a user and end their sessions; on a terminal it asks for the password, else it reads the first line of standard input'
  )
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey user passwd alice\n  printf \'%s\\n\' "$PASSWORD" | latchkey user passwd alice'
    )
    .action(async (username: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) => {
        const { id } = await users.find(username)
        await users.setPassword(OPERATOR, { id, password: await readPassword(terminal, users.passwordMinLength) })
        return users.get(id)
      })
      show(json, user, `user ${user.username} has a new password`)
    })

  command('roles <username> [role...]', 'show the roles of a user, or replace them by the given roles')
    .option('--none', 'remove all roles')
    .addHelpText('after', '\nExamples:\n  latchkey user roles alice user admin\n  latchkey user roles alice --none')
    .action(async (username: string, roles: string[], { json, none }: Json & { none?: true }) => {
      if (none && roles.length > 0) throw new Refusal('give roles or --none, not both', 2)
      const user = await withAuth(terminal, async ({ users }) => {
        const user = await users.find(username)
        return none || roles.length > 0 ? users.change(OPERATOR, user.id, { roles }) : user
      })
      show(json, user, user.roles.join('\n') || `user ${user.username} has no roles`)
    })

  command('rename <username> <new-name>', 'change the username of a user').action(
    async (username: string, name: string, { json }: Json) => {
      const user = await withAuth(terminal, async ({ users }) =>
        users.change(OPERATOR, (await users.find(username)).id, { username: name })
      )
      show(json, user, `user ${user.username} is the new name of ${username}`)
    }
  )

  command('delete <username>', 'delete a user with all sessions')
    .option('--yes', 'do not ask')
    .action(async (username: string, { json, yes }: Json & { yes?: true }) => {
      const user = await withAuth(terminal, async ({ users }) => {
        const current = await users.find(username)
        await confirm(terminal, current.username, yes)
        await users.delete(OPERATOR, current.id)
        return current
      })
      show(json, user, `user ${user.username} was deleted`)
    })
}
