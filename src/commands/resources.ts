import type { Command } from 'commander'
import { DomainError } from '../domain/errors.ts'
import type { Resource } from '../domain/model.ts'
import { confirm, everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['ID', 'RESOURCE', 'NAME', 'SCOPES', 'MAY BE ASKED ABOUT BY']

/** `orders:read` or `orders:read=See orders`. */
function scope(text: string): Resource['scopes'][number] {
  const [name = '', ...rest] = text.split('=')
  return { name, description: rest.join('=') }
}

/** `latchkey resource …` */
export function addResourceCommands(program: Command, terminal: Terminal): void {
  const group = program.command('resource').description('services that tokens are for').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON, with the names of the API')
  const show = (json: true | undefined, resource: object, text: string) => print(terminal, json, resource, text)

  command('add <id> <uri>', 'add a service; the URI is the "aud" of its tokens')
    .option('--name <name>', 'what people call it; else its id')
    .option('--scope <scope...>', 'its scopes, with what they are for: orders:read="See orders"', [])
    .option('--introspect <client...>', 'clients that may ask about its tokens', [])
    .addHelpText(
      'after',
      '\nExample:\n  latchkey resource add orders https://orders.example.com --scope orders:read="See orders" orders:write'
    )
    .action(
      async (
        id: string,
        identifier: string,
        { json, name = id, scope: scopes, introspect }: Json & { name?: string; scope: string[]; introspect: string[] }
      ) => {
        const input = { id, identifier, name, scopes: scopes.map(scope), introspectionClients: introspect }
        const resource = await withAuth(terminal, async ({ resources }) =>
          resources.view(await resources.create(input))
        )
        show(json, resource, `resource ${id} was added`)
      }
    )

  command('list', 'list services by id').action(async ({ json }: Json) => {
    const resources = await withAuth(terminal, async (auth) =>
      (await everyPage(auth.resources.list)).map(auth.resources.view)
    )
    const rows = resources.map(({ id, resource, name, scopes, introspection_clients: clients }) => [
      id,
      resource,
      name,
      scopes.map((each) => each.name).join(' '),
      clients.join(' ')
    ])
    show(json, resources, table([HEAD, ...rows]))
  })

  command('scope <id>', 'add scopes to a service, or take some away, from every role and client')
    .option('--add <scope...>', 'scopes, with what they are for: orders:read="See orders"', [])
    .option('--remove <scope...>', 'names of scopes', [])
    .option('--yes', 'do not ask before scopes are taken away')
    .addHelpText('after', '\nExample:\n  latchkey resource scope orders --add orders:delete="Delete orders"')
    .action(async (id: string, { json, add, remove, yes }: Json & { add: string[]; remove: string[]; yes?: true }) => {
      if (add.length + remove.length === 0) throw new Refusal('there is nothing to change: give --add or --remove', 2)
      const resource = await withAuth(terminal, async ({ resources }) => {
        if (remove.length > 0) await confirm(terminal, id, yes)
        const added = add.map(scope)
        const gone = [...remove, ...added.map((each) => each.name)]
        const changed = await resources.change(id, {
          scopes(before) {
            const unknown = remove.find((name) => !before.some((each) => each.name === name))
            if (unknown !== undefined) throw new DomainError('invalid', `The resource ${id} has no scope ${unknown}`)
            return [...before.filter(({ name }) => !gone.includes(name)), ...added]
          }
        })
        return resources.view(changed)
      })
      const names = resource.scopes.map(({ name }) => name).join(' ')
      show(json, resource, names === '' ? `resource ${id} has no scopes` : `resource ${id} has the scopes ${names}`)
    })

  command('set <id>', 'change what people call a service, or who may ask about its tokens')
    .option('--name <name>', 'what people call it')
    .option('--introspect <client...>', 'clients that may ask about its tokens: these are then all')
    .option('--no-introspect', 'let nobody ask')
    .action(
      async (id: string, { json, name, introspect }: Json & { name?: string; introspect?: string[] | boolean }) => {
        const edit = {
          ...(name === undefined ? {} : { name }),
          ...(Array.isArray(introspect) ? { introspectionClients: introspect } : {}),
          ...(introspect === false ? { introspectionClients: [] } : {})
        }
        if (Object.keys(edit).length === 0) throw new Refusal('there is nothing to change: see --help', 2)
        const resource = await withAuth(terminal, async ({ resources }) =>
          resources.view(await resources.change(id, edit))
        )
        show(json, resource, `resource ${id} was changed`)
      }
    )

  command('delete <id>', 'delete a service, with its scopes')
    .option('--yes', 'do not ask')
    .action(async (id: string, { json, yes }: Json & { yes?: true }) => {
      const resource = await withAuth(terminal, async ({ resources }) => {
        const found = resources.view(await resources.get(id))
        await confirm(terminal, id, yes)
        await resources.delete(id)
        return found
      })
      show(json, resource, `resource ${id} was deleted`)
    })
}
