#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { addClientCommands } from './commands/clients.ts'
import { addHelpCommand, failureText, findCommand, usageLine } from './commands/failures.ts'
import { addKeyCommands } from './commands/keys.ts'
import { addLoginCommand } from './commands/login.ts'
import { addResourceCommands } from './commands/resources.ts'
import { addRevokeEverythingCommand } from './commands/revoke-everything.ts'
import { addRoleCommands } from './commands/roles.ts'
import { addSessionCommands } from './commands/sessions.ts'
import { createTerminal, Refusal, type Streams } from './commands/terminal.ts'
import { addUserCommands } from './commands/users.ts'
import { loadConfig, readEnvironment, settingsTable, sizeThreadPool } from './config.ts'
import { openCore } from './core.ts'
import { adminPasswordFile, findAdminPassword } from './files.ts'
import { runFirstStart } from './first-start.ts'
import { version } from './package.ts'

/** Runs one command and returns its exit code: 0 for success, 1 for a refusal or a failure, 2 for wrong usage. */
export async function run(args: string[], streams: Streams): Promise<number> {
  const terminal = createTerminal(streams)
  const { stdout, stderr, env } = terminal
  const program = new Command('latchkey')
    .description(
      'Self-hosted OAuth2 service. Without a command it starts the service. Settings are LATCHKEY_* variables or lines of the file .env; "latchkey settings" lists them.'
    )
    .version(version)
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: stdout.write,
      writeErr: stderr.write,
      outputError: (text, write) => write(usageLine(text, findCommand(program, args).words))
    })
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey user add alice\n  latchkey user list --json\n' +
        '\nExit codes: 0 success, 1 refusal or failure, 2 wrong usage.'
    )

  program
    .command('serve')
    .description('start the service; on the embedded database the first start also sets up the database')
    .action(async () => {
      // A command starts in half the time when it does not load routes and pages.
      const { serve } = await import('./server.ts')
      await serve(env())
    })

  program
    .command('migrate')
    .description(
      'migrate the database to this version; in an empty database also create keys, roles, scopes and the first admin'
    )
    .action(async () => {
      const config = loadConfig(env())
      const app = await openCore(config)
      try {
        const { seedStored, admin } = await runFirstStart(app, config, { mayCreateDatabase: true })
        const schema = await app.store.schema()
        stderr.write(`the database is at version ${schema?.version}${seedStored ? ', newly set up' : ''}\n`)
        if (admin !== null) {
          const password = findAdminPassword(config) === null ? '' : `; the password is in ${adminPasswordFile(config)}`
          stderr.write(`admin ${admin} was created${password}\n`)
        } else if (!(await app.store.setupState()).admin) {
          stderr.write(
            'there is no admin: run "latchkey user add <name> --role admin", or set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate" again\n'
          )
        }
      } finally {
        await app.close()
      }
    })

  program
    .command('openapi')
    .description('print the OpenAPI document as YAML')
    .action(async () => {
      const { buildApp } = await import('./app.ts')
      const app = await buildApp(loadConfig({ LATCHKEY_DATABASE_URL: 'sqlite::memory:' }), { logger: false })
      stdout.write(app.swagger({ yaml: true }))
      await app.close()
    })

  program
    .command('settings')
    .description('print every setting with its allowed values and its default, as a Markdown table')
    .action(() => stdout.write(`${settingsTable()}\n`))

  addUserCommands(program, terminal)
  addRoleCommands(program, terminal)
  addSessionCommands(program, terminal)
  addClientCommands(program, terminal)
  addResourceCommands(program, terminal)
  addKeyCommands(program, terminal)
  addRevokeEverythingCommand(program, terminal)
  addLoginCommand(program, terminal)
  addHelpCommand(program)

  try {
    await program.parseAsync(args.length === 0 ? ['serve'] : args, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    stderr.write(`${failureText(error as Error)}\n`)
    return error instanceof Refusal ? error.exitCode : 1
  }
}

/** Runs the command of this process. */
export async function main(): Promise<void> {
  sizeThreadPool()
  // A reader such as "head" may close the pipe early.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  process.exitCode = await run(process.argv.slice(2), {
    // A getter, so that standard input is opened only by commands that read it.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    env: readEnvironment
  })
}

if (import.meta.main) void main()
