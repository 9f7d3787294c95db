import type { Command } from 'commander'
import { defined } from '../defined.ts'
import { OPERATOR } from '../domain/caller.ts'
import { DomainError } from '../domain/errors.ts'
import type { Resource } from '../domain/model.ts'
import { didYouMean } from '../similar.ts'
import { quoted } from '../token/refusal.ts'
import { toWire } from '../wire/resources.ts'
import { confirm, everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['ID', 'RESOURCE', 'NAME', 'SCOPES', 'INTROSPECTED BY']

type Scope = Resource['scopes'][number]

/**
 * Parses `orders:read` or `orders:read=See orders`.
 * @param current the scopes of the resource: a scope keeps its description if the text has none
 */
function parseScope(text: string, current: Scope[] = []): Scope {
  const [name = '', ...rest] = text.split('=')
  const kept = current.find((scope) => scope.name === name)?.description ?? ''
  return { name, description: rest.length === 0 ? kept : rest.join('=') }
}

/** `latchkey resource …` */
export function addResourceCommands(program: Command, terminal: Terminal): void {
  const group = program
    .command('resource')
    .description('manage resources, the services that accept tokens')
    .helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of the HTTP API')

  command(
    'add <id> <uri>',
    'add a resource; its URI (http://localhost:4000, with the scheme) is the "aud" of its tokens'
  )
    .option('--name <name>', 'the display name; by default the id')
    .option('--scope <scope...>', 'scopes of the resource, with their descriptions: orders:read="See orders"', [])
    .option(
      '--introspect <client...>',
      'clients of the service: they may introspect its tokens and read their revocations',
      []
    )
    .addHelpText(
      'after',
      '\nExample:\n  latchkey resource add orders https://orders.example.com --scope orders:read="See orders" orders:write'
    )
    .action(
      async (
        id: string,
        identifier: string,
        { json, name = id, scope, introspect }: Json & { name?: string; scope: string[]; introspect: string[] }
      ) => {
        const input = {
          id,
          identifier,
          name,
          scopes: scope.map((text) => parseScope(text)),
          introspectionClients: introspect
        }
        const resource = await withAuth(terminal, async ({ resources, issuer }) =>
          toWire(await resources.create(OPERATOR, input), issuer)
        )
        print(terminal, json, resource, `resource ${id} was added`)
      }
    )

  command('list', 'list resources in the order of their ids').action(async ({ json }: Json) => {
    const resources = await withAuth(terminal, async (auth) =>
      (await everyPage(auth.resources.list)).map((resource) => toWire(resource, auth.issuer))
    )
    const rows = resources.map((resource) => [
      resource.id,
      resource.resource,
      resource.name,
      resource.scopes.map(({ name }) => name).join(' '),
      resource.introspection_clients.join(' ')
    ])
    print(terminal, json, resources, table([HEAD, ...rows]))
  })

  command('scope <id>', 'add scopes to a resource, or remove scopes from it and from every role and client')
    .option(
      '--add <scope...>',
      'scopes, with their descriptions: orders:read="See orders"; an existing scope keeps a description that is left out',
      []
    )
    .option('--remove <scope...>', 'names of scopes', [])
    .option('--yes', 'do not ask before scopes are removed')
    .addHelpText('after', '\nExample:\n  latchkey resource scope orders --add orders:delete="Delete orders"')
    .action(async (id: string, { json, add, remove, yes }: Json & { add: string[]; remove: string[]; yes?: true }) => {
      if (add.length + remove.length === 0) throw new Refusal('there is nothing to change: give --add or --remove', 2)
      /** Returns the scopes of the resource after the change. */
      const changed = (current: Scope[]): Scope[] => {
        const unknown = remove.find((name) => !current.some((scope) => scope.name === name))
        if (unknown !== undefined) {
          const names = current.map(({ name }) => name)
          throw new DomainError(
            'invalid',
            `The resource ${id} has no scope ${quoted(unknown)}${didYouMean(unknown, names)}`
          )
        }
        const added = add.map((text) => parseScope(text, current))
        const notKept = [...remove, ...added.map(({ name }) => name)]
        return [...current.filter(({ name }) => !notKept.includes(name)), ...added]
      }
      const resource = await withAuth(terminal, async ({ resources, issuer }) => {
        if (remove.length > 0) await confirm(terminal, id, yes)
        return toWire(await resources.change(OPERATOR, id, { scopes: changed }), issuer)
      })
      const names = resource.scopes.map(({ name }) => name).join(' ')
      const text = names === '' ? `resource ${id} has no scopes` : `resource ${id} has the scopes ${names}`
      print(terminal, json, resource, text)
    })

  command('set <id>', 'change the name of a resource, or the clients of its service; its id and URI cannot be changed')
    .option('--name <name>', 'the display name')
    .option(
      '--introspect <client...>',
      'clients of the service, as for "resource add"; they replace the previous clients'
    )
    .option('--no-introspect', 'no client may introspect its tokens or read their revocations')
    .action(async (id: string, { json, name, introspect }: Json & { name?: string; introspect?: string[] | false }) => {
      const edit = defined({ name, introspectionClients: introspect === false ? [] : introspect })
      if (Object.keys(edit).length === 0) throw new Refusal('there is nothing to change: see --help', 2)
      const resource = await withAuth(terminal, async ({ resources, issuer }) =>
        toWire(await resources.change(OPERATOR, id, edit), issuer)
      )
      print(terminal, json, resource, `resource ${id} was changed`)
    })

  command('delete <id>', 'delete a resource with its scopes')
    .option('--yes', 'do not ask')
    .action(async (id: string, { json, yes }: Json & { yes?: true }) => {
      const resource = await withAuth(terminal, async ({ resources, issuer }) => {
        const current = toWire(await resources.get(id), issuer)
        await confirm(terminal, id, yes)
        await resources.delete(OPERATOR, id)
        return current
      })
      print(terminal, json, resource, `resource ${id} was deleted`)
    })
}
