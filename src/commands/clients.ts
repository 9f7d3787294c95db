import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Client } from '../domain/model.ts'
import { confirm, everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['ID', 'NAME', 'KIND', 'GRANTS', 'SCOPES', 'STATE']
const row = ({ id, name, kind, grantTypes, scopes, disabledAt }: Client) => [
  id,
  name,
  kind,
  grantTypes.join(' '),
  scopes.join(' '),
  disabledAt === null ? 'enabled' : 'disabled'
]

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }
/** Seconds of `90`, `15m`, `12h` or `30d`. */
function span(text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
  if (count === undefined) throw new InvalidArgumentError('It is a number of seconds, or one with s, m, h or d: 12h')
  return Number(count) * (UNITS[unit] as number)
}

function jwksIn(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Refusal(`${file} cannot be read as JSON: ${(error as Error).message}`)
  }
}

interface Fields {
  grant?: string[]
  scope?: string[]
  defaultScope?: string[]
  resource?: string[]
  redirectUri?: string[]
  firstParty?: boolean
  jwks?: string
  accessTokenTtl?: number
  sessionIdleTtl?: number
  sessionAbsoluteTtl?: number
}

/** What was given of a client. */
const fields = ({ grant, scope, defaultScope, resource, redirectUri, firstParty, jwks, ...ttls }: Fields) => {
  const { accessTokenTtl, sessionIdleTtl, sessionAbsoluteTtl } = ttls
  return {
    ...(grant === undefined ? {} : { grantTypes: grant }),
    ...(scope === undefined ? {} : { scopes: scope }),
    ...(defaultScope === undefined ? {} : { defaultScopes: defaultScope }),
    ...(resource === undefined ? {} : { resources: resource }),
    ...(redirectUri === undefined ? {} : { redirectUris: redirectUri }),
    ...(firstParty === undefined ? {} : { firstParty }),
    ...(jwks === undefined ? {} : { jwks: jwksIn(jwks) }),
    ...(accessTokenTtl === undefined ? {} : { accessTokenTtl }),
    ...(sessionIdleTtl === undefined ? {} : { sessionIdleTtl }),
    ...(sessionAbsoluteTtl === undefined ? {} : { sessionAbsoluteTtl })
  }
}

/** `latchkey client …` */
export function addClientCommands(program: Command, terminal: Terminal): void {
  const group = program.command('client').description('programs that ask for tokens, or about them').helpCommand(false)
  const under = (parent: Command) => (usage: string, description: string) =>
    parent.command(usage).description(description).option('--json', 'print JSON, with the names of RFC 7591')
  const command = under(group)
  const withFields = (it: Command) =>
    it
      .option('--grant <grant...>', 'grants that it may use: client_credentials, password, refresh_token')
      .option('--scope <scope...>', 'scopes that its tokens may hold, or that it may use itself')
      .option('--default-scope <scope...>', 'of these, what a request means that names none; else all of them')
      .option('--resource <id...>', 'resources that its tokens may be for, the default first; else all of its scopes’')
      .option('--redirect-uri <uri...>', 'where the code flow may lead back to')
      .option('--first-party', 'one of your own, which may see passwords')
      .option('--jwks <file>', 'a JWK Set with the public keys that it authenticates with, in place of a secret')
      .option('--access-token-ttl <span>', 'lifetime of its access tokens', span)
      .option('--session-idle-ttl <span>', 'how long its sessions may be idle', span)
      .option('--session-absolute-ttl <span>', 'how long its sessions may last', span)
  const show = (json: true | undefined, client: object, text: string) => print(terminal, json, client, text)

  withFields(command('add <name>', 'add a client; its secret is shown this once'))
    .option('--id <id>', 'its client_id; a generated one without it')
    .addOption(new Option('--public', 'one that cannot keep a secret, such as an app in a browser').conflicts('jwks'))
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey client add "Orders worker" --id worker --grant client_credentials --scope orders:read\n' +
        '  latchkey client add "Orders API" --id orders-api --scope tokens:introspect\n' +
        '  latchkey client add "Phone app" --public --first-party --grant password refresh_token --scope profile'
    )
    .action(
      async (
        name: string,
        { json, id, public: isPublic, ...given }: Json & Fields & { id?: string; public?: true }
      ) => {
        const { view, client, secret } = await withAuth(terminal, async ({ clients }) => {
          const input = {
            name,
            ...(isPublic ? { method: 'none' as const } : {}),
            ...fields(given),
            ...(id === undefined ? {} : { id })
          }
          return { view: clients.view, ...(await clients.create(input)) }
        })
        const lines = [
          `client ${client.id} was added`,
          ...(secret === null ? [] : [`client_secret ${secret}   (shown this once)`])
        ]
        show(json, { ...view(client), ...(secret === null ? {} : { client_secret: secret }) }, lines.join('\n'))
      }
    )

  command('list', 'list clients by id').action(async ({ json }: Json) => {
    const { clients, view } = await withAuth(terminal, async (auth) => ({
      clients: await everyPage(auth.clients.list),
      view: auth.clients.view
    }))
    show(json, clients.map(view), table([HEAD, ...clients.map(row)]))
  })

  command('show <id>', 'show a client, with its secrets but for themselves').action(
    async (id: string, { json }: Json) => {
      const { secrets, ...client } = await withAuth(terminal, async ({ clients }) => ({
        ...clients.view(await clients.find(id)),
        secrets: (await clients.secrets(id)).map(clients.secretView)
      }))
      const text = (value: unknown) => {
        if (value === null) return ''
        if (Array.isArray(value)) return value.join(' ')
        return typeof value === 'object' ? JSON.stringify(value) : String(value)
      }
      const lines = Object.entries(client).map(([name, value]) => [name, text(value)])
      const ends = ({ client_secret_expires_at: at }: { client_secret_expires_at: number }) =>
        at === 0 ? 'no end' : `ends ${new Date(at * 1000).toISOString()}`
      for (const secret of secrets)
        lines.push(['secret', `${secret.id}, ${ends(secret)}, last used ${secret.last_used_at ?? 'never'}`])
      show(json, { ...client, secrets }, table(lines))
    }
  )

  withFields(command('set <id>', 'change a client: lists that are given are then all that it has'))
    .option('--name <name>', 'what people call it')
    .option('--no-first-party', 'no longer one of your own; the password grant must go first or with it (--grant)')
    .option('--no-jwks', 'take its keys from it')
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey client set worker --scope orders:read orders:write\n  latchkey client set worker --access-token-ttl 10m'
    )
    .action(async (id: string, options: Json & Omit<Fields, 'jwks'> & { name?: string; jwks?: string | false }) => {
      const { json, name, jwks, ...given } = options
      const edit = {
        ...fields({ ...given, ...(typeof jwks === 'string' ? { jwks } : {}) }),
        ...(name === undefined ? {} : { name }),
        ...(jwks === false ? { jwks: null } : {})
      }
      if (Object.keys(edit).length === 0) throw new Refusal('there is nothing to change: see --help', 2)
      const client = await withAuth(terminal, async ({ clients }) => clients.view(await clients.change(id, edit, null)))
      show(json, client, `client ${id} was changed`)
    })

  for (const [name, disabled, description] of [
    ['disable', true, 'refuse a client from the next request on, and end its sessions'],
    ['enable', false, 'let a client in again']
  ] as const)
    command(`${name} <id>`, description).action(async (id: string, { json }: Json) => {
      const client = await withAuth(terminal, async ({ clients }) =>
        clients.view(await clients.change(id, { disabled }, null))
      )
      show(json, client, `client ${id} is ${name}d`)
    })

  command('delete <id>', 'delete a client, with its sessions and secrets')
    .option('--yes', 'do not ask')
    .action(async (id: string, { json, yes }: Json & { yes?: true }) => {
      const client = await withAuth(terminal, async ({ clients }) => {
        const found = clients.view(await clients.find(id))
        await confirm(terminal, id, yes)
        await clients.delete(id)
        return found
      })
      show(json, client, `client ${id} was deleted`)
    })

  const secret = under(group.command('secret').description('secrets of clients').helpCommand(false))

  secret('add <client>', 'add a secret, shown this once, beside those that are there')
    .option('--expires-in <span>', 'when it ends; without it it has no end', span)
    .option('--others-expire-in <span>', 'when the others end, at the latest', span)
    .addHelpText('after', '\nExample:\n  latchkey client secret add worker --others-expire-in 1d')
    .action(async (id: string, options: Json & { expiresIn?: number; othersExpireIn?: number }) => {
      const { json, expiresIn, othersExpireIn } = options
      const made = await withAuth(terminal, async ({ clients }) => {
        const { secret: value, stored } = await clients.addSecret(id, { expiresIn, othersExpireIn })
        return { ...clients.secretView(stored), client_secret: value }
      })
      show(json, made, `secret ${made.id} was added\nclient_secret ${made.client_secret}   (shown this once)`)
    })

  secret('delete <client> <secret>', 'delete a secret by its id, which "client show" shows').action(
    async (id: string, secretId: string, { json }: Json) => {
      await withAuth(terminal, ({ clients }) => clients.deleteSecret(id, secretId))
      show(json, { id: secretId }, `secret ${secretId} was deleted`)
    }
  )
}
