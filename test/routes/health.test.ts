import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { build, createDatabase, environment, onEachDatabase } from '../helper.ts'

const PROBLEM = 'application/problem+json; charset=utf-8'
const OK = [200, 'application/json; charset=utf-8', { status: 'ok' }]

type Answer = Awaited<ReturnType<Awaited<ReturnType<typeof build>>['inject']>>
const seen = ({ statusCode, headers, json }: Answer) => [statusCode, headers['content-type'], json()]
const unavailable = (detail: string) => [
  503,
  PROBLEM,
  { type: 'about:blank', title: 'Service Unavailable', status: 503, detail }
]

onEachDatabase(t, 'a service that is set up is alive and ready', async (t, database) => {
  const { inject } = await build(t, { database })
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/live' })), OK)
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/ready' })), OK)
})

onEachDatabase(t, 'a service without its first start is alive, but not ready: 503', async (t, database) => {
  const config = loadConfig(environment(await createDatabase(t, database)))
  const app = await buildApp(config, { logger: false })
  t.teardown(() => app.close())
  const ready = async () => {
    const response = await app.inject({ method: 'GET', url: '/health/ready' })
    t.match(response.headers['retry-after'], /^\d+$/)
    return seen(response)
  }
  t.strictSame(await ready(), unavailable('The service is not ready'), 'no schema')
  await app.store.migrate()
  t.strictSame(await ready(), unavailable('The service is not ready'), 'an empty schema')
  t.strictSame(seen(await app.inject({ method: 'GET', url: '/health/live' })), OK)
})

t.test('a service whose database is away is alive, but not ready, and ready again after: 503', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const { schema } = app.store
  app.store.schema = away
  const response = await inject({ method: 'GET', url: '/health/ready' })
  t.strictSame(seen(response), unavailable('The database is not available'))
  t.equal(response.headers['retry-after'], '1')
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/live' })), OK)
  app.store.schema = schema
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/ready' })), OK)
})

t.test('a service without a key that signs, or with another sealing key, is not ready: 503', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const { signing } = app.store.keys
  app.store.keys.signing = async () => null
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/ready' })), unavailable('The service is not ready'))
  app.store.keys.signing = signing
  app.store.sealed.get = async () => 'x.y.z'
  t.strictSame(seen(await inject({ method: 'GET', url: '/health/ready' })), unavailable('The service is not ready'))
})

t.test('a service on a schema of another version is not ready: 503', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const { version } = app.store
  for (const [schema, expected] of [
    [{ version: version - 1, compatibleFrom: version - 1 }, unavailable('The service is not ready')],
    [{ version: version + 1, compatibleFrom: version + 1 }, unavailable('The service is not ready')],
    [{ version: version + 1, compatibleFrom: version }, OK]
  ] as const) {
    app.store.schema = async () => schema
    t.strictSame(seen(await inject({ method: 'GET', url: '/health/ready' })), expected)
  }
})
