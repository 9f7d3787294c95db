import cors from '@fastify/cors'
import files from '@fastify/static'
import underPressure from '@fastify/under-pressure'
import scalar from '@scalar/fastify-api-reference'
import fastify from 'fastify'
import metrics from 'fastify-metrics'
import guard from 'latchkey-guard'
import issuer from './issuer.cjs'

const PUBLIC = ['/public', '/status', '/metrics', '/reference']
const content = { openapi: '3.1.0', info: { title: 'Orders', version: '1' }, paths: {} }

async function registerPlugins(app) {
  await app.register(cors, { origin: 'https://app.example.com' })
  await app.register(files, { root: import.meta.dirname, prefix: '/public/' })
  await app.register(underPressure, { exposeStatusRoute: true })
  await app.register(metrics.default ?? metrics, { endpoint: '/metrics', clearRegisterOnInit: true })
  await app.register(scalar, { routePrefix: '/reference', configuration: { content } })
}

/** Starts a service whose plugins are registered before or after the guard. */
async function start(order, publicPaths) {
  const app = fastify()
  if (order === 'before') await registerPlugins(app)
  await app.register(guard, { ...issuer.guardOptions, publicPaths })
  if (order === 'after') await registerPlugins(app)
  app.get('/orders', { preHandler: app.requireScope('orders:read') }, async () => 'orders')
  await app.ready()
  return app
}

const print = (...words) => process.stdout.write(`${words.join(' ')}\n`)

for (const order of ['before', 'after']) {
  const app = await start(order, PUBLIC)
  const headers = { origin: 'https://app.example.com', 'access-control-request-method': 'GET' }
  const preflight = await app.inject({ method: 'OPTIONS', url: '/orders', headers })
  print(order, preflight.statusCode, preflight.headers['access-control-allow-origin'])
  for (const url of ['/public/issuer.cjs', '/status', '/metrics', '/reference/', '/orders'])
    print(order, url, (await app.inject(url)).statusCode)
  const bearer = { authorization: `Bearer ${issuer.token()}` }
  print(order, (await app.inject({ url: '/orders', headers: bearer })).body)
  await app.close()
  for (const closed of PUBLIC) {
    // Scalar declares its routes where nobody can catch an error, so the error would end this process.
    if (order === 'after' && closed === '/reference') continue
    const others = PUBLIC.filter((path) => path !== closed)
    const message = await start(order, others).then(
      () => 'started',
      (error) => error.message
    )
    print(order, message.slice(0, message.indexOf(' guard')))
  }
}
process.exit()
