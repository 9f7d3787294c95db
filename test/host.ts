import { join } from 'node:path'
import fastifyJwt from '@fastify/jwt'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { createDatabase, PASSWORD } from './helper.ts'
import { search } from './secrets.ts'

const SECRET = 'the host signs its own tokens with this'

/** Opens a host with parsers, hooks, error handlers, decorators and pages of its own, any of which could disturb Latchkey. */
export async function openHost(t: Test, options: object = {}) {
  const lines: Record<string, unknown>[] = []
  const stream = {
    write(line: string) {
      search('log lines', t.name, line)
      lines.push(JSON.parse(line))
    }
  }
  const host = fastify({ logger: { level: 'trace', stream }, bodyLimit: 64, ...options })
  t.teardown(() => host.close())
  const seen: string[] = []
  await host.register(fastifyJwt, { secret: SECRET })
  await host.register(fastifySwagger, { openapi: { openapi: '3.1.0', info: { title: 'Host', version: '1.0.0' } } })
  await host.register(fastifySwaggerUi, { routePrefix: '/docs' })
  host.decorateRequest('principal', null as never)
  host.decorateRequest('path', { getter: () => 'the host has one too' })
  host.decorate('auth', 'the host has one too' as never)
  host.removeAllContentTypeParsers()
  host.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume()
    done(null, 'the host has eaten the body')
  })
  host.addHook('onRequest', async (request) => void seen.push(`${request.method} ${request.url}`))
  for (const name of ['preParsing', 'preValidation', 'preHandler', 'onSend'] as const) {
    host.addHook(name, async (request: FastifyRequest) => {
      if (/^\/(auth|team\/login)(\/|\?|$)/.test(request.url))
        throw new Error(`the host's ${name} saw a request of Latchkey`)
    })
  }
  host.setErrorHandler((error, _request, reply) => reply.code(418).send({ host: (error as Error).message }))
  host.setNotFoundHandler((_request, reply) => reply.code(404).send({ host: 'nothing' }))
  host.get('/mine', async (request) => request.jwtVerify())
  host.post('/mine', async ({ body }) => ({ body }))
  return { host, lines, seen }
}

/** Returns settings for a Latchkey with a new SQLite database and the cheapest hashes that are allowed. */
export async function settings(t: Test, issuer: string) {
  const { dataDir } = await createDatabase(t, 'sqlite')
  return {
    issuer,
    dataDir,
    databaseUrl: `sqlite:${join(dataDir, 'latchkey.db')}`,
    adminPassword: PASSWORD,
    argon2Memory: 7168,
    argon2Passes: 1,
    throttle: false
  }
}

/** Logs in at `<path>/token`. */
export const login = (host: FastifyInstance, path: string, form: Record<string, string> = {}) =>
  host.inject({
    method: 'POST',
    url: `${path}/token`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ grant_type: 'password', username: 'admin', password: PASSWORD, ...form }).toString()
  })

export const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
