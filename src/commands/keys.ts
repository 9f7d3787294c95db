import type { Command } from 'commander'
import { everyPage, type Json, print, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['KID', 'ALG', 'STATE', 'CREATED', 'SIGNS SINCE', 'VERIFIES UNTIL', 'RETIRED']

/** `latchkey key …` */
export function addKeyCommands(program: Command, terminal: Terminal): void {
  const group = program.command('key').description('what tokens are signed with').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON, with the names of the API')

  command('list', 'list keys, the newest first').action(async ({ json }: Json) => {
    const keys = await withAuth(terminal, async (auth) => (await everyPage(auth.keys.page)).map(auth.keys.view))
    const rows = keys.map((key) => [
      key.kid,
      key.alg,
      key.state,
      key.created_at,
      key.signs_since_at ?? '',
      key.verifies_until_at ?? '',
      key.retired_at ?? ''
    ])
    print(terminal, json, keys, table([HEAD, ...rows]))
  })

  command('rotate', 'let the next key sign, and publish another').action(async ({ json }: Json) => {
    const key = await withAuth(terminal, async ({ keys }) => keys.view(await keys.rotate()))
    print(terminal, json, key, `key ${key.kid} signs now`)
  })

  command('retire <kid>', 'take a key out of use that signs no more and whose tokens are over')
    .option('--compromised', 'take it out at once, whatever it is used for: its tokens are good no more')
    .addHelpText(
      'after',
      '\nExample:\n  latchkey key retire cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s --compromised\n' +
        '\nA kid that begins with a hyphen stands behind "--".'
    )
    .action(async (kid: string, { json, compromised = false }: Json & { compromised?: boolean }) => {
      const key = await withAuth(terminal, async ({ keys }) => keys.view(await keys.retire(kid, { compromised })))
      print(terminal, json, key, `key ${key.kid} is retired`)
    })

  command('reseal', 'after a change of the sealing key: seal everything anew with it').action(
    async ({ json }: Json) => {
      const resealed = await withAuth(terminal, ({ keys }) => keys.reseal())
      const text = resealed === 0 ? 'everything is sealed with this key already' : `${resealed} values were sealed anew`
      print(terminal, json, { resealed }, text)
    }
  )
}
