import type { Command } from 'commander'
import { OPERATOR } from '../domain/caller.ts'
import { toWire } from '../wire/keys.ts'
import { everyPage, type Json, print, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['KID', 'ALG', 'STATE', 'CREATED', 'SIGNS SINCE', 'VERIFIES UNTIL', 'RETIRED']

/** `latchkey key …` */
export function addKeyCommands(program: Command, terminal: Terminal): void {
  const group = program.command('key').description('manage the keys that sign tokens').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of the HTTP API')

  command('list', 'list keys, newest first').action(async ({ json }: Json) => {
    const keys = await withAuth(terminal, async (auth) => (await everyPage(auth.keys.page)).map(toWire))
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

  command('rotate', 'make the next key sign, and publish a new next key').action(async ({ json }: Json) => {
    const key = await withAuth(terminal, ({ keys }) => keys.rotate(OPERATOR))
    print(terminal, json, toWire(key), `key ${key.kid} signs now`)
  })

  command('retire <kid>', 'retire a key that no longer signs and whose tokens have expired')
    .option('--compromised', 'retire the key at once in any state; every token that it signed becomes invalid')
    .addHelpText(
      'after',
      '\nExample:\n  latchkey key retire cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s --compromised\n' +
        '\nWrite "--" before a kid that begins with a hyphen.'
    )
    .action(async (kid: string, { json, compromised = false }: Json & { compromised?: boolean }) => {
      const key = await withAuth(terminal, ({ keys }) => keys.retire(OPERATOR, kid, { compromised }))
      print(terminal, json, toWire(key), `key ${key.kid} is retired`)
    })

  command('reseal', 'seal every value with the current sealing key, after the sealing key was replaced').action(
    async ({ json }: Json) => {
      const resealed = await withAuth(terminal, ({ keys }) => keys.reseal(OPERATOR))
      const text =
        resealed === 0
          ? 'every value is already sealed with the current sealing key'
          : `${resealed} values were sealed with the current sealing key`
      print(terminal, json, { resealed }, text)
    }
  )
}
