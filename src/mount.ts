import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import { buildApp } from './app.ts'
import { loadConfig, toEnvironment } from './config.ts'
import { defined } from './defined.ts'
import { SetupError } from './domain/errors.ts'
import { ignoresForwardedFor } from './domain/networks.ts'
import { adminPasswordFile } from './files.ts'
import { prepare, unshownPassword } from './first-start.ts'
import { declareMounted } from './guard/routes.ts'
import type { Config } from './settings.ts'
import type { Refusal } from './token/refusal.ts'

export type { Refusal, RefusalCode } from './token/refusal.ts'

/** A request to Latchkey. */
export interface RefusedRequest {
  id: string
  ip: string
  method: string
  /** With the query. */
  url: string
  headers: Record<string, string | string[] | undefined>
}

/** All settings except host, port and trusted proxies, in camelCase. The environment and `.env` are not read. */
export interface LatchkeyOptions extends Partial<Omit<Config, 'host' | 'port' | 'issuer' | 'trustedProxies'>> {
  /** The URL as clients see it, with the path at which the host serves Latchkey: `https://app.example.com/auth`. */
  issuer: string
  /**
   * Whether `/docs` stores its login in `localStorage`, so that it is valid in every tab and after a reload. Every script of the host app can
   * read `localStorage` of its origin, so by default the login stays in the memory of its page.
   */
  docsStoreLogin?: boolean
  /**
   * Called once for each request that Latchkey's API refuses. The log has the same reason, at the level `info`. The response holds it
   * only for a missing right and for a repeated `Authorization` header.
   */
  onRefused?: (reason: Refusal, request: RefusedRequest) => unknown
}

/** The documents at the root of the host: the path of the issuer follows these paths (RFC 8414 §3.1). */
const WELL_KNOWN = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

/** Returns the path of the issuer for the router of the host. @throws SetupError */
function mountPath(host: FastifyInstance, issuer: string): string {
  const { pathname } = new URL(issuer)
  if (!/^(\/[\w.~-]+)+$/.test(pathname)) {
    throw new SetupError(
      `LATCHKEY_ISSUER must be a URL with the path at which the host serves Latchkey, of letters, digits, "-", ".", "_" and "~"; got ${JSON.stringify(issuer)}`
    )
  }
  if (host.prefix !== '') {
    throw new SetupError(
      `Latchkey is registered under the prefix ${host.prefix}; register it at the root: its path is the path of the issuer`
    )
  }
  return pathname
}

async function mount(
  host: FastifyInstance,
  { onRefused, docsStoreLogin = false, ...options }: LatchkeyOptions
): Promise<void> {
  const config = loadConfig(toEnvironment(options))
  if (config.trustedProxies.length > 0)
    throw new SetupError('trustedProxies has no effect in another app; set trustProxy of that app')
  const path = mountPath(host, config.issuer)
  const log = host.log.child({ component: 'latchkey' }, defined({ level: options.logLevel }))
  const app = await buildApp(config, { log, mounted: true, docsStoreLogin, ...defined({ onRefused }) })
  host.addHook('onClose', () => app.close())

  const { hasAdmin } = await prepare(app, config)
  const { adminUsername: name } = config
  if (await unshownPassword(app, config)) {
    log.warn(`the password of ${name} is in the file ${adminPasswordFile(config)}: read it and delete the file`)
  } else if (!hasAdmin) {
    log.warn('there is no admin yet: run "latchkey user add <name> --role admin"')
  }
  app.startSweeping()
  app.startDelivering()
  host.addHook('preClose', () => app.finishConnections())

  // Runs in onRequest, because nothing has read the body yet.
  let hasWarned = false
  const handOver: onRequestHookHandler = (request, reply) => {
    if (!hasWarned && ignoresForwardedFor(request)) {
      hasWarned = true
      log.warn(
        { peer: request.ip },
        'X-Forwarded-For is ignored: set trustProxy of the app to the addresses of its proxies'
      )
    }
    // `buildApp` takes the address of the caller from here.
    request.raw.headers['x-forwarded-for'] = request.ip ?? ''
    reply.hijack()
    app.routing(request.raw, reply.raw)
  }
  /** Never runs, because `handOver` has taken the request. */
  const unreachable = async () => {}
  // A guard of the host may require a guard on every route.
  const guard = host.hasDecorator('publicAccess') ? { preHandler: host.publicAccess } : {}
  const route = { schema: { hide: true }, logLevel: 'silent' as const, ...guard }
  host.addHook('onRequest', handOver)
  const documents = WELL_KNOWN.map((wellKnown) => wellKnown + path)
  for (const url of [path, `${path}/*`, ...documents]) host.all(url, route, unreachable)
  // A guard that the host registers later finds these routes.
  declareMounted(host, [path, ...documents])
  // Requests with a method that the host does not know reach the hook through the not-found handler.
  await host.register(async (scope) => scope.setNotFoundHandler(unreachable), { prefix: path })
}

/**
 * Mounts Latchkey in another Fastify app, under the path of the issuer. Latchkey is a separate app and gets the raw request after the
 * root `onRequest` hooks of the host. It shares no parsers, other hooks, error handlers or decorators with the host. It writes to the log
 * of the host and closes with the host. Works with every version of Fastify 5, every server and every logger.
 * @throws SetupError when a setting is wrong or the database is not ready
 */
const latchkey: (host: object, options: LatchkeyOptions) => Promise<void> = mount as never

export default latchkey
