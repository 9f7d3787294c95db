import fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import type { LatchkeyGuardOptions } from '../../src/guard/index.ts'
import { createPlugin } from '../../src/guard/plugin.ts'
import { systemTimer, type Timer } from '../../src/guard/timer.ts'
import { createFakeIssuer, type FakeIssuer } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'

/** The routes of `examples/orders`. */
export function declareOrders(app: FastifyInstance): void {
  const { requireScope, requireRole, requireUser } = app
  app.get('/orders', { preHandler: requireScope('orders:read') }, async ({ principal }) => principal)
  app.post('/orders', { preHandler: requireScope('orders:write') }, async ({ principal }) => principal)
  app.get('/admin-only', { preHandler: requireRole('admin') }, async ({ principal }) => principal)
  app.get('/user-only', { preHandler: requireUser() }, async ({ principal }) => principal)
}

type ServiceOptions = FastifyServerOptions & {
  before?: (app: FastifyInstance) => unknown
  declare?: (app: FastifyInstance) => unknown
  timer?: Timer
}

/** Starts a service with the guard. @param server what is declared before and after the guard, and options of Fastify */
export async function serve(t: Test, options: LatchkeyGuardOptions, server: ServiceOptions = {}) {
  const { before = () => {}, declare = declareOrders, timer = systemTimer, ...fastifyOptions } = server
  const app = fastify(fastifyOptions)
  t.teardown(() => app.close())
  await before(app)
  await app.register(createPlugin(timer), options)
  await declare(app)
  await app.ready()
  const get = (token: string, url = '/orders') =>
    app.inject({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } })
  return {
    app,
    inject: (request: InjectOptions) => app.inject(request),
    /** Sends `GET url` with the token. */
    get,
    /** Returns the status of `GET url` with the token. */
    status: async (token: string, url?: string) => (await get(token, url)).statusCode
  }
}

/**
 * Starts a service with the guard, a fake issuer and a fake timer. `logged` receives what it logs from warnings on.
 * @param prepare changes the issuer before the service starts
 */
export async function setUp(
  t: Test,
  options: Partial<LatchkeyGuardOptions> = {},
  { prepare = () => {}, ...server }: ServiceOptions & { prepare?: (issuer: FakeIssuer) => void } = {}
) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  prepare(issuer)
  const logged: string[] = []
  const stream = { write: (line: string) => void logged.push(JSON.parse(line).msg) }
  const all = { ...issuer.options, ...options } as LatchkeyGuardOptions
  const service = await serve(t, all, { timer, logger: { level: 'warn', stream }, ...server })
  return { ...issuer, ...service, timer, logged }
}
