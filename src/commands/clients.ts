import type { Command } from 'commander'
import type { Client } from '../domain/model.ts'
import { everyPage, type Json, print, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['ID', 'NAME', 'KIND', 'GRANTS', 'SCOPES', 'STATE']
const row = ({ id, name, kind, grantTypes, scopes, disabledAt }: Client) => [
  id,
  name,
  kind,
  grantTypes.join(' '),
  scopes.join(' '),
  disabledAt === null ? 'enabled' : 'disabled'
]

/** `latchkey client …` */
export function addClientCommands(program: Command, terminal: Terminal): void {
  const group = program.command('client').description('programs that ask for tokens, or about them').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON, with the names of RFC 7591')

  command('add <name>', 'add a client; its secret is shown this once')
    .option('--id <id>', 'its client_id; a generated one without it')
    .option('--public', 'one that cannot keep a secret, such as an app in a browser')
    .option('--grant <grant...>', 'grants that it may use', [])
    .option('--scope <scope...>', 'scopes that its tokens may hold, or that it may use itself', [])
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey client add "Orders API" --id orders --scope tokens:introspect\n' +
        '  latchkey client add "Phone app" --public --grant password refresh_token --scope profile'
    )
    .action(async (name: string, options: Json & { id?: string; public?: true; grant: string[]; scope: string[] }) => {
      const { json, id, grant: grantTypes, scope: scopes } = options
      const kind = options.public ? 'public' : 'confidential'
      const { view, client, secret } = await withAuth(terminal, async ({ clients }) => {
        const given = {
          name,
          kind,
          grantTypes,
          scopes,
          defaultScopes: scopes,
          ...(id === undefined ? {} : { id })
        } as const
        return { view: clients.view, ...(await clients.create(given)) }
      })
      const lines = [
        `client ${client.id} was added`,
        ...(secret === null ? [] : [`client_secret ${secret}   (shown this once)`])
      ]
      print(
        terminal,
        json,
        { ...view(client), ...(secret === null ? {} : { client_secret: secret }) },
        lines.join('\n')
      )
    })

  command('list', 'list clients by id').action(async ({ json }: Json) => {
    const { clients, view } = await withAuth(terminal, async (auth) => ({
      clients: await everyPage(auth.clients.list),
      view: auth.clients.view
    }))
    print(terminal, json, clients.map(view), table([HEAD, ...clients.map(row)]))
  })

  for (const [name, disabled, description] of [
    ['disable', true, 'refuse a client from the next request on, and end its sessions'],
    ['enable', false, 'let a client in again']
  ] as const)
    command(`${name} <id>`, description).action(async (id: string, { json }: Json) => {
      const client = await withAuth(terminal, async ({ clients }) => {
        await clients.setDisabled(id, disabled)
        return clients.view(await clients.find(id))
      })
      print(terminal, json, client, `client ${id} is ${name}d`)
    })
}
