import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import { buildApp } from './app.ts'
import { prepare, unshownPassword } from './bootstrap.ts'
import { type Config, loadConfig, toEnvironment } from './config.ts'
import { SetupError } from './domain/errors.ts'
import { adminPasswordFile } from './files.ts'

/** The settings of docs/operations.md, in camelCase. The environment and `.env` are not read. */
export interface LatchkeyOptions extends Partial<Omit<Config, 'host' | 'port' | 'issuer'>> {
  /** Where it is reached from outside, with a path: `https://app.example.com/auth`. There the host serves it. */
  issuer: string
}

const WELL_KNOWN = '/.well-known/oauth-authorization-server'

/** The path of the issuer, as the host's router shall see it. @throws SetupError */
function mountPath(host: FastifyInstance, issuer: string): string {
  const { pathname } = new URL(issuer)
  if (!/^(\/[\w.~-]+)+$/.test(pathname)) {
    throw new SetupError(
      `LATCHKEY_ISSUER: ${JSON.stringify(issuer)} is not allowed; allowed: an issuer with a path of letters, digits, "-", ".", "_" and "~", where the host serves it`
    )
  }
  if (host.prefix !== '') {
    throw new SetupError(
      `Latchkey is registered under ${host.prefix}; register it at the root: its path is the issuer's`
    )
  }
  return pathname
}

async function mount(host: FastifyInstance, options: LatchkeyOptions): Promise<void> {
  const config = loadConfig(toEnvironment(options))
  const path = mountPath(host, config.issuer)
  const level = options.logLevel === undefined ? {} : { level: options.logLevel }
  const log = host.log.child({ component: 'latchkey' }, level)
  const app = await buildApp(config, { log, mounted: true })
  host.addHook('onClose', () => app.close())

  const { hasAdmin } = await prepare(app, config)
  const { adminUsername: name } = config
  if (await unshownPassword(app, config)) {
    log.warn(`the password of ${name} is in ${adminPasswordFile(config)}: read it and delete the file`)
  } else if (!hasAdmin) {
    log.warn('there is no admin yet: run "latchkey user add <name> --role admin"')
  }
  app.startSweeping()
  host.addHook('preClose', () => app.letGo())

  // In onRequest nothing of the body was read.
  const handOver: onRequestHookHandler = (request, reply) => {
    reply.hijack()
    app.routing(request.raw, reply.raw)
  }
  const never = async () => {}
  // For a host whose guard asks of every route who may call it.
  const guard = host.hasDecorator('publicAccess') ? { preHandler: host.publicAccess } : {}
  const route = { schema: { hide: true }, logLevel: 'silent' as const, ...guard }
  host.addHook('onRequest', handOver)
  for (const url of [path, `${path}/*`, WELL_KNOWN + path]) host.all(url, route, never)
  // Methods that the host does not know.
  await host.register(async (scope) => scope.setNotFoundHandler(never), { prefix: path })
}

/**
 * Latchkey as a part of another Fastify app, under the path of the issuer. It is an app of its own that gets the raw request
 * once the host's root `onRequest` hooks have let it pass: of the host's parsers, other hooks, error handlers and decorators it
 * sees nothing, and it adds none. Its log goes to the host's; it closes with the host.
 * For any Fastify 5, whatever its server and its logger are.
 * @throws SetupError when a setting is wrong or the database is not ready
 */
const latchkey: (host: object, options: LatchkeyOptions) => Promise<void> = mount as never

export default latchkey
