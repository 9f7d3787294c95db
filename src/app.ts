import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, LogController } from 'fastify'
import backchannelLogout from '../plugins/backchannel-logout.ts'
import browser from '../plugins/browser.ts'
import clientAuthentication from '../plugins/client-authentication.ts'
import cors from '../plugins/cors.ts'
import deadline from '../plugins/deadline.ts'
import docs from '../plugins/docs.ts'
import drain, { type DrainOptions } from '../plugins/drain.ts'
import { clientErrorHandler, frameworkErrors } from '../plugins/errors/socket.ts'
import errors from '../plugins/errors.ts'
import formToken from '../plugins/form-token.ts'
import formbody from '../plugins/formbody.ts'
import forwarded from '../plugins/forwarded.ts'
import guard from '../plugins/guard.ts'
import helmet from '../plugins/helmet.ts'
import host from '../plugins/host.ts'
import input from '../plugins/input.ts'
import pages from '../plugins/pages.ts'
import caller from '../plugins/request-caller.ts'
import requestLog from '../plugins/request-log.ts'
import sweep from '../plugins/sweep.ts'
import account from '../routes/account.ts'
import authorize from '../routes/authorize.ts'
import clients from '../routes/clients.ts'
import consents from '../routes/consents.ts'
import discovery from '../routes/discovery.ts'
import health from '../routes/health.ts'
import keys from '../routes/keys.ts'
import logout from '../routes/logout.ts'
import oauth from '../routes/oauth.ts'
import resources from '../routes/resources.ts'
import revocations from '../routes/revocations.ts'
import roles from '../routes/roles.ts'
import sessions from '../routes/sessions.ts'
import userinfo from '../routes/userinfo.ts'
import users from '../routes/users.ts'
import { compilersFactory } from './compilers.ts'
import { registerCore } from './core.ts'
import { defined } from './defined.ts'
import type { Clock } from './domain/ports/clock.ts'
import { insecureWarning, isInsecure } from './guard/metadata.ts'
import { ARRIVAL_MS, BODY_BYTES_MAX, CONNECTION_SILENT_MS } from './limits.ts'
import { name, version } from './package.ts'
import { loggedPath } from './request-target.ts'
import type { Config } from './settings.ts'
import type { Refusal } from './token/refusal.ts'

/** Returns the members of a request for the log. Leaves out everything that may hold secrets. */
const loggedRequest = ({ method, url }: FastifyRequest) => ({ method, path: loggedPath(url) })

/**
 * Limits that protect the service from slow and greedy clients. Times are in milliseconds, sizes in bytes. If the client does not read
 * a response, the response is aborted after one to two times `connectionTimeout`. A route that waits can extend this time.
 */
const LIMITS = {
  requestTimeout: ARRIVAL_MS,
  connectionTimeout: CONNECTION_SILENT_MS,
  maxRequestsPerSocket: 1000,
  http: {
    headersTimeout: ARRIVAL_MS,
    connectionsCheckingInterval: 500,
    maxHeaderSize: 16_384,
    requireHostHeader: false
  }
}

export interface Overrides {
  clock?: Clock
  logger?: false | { level?: string; stream?: { write(line: string): void } }
  /** The logger of the host app. Replaces `logger`. */
  log?: FastifyBaseLogger
  /** Whether the paths of all routes begin with the path of the issuer. Otherwise a proxy must remove this path. */
  mounted?: boolean
  /** Whether the pages of a mounted Latchkey store their login in the browser. */
  docsStoreLogin?: boolean
  drainTimes?: DrainOptions
  /** Called once for each request that a guard refuses. */
  onRefused?: (reason: Refusal, request: FastifyRequest) => unknown
}

/**
 * Builds the complete app. Changes nothing on disk. The database and the sealing key are opened at their first use.
 */
export async function buildApp(
  config: Config,
  { clock, logger = {}, log, mounted = false, docsStoreLogin = false, drainTimes = {}, onRefused }: Overrides = {}
): Promise<FastifyInstance> {
  const { issuer, docs: hasDocs, jwksMaxAge } = config
  const serializers = { req: loggedRequest }
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  const base = mounted ? path : ''
  const app = fastify({
    ...(log === undefined
      ? { logger: logger !== false && { level: config.logLevel, serializers, ...logger } }
      : { loggerInstance: log.child({}, { serializers }) }),
    genReqId: () => randomUUID(),
    // The router skips the first character of a target, so `*token` would reach `/token`. With the slash it is `/*token`, which no
    // route has. The target of `OPTIONS *` (RFC 9112 §3.2.4) becomes `/*`, which no route has either.
    rewriteUrl: ({ url = '/' }) => (url.startsWith('*') ? `/${url}` : url),
    // plugins/request-log.ts writes one line for each request.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    ...LIMITS,
    // A client id has up to 255 characters, and percent-encoding triples the length of a character.
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 800 },
    // In front of a mounted Latchkey, the host app writes `X-Forwarded-For` (src/mount.ts).
    trustProxy: mounted ? (_address, hop) => hop === 0 : config.trustedProxies.length > 0 && config.trustedProxies,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    frameworkErrors,
    clientErrorHandler,
    schemaController: { compilersFactory: compilersFactory() as never }
  }).withTypeProvider<TypeBoxTypeProvider>()

  await registerCore(app, config, clock)
  await app.register(deadline)
  await app.register(forwarded)
  await app.register(guard, defined({ onRefused }))
  await app.register(caller)
  await app.register(requestLog)
  await app.register(clientAuthentication)
  await app.register(formToken)
  await app.register(input)
  await app.register(helmet, { issuer })
  await app.register(host, { issuer })
  await app.register(cors, { origins: config.corsOrigins, issuer })
  await app.register(drain, drainTimes)
  await app.register(sweep)
  await app.register(backchannelLogout, { issuer, networks: config.logoutNetworks })
  await app.register(pages, {
    issuer,
    base,
    serviceName: config.name,
    logoFile: config.logoFile,
    accent: config.accent,
    dataDir: config.dataDir,
    docs: hasDocs
  })
  await app.register(errors)
  await app.register(docs, { version, issuer, path, base, pages: hasDocs, storesLogin: !mounted || docsStoreLogin })

  await app.register(discovery, { name, version, docs: hasDocs, base, jwksMaxAge })
  await app.register(
    async (scope) => {
      await scope.register(async (forms) => {
        await forms.register(formbody)
        await forms.register(oauth)
      })
      await scope.register(async (forms) => {
        await forms.register(formbody, { mayBeMissing: true })
        await forms.register(userinfo)
      })
      await scope.register(async (forms) => {
        await forms.register(formbody, { fromPages: true })
        await forms.register(browser, { issuer, base })
        await forms.register(authorize)
        await forms.register(account, { path })
        await forms.register(logout, { path })
      })
      await scope.register(users)
      await scope.register(sessions)
      await scope.register(consents)
      await scope.register(roles)
      await scope.register(clients)
      await scope.register(resources)
      await scope.register(keys)
      await scope.register(revocations)
      await scope.register(health)
    },
    { prefix: base }
  )
  await app.ready()
  if (isInsecure(issuer)) app.log.warn(insecureWarning(issuer))
  return app as unknown as FastifyInstance
}
