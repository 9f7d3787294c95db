import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { runFirstStart } from '../../src/first-start.ts'
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

onEachDatabase(t, 'a service is live from the start, and ready after the first start', async (t, database) => {
  const config = loadConfig(environment(await createDatabase(t, database)))
  const app = await buildApp(config, { logger: false })
  t.teardown(() => app.close())
  const assertLive = async () => t.strictSame(seen(await app.inject('/health/live')), OK)
  const assertNotReady = async (name: string) => {
    const response = await app.inject('/health/ready')
    t.match(response.headers['retry-after'], /^\d+$/)
    t.strictSame(seen(response), unavailable('The service is not ready'), name)
  }
  await assertNotReady('no schema')
  await app.store.migrate()
  await assertNotReady('an empty schema')
  await assertLive()
  await runFirstStart(app, config, { mayCreateDatabase: true })
  t.strictSame(seen(await app.inject('/health/ready')), OK)
  await assertLive()
})

t.test('a service without a working database, schema or key is live and not ready: 503', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const { store } = app
  const ready = () => inject({ method: 'GET', url: '/health/ready' })
  const schema = (version: number, compatibleFrom: number) => async () => ({ version, compatibleFrom })
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const notReady = unavailable('The service is not ready')
  const { version } = store

  for (const [name, part, broken, expected] of [
    ['the database is not available', store, { schema: away }, unavailable('The database is not available')],
    [
      'the database fails after the first query',
      store.keys,
      { signing: away },
      unavailable('The database is not available')
    ],
    ['there is no signing key', store.keys, { signing: async () => [] }, notReady],
    ['the database was sealed with another key', store.sealed, { get: async () => 'x.y.z' }, notReady],
    ['the canary is missing', store.sealed, { get: async () => null }, notReady],
    ['the schema is older', store, { schema: schema(version - 1, version - 1) }, notReady],
    ['the schema is too new', store, { schema: schema(version + 1, version + 1) }, notReady]
  ] as const) {
    const before = { ...part }
    Object.assign(part, broken)
    const response = await ready()
    t.strictSame(seen(response), expected, name)
    t.match(response.headers['retry-after'], /^[1-9]\d*$/, name)
    t.strictSame(seen(await inject({ method: 'GET', url: '/health/live' })), OK, name)
    Object.assign(part, before)
    t.strictSame(seen(await ready()), OK, `after: ${name}`)
  }
  store.schema = schema(version + 1, version)
  t.strictSame(seen(await ready()), OK, 'a newer schema that this version supports')
})
