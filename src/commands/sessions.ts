import type { Command } from 'commander'
import { OPERATOR } from '../domain/caller.ts'
import { toWire } from '../wire/sessions.ts'
import { everyPage, type Json, print, Refusal, type Terminal, table, withAuth } from './terminal.ts'

const HEAD = ['ID', 'CLIENT', 'SCOPES', 'ADDRESS', 'CREATED', 'LAST USED', 'EXPIRES']

/** `latchkey session …` */
export function addSessionCommands(program: Command, terminal: Terminal): void {
  const group = program.command('session').description('manage the sessions of users').helpCommand(false)
  const command = (usage: string, description: string) =>
    group.command(usage).description(description).option('--json', 'print JSON with the member names of the HTTP API')

  command('list <username>', 'list the active sessions of a user, oldest first').action(
    async (username: string, { json }: Json) => {
      const sessions = await withAuth(terminal, async (auth) => {
        const { id } = await auth.users.find(username)
        const all = await everyPage((page) => auth.sessions.list(id, page))
        return all.map((session) => toWire(session, null))
      })
      const rows = sessions.map((session) => [
        session.id,
        session.client_id,
        session.scope,
        session.address ?? '',
        session.created_at,
        session.last_used_at,
        session.expires_at
      ])
      print(terminal, json, sessions, table([HEAD, ...rows]))
    }
  )

  command('revoke <username> [session]', 'end a session of a user with its tokens')
    .option('--all', 'end all sessions of the user, and sign the user out in all browsers')
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey session revoke alice 0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55\n  latchkey session revoke alice --all'
    )
    .action(async (username: string, session: string | undefined, { json, all }: Json & { all?: true }) => {
      if ((session === undefined) === (all === undefined)) throw new Refusal('give the id of one session, or --all', 2)
      const ended = await withAuth(terminal, async ({ users, sessions }) => {
        const { id: userId } = await users.find(username)
        if (session === undefined) return sessions.endAll(OPERATOR, { userId })
        await sessions.end(OPERATOR, { userId, id: session })
        return 1
      })
      print(terminal, json, { ended }, `${ended} ${ended === 1 ? 'session has' : 'sessions have'} ended`)
    })
}
