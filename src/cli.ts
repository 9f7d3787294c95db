#!/usr/bin/env node
import { Command } from 'commander'
import { buildApp, version } from './app.ts'
import { bootstrap } from './bootstrap.ts'
import { loadConfig, readEnvironment, settingsTable, sizeThreadPool } from './config.ts'
import { DomainError, SetupError } from './domain/errors.ts'
import { adminPasswordFile, findAdminPassword } from './files.ts'
import { serve } from './server.ts'

const program = new Command('latchkey')
  .description(
    'Self-hosted OAuth2 service. Settings are LATCHKEY_* variables or lines of a file .env; "latchkey settings" lists them.'
  )
  .version(version)
  .showHelpAfterError()
  .helpCommand(false)

program
  .command('serve')
  .description('start the service; on the embedded database with everything that a first start needs')
  .action(() => serve(readEnvironment()))

program
  .command('migrate')
  .description('bring the database to this version; on an empty one make keys, roles, scopes and the first admin')
  .action(async () => {
    const config = loadConfig(readEnvironment())
    const app = await buildApp(config, { logger: false })
    try {
      const { seeded, admin } = await bootstrap(app, config, { mayBeginAnew: true })
      const schema = await app.store.schema()
      process.stderr.write(`the database is at version ${schema?.version}${seeded ? ', set up anew' : ''}\n`)
      if (admin !== null) {
        const password = findAdminPassword(config) === null ? '' : `; the password is in ${adminPasswordFile(config)}`
        process.stderr.write(`admin ${admin} was made${password}\n`)
      } else if (!(await app.store.bootstrapped()).admin) {
        process.stderr.write('there is no admin: set LATCHKEY_ADMIN_PASSWORD and run this again\n')
      }
    } finally {
      await app.close()
    }
  })

program
  .command('openapi')
  .description('print the OpenAPI document as YAML')
  .action(async () => {
    const app = await buildApp(loadConfig({ LATCHKEY_DATABASE_URL: 'sqlite::memory:' }), { logger: false })
    process.stdout.write(app.swagger({ yaml: true }))
    await app.close()
  })

program
  .command('settings')
  .description('print every setting with what is allowed and its default, as a Markdown table')
  .action(() => void process.stdout.write(`${settingsTable()}\n`))

sizeThreadPool()
try {
  await program.parseAsync()
} catch (error) {
  const { message, stack, cause } = error as Error
  const expected = error instanceof SetupError || error instanceof DomainError
  const why = error instanceof DomainError && cause instanceof Error ? ` (${cause.message})` : ''
  process.stderr.write(`${expected ? message + why : stack}\n`)
  process.exitCode = 1
}
