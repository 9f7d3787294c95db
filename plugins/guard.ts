import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ClientAuthMethod, ClientCredentials } from '../src/domain/clients.ts'
import { clientRefused, OAuthError } from '../src/domain/errors.ts'
import type { Client } from '../src/domain/model.ts'
import { BUILT_IN_SCOPES } from '../src/domain/scopes.ts'
import guard, { type Guard, selfGuarded } from '../src/guard/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The client must be known by `client_id` or HTTP Basic, or not named at all; for routes that take a form. */
    authenticateClient: Guard
  }
  interface FastifyRequest {
    /** Set by `authenticateClient`; `client` is null when the request names none. */
    clientAuth: { client: Client | null; method: ClientAuthMethod }
  }
}

/** Every way to read one half of Basic credentials: form-encoded as RFC 6749 §2.3.1 says, and as it stands. */
function readings(half: string): string[] {
  try {
    return [...new Set([decodeURIComponent(half.replaceAll('+', ' ')), half])]
  } catch {
    return [half]
  }
}

/** RFC 7617 §2; null when the header is blank credentials (`:`), as Swagger UI sends them for an empty form. */
function basicCredentials(header: string): ClientCredentials | null {
  const encoded = /^basic +([\w+/-]+=*)$/i.exec(header)?.[1]
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const ids = readings(text.slice(0, colon))
  if (colon === -1 || ids.some((id) => id.includes('\0'))) throw clientRefused()
  if (text === ':') return null
  const secret = text.slice(colon + 1)
  return { ids, secrets: secret === '' ? [] : readings(secret), method: secret === '' ? 'none' : 'client_secret_basic' }
}

/** The credentials of a request, by one method only (RFC 6749 §2.3); null when it names no client. */
function clientCredentials({ headers, body }: FastifyRequest): ClientCredentials | null {
  const { client_id: id, client_secret: secret } = (body ?? {}) as Record<string, string | undefined>
  const basic = headers.authorization === undefined ? null : basicCredentials(headers.authorization)
  if (basic !== null) {
    if (secret !== undefined)
      throw new OAuthError('invalid_request', 'The client authenticates by more than one method')
    if (id !== undefined && !basic.ids.includes(id))
      throw new OAuthError('invalid_request', 'The client_id is not the one of the Authorization header')
    return basic
  }
  if (id === undefined) {
    if (secret !== undefined) throw clientRefused()
    return null
  }
  return secret === undefined
    ? { ids: [id], secrets: [], method: 'none' }
    : { ids: [id], secrets: [secret], method: 'client_secret_post' }
}

/** The guards of this service: tokens are judged by the domain at every request. */
export default fp(
  async (fastify) => {
    const { auth } = fastify
    await fastify.register(guard, { verify: auth.tokens.verify, flows: ['password'] })

    fastify.decorateRequest('clientAuth', null as unknown as FastifyRequest['clientAuth'])
    fastify.decorate(
      'authenticateClient',
      selfGuarded(async (request) => {
        const credentials = clientCredentials(request)
        request.clientAuth = {
          client: credentials && (await auth.clients.authenticate(credentials)),
          method: credentials?.method ?? 'none'
        }
      })
    )
    const scopes = BUILT_IN_SCOPES.map((scope) => scope.name)
    fastify.addHook('onRoute', (route) => {
      const needed = ((route.schema as { security?: Record<string, string[]>[] }).security ?? [])
        .flatMap(Object.values)
        .flat()
      const unknown = needed.find((scope) => !scopes.includes(scope))
      if (unknown !== undefined)
        throw new Error(`${route.url} needs the scope ${unknown}, which is none of ${scopes.join(', ')}`)

      const handlers = [route.preHandler ?? []].flat()
      if (!handlers.includes(fastify.authenticateClient)) return
      route.preHandler = handlers.filter((each) => each !== fastify.authenticateClient)
      route.preValidation = [...[route.preValidation ?? []].flat(), fastify.authenticateClient]
    })
  },
  { name: 'guard', dependencies: ['auth'] }
)
