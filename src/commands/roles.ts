import type { Command } from 'commander'
import type { Role } from '../domain/model.ts'
import { confirm, everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

/** `latchkey role …` */
export function addRoleCommands(program: Command, terminal: Terminal): void {
  const group = program.command('role').description('what users may do').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON, with the names of the API')
  const show = (json: true | undefined, role: Role, text: string) => print(terminal, json, role, text)

  command('add <name>', 'add a role')
    .option('--description <text>', 'what it is for', '')
    .option('--scope <scope...>', 'scopes that it allows', [])
    .addHelpText('after', '\nExample:\n  latchkey role add support --description "First line" --scope profile')
    .action(
      async (name: string, { json, description, scope: scopes }: Json & { description: string; scope: string[] }) => {
        const role = await withAuth(terminal, ({ roles }) => roles.create({ name, description, scopes }, null))
        show(json, role, `role ${name} was added`)
      }
    )

  command('list', 'list roles by name').action(async ({ json }: Json) => {
    const roles = await withAuth(terminal, (auth) => everyPage(auth.roles.list))
    const rows = roles.map(({ name, description, scopes }) => [name, scopes.join(' '), description])
    print(terminal, json, roles, table([['NAME', 'SCOPES', 'DESCRIPTION'], ...rows]))
  })

  command('set <name>', 'change what a role is for, or its scopes: those given are then all')
    .option('--description <text>', 'what it is for')
    .option('--scope <scope...>', 'scopes that it allows')
    .option('--no-scope', 'take all scopes away')
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey role set support --scope profile\n  latchkey role set support --no-scope'
    )
    .action(
      async (name: string, { json, description, scope }: Json & { description?: string; scope?: string[] | false }) => {
        if (description === undefined && scope === undefined)
          throw new Refusal('there is nothing to change: give --description, --scope or --no-scope', 2)
        const changes = {
          ...(description === undefined ? {} : { description }),
          ...(scope === undefined ? {} : { scopes: scope || [] })
        }
        const role = await withAuth(terminal, ({ roles }) => roles.change(name, changes, null))
        show(json, role, `role ${name} was changed`)
      }
    )

  command('delete <name>', 'delete a role, also from everyone who has it')
    .option('--yes', 'do not ask')
    .action(async (name: string, { json, yes }: Json & { yes?: true }) => {
      const role = await withAuth(terminal, async ({ roles }) => {
        const found = await roles.get(name)
        await confirm(terminal, name, yes)
        await roles.delete(name)
        return found
      })
      show(json, role, `role ${name} was deleted`)
    })
}
