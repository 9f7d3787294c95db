import type { Command } from 'commander'
import { defined } from '../defined.ts'
import { OPERATOR } from '../domain/caller.ts'
import type { Role } from '../domain/model.ts'
import { toWire } from '../wire/roles.ts'
import { confirm, everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['NAME', 'SCOPES', 'DESCRIPTION']

/** `latchkey role …` */
export function addRoleCommands(program: Command, terminal: Terminal): void {
  const group = program.command('role').description('manage roles: named sets of scopes for users').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of the HTTP API')
  const show = (json: true | undefined, role: Role, text: string) => print(terminal, json, toWire(role), text)

  command('add <name>', 'add a role')
    .option('--description <text>', 'the purpose of the role', '')
    .option('--scope <scope...>', 'scopes of the role', [])
    .addHelpText('after', '\nExample:\n  latchkey role add support --description "First line" --scope users:read')
    .action(
      async (name: string, { json, description, scope: scopes }: Json & { description: string; scope: string[] }) => {
        const role = await withAuth(terminal, ({ roles }) => roles.create(OPERATOR, { name, description, scopes }))
        show(json, role, `role ${name} was added`)
      }
    )

  command('list', 'list roles in the order of their names').action(async ({ json }: Json) => {
    const roles = await withAuth(terminal, (auth) => everyPage(auth.roles.list))
    const rows = roles.map(({ name, description, scopes }) => [name, scopes.join(' '), description])
    print(terminal, json, roles.map(toWire), table([HEAD, ...rows]))
  })

  command('set <name>', 'change the description of a role, or replace its scopes')
    .option('--description <text>', 'the purpose of the role')
    .option('--scope <scope...>', 'scopes of the role; they replace the previous scopes')
    .option('--no-scope', 'remove all scopes')
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey role set support --scope users:read\n  latchkey role set support --no-scope'
    )
    .action(
      async (name: string, { json, description, scope }: Json & { description?: string; scope?: string[] | false }) => {
        if (description === undefined && scope === undefined)
          throw new Refusal('there is nothing to change: give --description, --scope or --no-scope', 2)
        const edit = defined({ description, scopes: scope === false ? [] : scope })
        const role = await withAuth(terminal, ({ roles }) => roles.change(OPERATOR, name, edit))
        show(json, role, `role ${name} was changed`)
      }
    )

  command('delete <name>', 'delete a role and remove it from all users')
    .option('--yes', 'do not ask')
    .action(async (name: string, { json, yes }: Json & { yes?: true }) => {
      const role = await withAuth(terminal, async ({ roles }) => {
        const current = await roles.get(name)
        await confirm(terminal, name, yes)
        await roles.delete(OPERATOR, name)
        return current
      })
      show(json, role, `role ${name} was deleted`)
    })
}
