import { lookup } from 'node:dns/promises'
import { createServer } from 'node:net'
import { buildApp } from './app.ts'
import { loadConfig, noticesOf } from './config.ts'
import { SetupError } from './domain/errors.ts'
import { adminPasswordFile, removeAdminPassword } from './files.ts'
import { prepare, unshownPassword } from './first-start.ts'
import { openLog } from './log.ts'
import { version } from './package.ts'
import { printable } from './printable.ts'
import type { Config } from './settings.ts'
import { installExitHandlers } from './stop.ts'
import { lowerThreadPool } from './thread-pool.ts'

const cannotListen = (cause: Error): never => {
  throw new SetupError(
    `${cause.message}; set LATCHKEY_HOST to an address of this machine, and LATCHKEY_PORT to a port that no other process uses`,
    { cause }
  )
}

/** Loads the settings and replaces port 0 by a free port, because the issuer contains the port and the app needs the issuer. */
async function resolvePort(env: Record<string, string | undefined>): Promise<Config> {
  const config = loadConfig(env, { listens: true })
  if (config.port !== 0) return config
  const probe = createServer()
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, config.host, resolve)).catch(
    cannotListen
  )
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return loadConfig({ ...env, LATCHKEY_PORT: String(port) }, { listens: true })
}

/** Quotes a text as one argument of a shell command. */
const quoted = (text: string): string => (/^[\w./:@=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

/**
 * Returns the lines that the operator reads at the start. They are not part of the log.
 * @param password the generated password of the first admin if it was not shown yet, else null
 */
function greeting(config: Config, password: string | null, hasAdmin: boolean, toTerminal: boolean): string {
  const { issuer, adminUsername } = config
  const lines = [`Latchkey ${version}`, '', `  address   ${issuer}`]
  if (config.docs) lines.push(`  docs      ${issuer}/docs`)
  if (password !== null) {
    const file = adminPasswordFile(config)
    const passwordArgument = toTerminal ? quoted(`password=${password}`) : `"password=$(cat ${quoted(file)})"`
    const formArguments = `-d grant_type=password --data-urlencode ${quoted(`username=${adminUsername}`)} --data-urlencode ${passwordArgument}`
    lines.push(`  admin     ${adminUsername}`)
    lines.push(`  password  ${toTerminal ? `${password}   (shown this once)` : `in ${file}`}`)
    lines.push('', '  Try it:', `  curl ${formArguments} ${issuer}/token`)
  } else if (!hasAdmin) {
    lines.push(
      '',
      '  There is no admin yet: run "latchkey user add <name> --role admin", or set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate".'
    )
  }
  return `${lines.join('\n')}\n\n`
}

/**
 * Starts the service: sets up or migrates the embedded database if needed, then listens. After SIGTERM, SIGINT or SIGHUP the
 * service finishes the open requests and exits.
 */
export async function serve(env: Record<string, string | undefined>): Promise<void> {
  const config = await resolvePort(env)
  const app = await buildApp(config, { logger: { stream: openLog() } })
  for (const notice of noticesOf(env)) app.log.warn(notice)
  installExitHandlers(
    async (signal) => {
      // A service that does not listen yet has no requests to finish.
      if (!app.server.listening) return
      app.log.info(`${signal}: the service finishes its requests and stops`)
      await app.drain()
      await app.close()
      app.log.info('the service has stopped')
    },
    (err) => app.log.fatal({ err }, 'the process exits after an uncaught error')
  )
  await lowerThreadPool().catch((err) => app.log.warn({ err }, 'the priority of the thread pool could not be lowered'))
  try {
    const { hasAdmin } = await prepare(app, config)
    // Resolves the host to one address. For several addresses Fastify would start more servers, and those lack some of the limits.
    const { address } = await lookup(config.host).catch(cannotListen)
    await app.listen({ host: address, port: config.port }).catch(cannotListen)

    const toTerminal = process.stderr.isTTY === true
    const password = await unshownPassword(app, config)
    process.stderr.write(printable(greeting(config, password, hasAdmin, toTerminal)))
    if (toTerminal && password !== null) removeAdminPassword(config)
  } catch (error) {
    await app.close()
    throw error
  }
}
