import { join } from 'node:path'
import fastifyJwt from '@fastify/jwt'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { OPERATOR } from '../src/domain/caller.ts'
import { runFirstStart } from '../src/first-start.ts'
import guard from '../src/guard/index.ts'
import latchkey from '../src/mount.ts'
import { freePort } from './cli/process.ts'
import { createDatabase, environment, PASSWORD } from './helper.ts'
import { plant } from './secrets.ts'

t.test(
  'a host with its own @fastify/jwt, error handler and /docs mounts Latchkey under /auth and guards its own routes with it',
  async (t) => {
    const origin = `http://localhost:${await freePort()}`
    const issuer = `${origin}/auth`
    const { dataDir } = await createDatabase(t, 'sqlite')
    const databaseUrl = `sqlite:${join(dataDir, 'latchkey.db')}`

    // An operator does this in the terminal before the host starts.
    const config = loadConfig({ ...environment({ url: databaseUrl, dataDir }), LATCHKEY_ISSUER: issuer })
    const terminal = await buildApp(config, { logger: false })
    await runFirstStart(terminal, config, { mayCreateDatabase: true })
    const { auth } = terminal
    const { secret } = await auth.clients.create(OPERATOR, {
      id: 'host',
      name: 'Host',
      grantTypes: ['client_credentials'],
      scopes: ['revocations:read']
    })
    await auth.resources.create(OPERATOR, {
      id: 'host',
      identifier: origin,
      name: 'Host',
      introspectionClients: ['host'],
      scopes: [{ name: 'orders:read', description: '' }]
    })
    await auth.clients.create(OPERATOR, {
      id: 'shop',
      name: 'Shop',
      method: 'none',
      firstParty: true,
      grantTypes: ['password', 'refresh_token'],
      scopes: ['orders:read']
    })
    await terminal.close()
    plant(secret)

    const host = fastify({ forceCloseConnections: true })
    t.teardown(() => host.close())
    const seen: string[] = []
    host.addHook('onRequest', async (request) => void seen.push(request.url))
    await host.register(fastifyJwt, { secret: 'the host signs its own tokens with this' })
    await host.register(fastifySwagger, { openapi: { openapi: '3.1.0', info: { title: 'Host', version: '1.0.0' } } })
    await host.register(guard, {
      issuer,
      audience: origin,
      clientId: 'host',
      clientSecret: secret as string,
      publicPaths: ['/docs']
    })
    await host.register(fastifySwaggerUi, { routePrefix: '/docs' })
    await host.register(latchkey, {
      issuer,
      databaseUrl,
      dataDir,
      sealingKey: config.sealingKey as string,
      argon2Memory: 7168,
      argon2Passes: 1,
      throttle: false
    })
    host.setErrorHandler<Error & { statusCode?: number }>((error, _request, reply) =>
      reply.code(error.statusCode ?? 500).send({ host: error.message })
    )
    host.get('/orders', { preHandler: host.requireScope('orders:read') }, async ({ principal }) => ({
      kind: principal.kind,
      scopes: principal.scopes
    }))
    host.get('/admin-only', { preHandler: [host.requireUser(), host.requireRole('admin')] }, async () => ({
      fine: true
    }))
    host.get('/staff-only', { preHandler: host.requireRole('staff') }, async () => ({ fine: true }))
    const own = async (request: FastifyRequest) => ({ own: await request.jwtVerify() })
    host.get('/own', { preHandler: host.publicAccess }, own)
    await host.listen({ host: 'localhost', port: Number(new URL(origin).port) })

    async function ask(path: string, { bearer, form }: { bearer?: string; form?: Record<string, string> } = {}) {
      const response = await fetch(origin + path, {
        ...(form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }),
        headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
      })
      const text = await response.text()
      const challenge = response.headers.get('www-authenticate')
      return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text, challenge }
    }
    const login = async (form: Record<string, string>) => {
      const { status, body } = await ask('/auth/token', {
        form: { grant_type: 'password', username: 'admin', password: PASSWORD, ...form }
      })
      t.equal(status, 200)
      plant(body.access_token.split('.')[2], body.refresh_token)
      return body.access_token as string
    }
    const token = await login({ client_id: 'shop' })

    t.match(await ask('/orders', { bearer: token }), { status: 200, body: { kind: 'user', scopes: ['orders:read'] } })
    t.match(await ask('/admin-only', { bearer: token }), { status: 200, body: { fine: true } })
    const metadata = `resource_metadata="${origin}/.well-known/oauth-protected-resource"`
    t.strictSame(await ask('/staff-only', { bearer: token }), {
      status: 403,
      body: { host: 'The token lacks the role staff' },
      challenge: `Bearer realm="latchkey", error="insufficient_scope", error_description="The token lacks the role staff", ${metadata}`
    })
    t.strictSame(await ask('/orders'), {
      status: 401,
      body: { host: 'Not authenticated' },
      challenge: `Bearer realm="latchkey", ${metadata}`
    })
    t.match(await ask('/.well-known/oauth-protected-resource'), {
      body: { resource: origin, authorization_servers: [issuer] }
    })

    t.match(await ask('/own', { bearer: host.jwt.sign({ of: 'the host' }) }), {
      status: 200,
      body: { own: { of: 'the host' } }
    })
    t.not((await ask('/own', { bearer: token })).status, 200, 'a token of Latchkey is not valid as a token of the host')
    t.equal((await ask('/orders', { bearer: host.jwt.sign({ of: 'the host' }) })).status, 401)

    const profile = await login({})
    t.match(await ask('/auth/users/me', { bearer: profile }), { status: 200, body: { username: 'admin' } })
    t.equal((await ask('/orders', { bearer: profile })).status, 401, 'a token for Latchkey is not valid at the host')
    t.equal((await ask('/auth/users/me', { bearer: token })).status, 401)

    t.match(await ask('/docs/json'), { status: 200, body: { info: { title: 'Host' } } })
    t.match((await ask('/docs/json')).body.paths, {
      '/orders': { get: { security: [{ code: ['orders:read'] }, { password: ['orders:read'] }, {}] } }
    })
    t.match((await ask('/docs/json')).body.components.securitySchemes.password.flows.password, {
      tokenUrl: `${issuer}/token`
    })
    t.match(await ask('/auth/openapi.json'), { status: 200, body: { info: { title: 'Latchkey' } } })
    t.equal((await ask('/docs/')).status, 200)
    t.equal((await ask('/auth/docs/')).status, 200)

    t.equal((await ask('/auth/revoke', { form: { client_id: 'shop', token } })).status, 200)
    while ((await ask('/orders', { bearer: token })).status === 200);
    t.equal((await ask('/orders', { bearer: token })).status, 401, 'revoked')

    await host.close()
    t.ok(seen.includes('/auth/token') && seen.includes('/orders'), 'the host sees every request first')
  }
)
