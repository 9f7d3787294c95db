import type { Command } from 'commander'
import { OPERATOR } from '../domain/caller.ts'
import { confirm, type Json, print, type Terminal, withAuth } from './terminal.ts'

/** `latchkey revoke-everything` */
export function addRevokeEverythingCommand(program: Command, terminal: Terminal): void {
  program
    .command('revoke-everything')
    .description(
      'log out everybody: end all sessions, sign all users out in all browsers, retire all keys and create new ones, so that no token that was ever issued works any more'
    )
    .option('--yes', 'do not ask')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nRun it after a restore: the backup does not know what was revoked since. All users log in again. Passwords and client secrets stay.'
    )
    .action(async ({ json, yes }: Json & { yes?: true }) => {
      const revoked = await withAuth(terminal, async (auth) => {
        await confirm(terminal, 'revoke-everything', yes)
        return auth.revokeEverything(OPERATOR)
      })
      const text = `sessions that have ended: ${revoked.sessions}; keys that were replaced: ${revoked.keys}; every token issued until now is invalid, and every user is signed out in every browser`
      print(terminal, json, revoked, text)
    })
}
