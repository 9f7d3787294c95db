import { createServer } from 'node:net'
import closeWithGrace from 'close-with-grace'
import { buildApp, version } from './app.ts'
import { bootstrap, type FirstStart } from './bootstrap.ts'
import { type Config, loadConfig } from './config.ts'
import { SetupError } from './domain/errors.ts'
import { adminPasswordFile, removeAdminPassword } from './files.ts'

/** The settings, with a free port in place of 0: the issuer must be known before the app is built. */
async function resolvePort(env: Record<string, string | undefined>): Promise<Config> {
  const config = loadConfig(env)
  if (config.port !== 0) return config
  const probe = createServer()
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, config.host, resolve))
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return loadConfig({ ...env, LATCHKEY_PORT: String(port) })
}

/** What a person reads; kept out of the log, which machines read. */
function greeting(config: Config, { admin }: FirstStart, hasAdmin: boolean, toTerminal: boolean): string {
  const { issuer } = config
  const lines = [`Latchkey ${version}`, '', `  address   ${issuer}`]
  if (config.docs) lines.push(`  docs      ${issuer}/docs`)
  if (admin?.generated) {
    const file = adminPasswordFile(config)
    const shown = toTerminal ? `${admin.password}   (shown this once)` : `in ${file}`
    const value = toTerminal ? admin.password : `"$(cat ${file})"`
    lines.push(`  admin     ${admin.username}`, `  password  ${shown}`, '', '  Try it:')
    lines.push(`  curl -d grant_type=password -d username=${admin.username} -d password=${value} ${issuer}/token`)
  } else if (admin !== null) {
    lines.push(`  admin     ${admin.username}   (with the password of LATCHKEY_ADMIN_PASSWORD)`)
  } else if (!hasAdmin) {
    lines.push('', '  There is no admin yet: set LATCHKEY_ADMIN_PASSWORD and run "latchkey migrate".')
  }
  return `${lines.join('\n')}\n\n`
}

/** Starts the service: the first start where it is due, then listening. SIGTERM and SIGINT finish what is under way. */
export async function serve(env: Record<string, string | undefined>): Promise<void> {
  const config = await resolvePort(env)
  const app = await buildApp(config)
  try {
    const embedded = config.databaseUrl.startsWith('sqlite:')
    const first = embedded ? await bootstrap(app, config) : { seeded: false, admin: null }
    await app.auth.assertReady()
    const { admin: hasAdmin } = await app.store.bootstrapped()
    await app.listen({ host: config.host, port: config.port }).catch((cause: Error) => {
      throw new SetupError(`${cause.message} (LATCHKEY_HOST, LATCHKEY_PORT)`, { cause })
    })
    closeWithGrace({ logger: app.log }, async ({ err }) => {
      if (err) app.log.error({ err }, 'stopping')
      await app.close()
    })

    const toTerminal = process.stderr.isTTY === true
    process.stderr.write(greeting(config, first, hasAdmin, toTerminal))
    if (toTerminal && first.admin?.generated) removeAdminPassword(config)
  } catch (error) {
    await app.close()
    throw error
  }
}
