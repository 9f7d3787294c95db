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

t.test('a service that something is missing for is alive, but not ready, and ready again after: 503', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const { store } = app
  const ready = () => inject({ method: 'GET', url: '/health/ready' })
  const schema = (version: number, compatibleFrom: number) => async () => ({ version, compatibleFrom })
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const notReady = unavailable('The service is not ready')
  const { version } = store

  for (const [what, part, broken, expected] of [
    ['the database is away', store, { schema: away }, unavailable('The database is not available')],
    ['the database goes away', store.keys, { signing: away }, unavailable('The database is not available')],
    ['no key signs', store.keys, { signing: async () => null }, notReady],
    ['the sealing key is another', store.sealed, { get: async () => 'x.y.z' }, notReady],
    ['nothing is sealed', store.sealed, { get: async () => null }, notReady],
    ['the schema is older', store, { schema: schema(version - 1, version - 1) }, notReady],
    ['the schema is too new', store, { schema: schema(version + 1, version + 1) }, notReady]
  ] as const) {
    const before = { ...part }
    Object.assign(part, broken)
    const response = await ready()
    t.strictSame(seen(response), expected, what)
    t.match(response.headers['retry-after'], /^[1-9]\d*$/, what)
    t.strictSame(seen(await inject({ method: 'GET', url: '/health/live' })), OK, what)
    Object.assign(part, before)
    t.strictSame(seen(await ready()), OK, `no more: ${what}`)
  }
  store.schema = schema(version + 1, version)
  t.strictSame(seen(await ready()), OK, 'a newer schema that this version may use')
})
