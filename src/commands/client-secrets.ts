import type { Command } from 'commander'
import { OPERATOR } from '../domain/caller.ts'
import { newToWire } from '../wire/client-secrets.ts'
import { DURATIONS, parseDuration } from './durations.ts'
import { type Json, print, type Terminal, withAuth } from './terminal.ts'

/** `latchkey client secret …` */
export function addClientSecretCommands(clients: Command, terminal: Terminal): void {
  const group = clients.command('secret').description('manage the secrets of clients').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of RFC 7591')

  command('add <client>', 'add a secret beside the existing ones; it is shown once')
    .option('--expires-in <duration>', 'lifetime of the secret; without it the secret never expires', parseDuration)
    .option('--others-expire-in <duration>', 'longest remaining lifetime of the other secrets', parseDuration)
    .addHelpText('after', `\nExample:\n  latchkey client secret add worker --others-expire-in 1d${DURATIONS}`)
    .action(async (id: string, options: Json & { expiresIn?: number; othersExpireIn?: number }) => {
      const { json, expiresIn, othersExpireIn } = options
      const added = await withAuth(terminal, ({ clients }) =>
        clients.addSecret(OPERATOR, id, { expiresIn, othersExpireIn })
      )
      const text = `secret ${added.stored.id} was added\nclient_secret ${added.secret}   (shown this once)`
      print(terminal, json, newToWire(added), text)
    })

  command('delete <client> <secret>', 'delete a secret by its id, which "client show" prints').action(
    async (id: string, secretId: string, { json }: Json) => {
      await withAuth(terminal, ({ clients }) => clients.deleteSecret(OPERATOR, { id, secretId }))
      print(terminal, json, { id: secretId }, `secret ${secretId} was deleted`)
    }
  )
}
