import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AuthenticatedClient, ClientCredentials } from '../src/domain/client-auth.ts'
import { clientRefused, OAuthError } from '../src/domain/errors.ts'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/scopes.ts'
import guard, { type Guard, selfGuarded } from '../src/guard/core.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The client must authenticate by one of the methods, or not be named at all; for routes that take a form. */
    authenticateClient: Guard
  }
  interface FastifyRequest {
    /** Set by `authenticateClient`; null when the request names no client. */
    clientAuth: AuthenticatedClient | null
  }
}

/** RFC 7523 §2.2. */
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** One half of Basic credentials in every way to read it: form-encoded as RFC 6749 §2.3.1 says, and as it stands. */
function readings(half: string): [string, ...string[]] {
  try {
    const decoded = decodeURIComponent(half.replaceAll('+', ' '))
    return decoded === half ? [half] : [decoded, half]
  } catch {
    return [half]
  }
}

/** RFC 7617 §2; null when the header is blank credentials (`:`), as Swagger UI sends them for an empty form. */
function basicCredentials(header: string): Exclude<ClientCredentials, { assertion: string }> | null {
  const encoded = /^basic +([\w+/-]+=*)$/i.exec(header)?.[1]
  const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const ids = readings(text.slice(0, colon))
  if (colon === -1 || ids.some((id) => id.includes('\0'))) throw clientRefused()
  if (text === ':') return null
  // No secret holds a character that is encoded.
  const [secret] = readings(text.slice(colon + 1))
  return secret === '' ? { method: 'none', ids, secret: null } : { method: 'client_secret_basic', ids, secret }
}

/** The credentials of a request, by one method only (RFC 6749 §2.3); null when it names no client. */
function clientCredentials({ headers, body }: FastifyRequest): ClientCredentials | null {
  const form = (body ?? {}) as Record<string, string | undefined>
  const { client_id: id, client_secret: secret, client_assertion: assertion, client_assertion_type: type } = form
  const basic = headers.authorization === undefined ? null : basicCredentials(headers.authorization)
  const methods = [basic, secret, assertion ?? type].filter((each) => each !== null && each !== undefined)
  if (methods.length > 1) throw new OAuthError('invalid_request', 'The client authenticates by more than one method')
  if (basic !== null) {
    if (id !== undefined && !basic.ids.includes(id))
      throw new OAuthError('invalid_request', 'The client_id is not the one of the Authorization header')
    return basic
  }
  if (assertion !== undefined || type !== undefined) {
    if (assertion === undefined || type === undefined)
      throw new OAuthError('invalid_request', 'client_assertion and client_assertion_type come together')
    if (type !== JWT_BEARER) throw clientRefused()
    return { method: 'private_key_jwt', assertion, id: id ?? null }
  }
  if (id === undefined) {
    if (secret !== undefined) throw clientRefused()
    return null
  }
  return secret === undefined
    ? { method: 'none', ids: [id], secret: null }
    : { method: 'client_secret_post', ids: [id], secret }
}

/** The guards of this service: tokens are judged by the domain at every request. */
export default fp(
  async (fastify) => {
    const { auth } = fastify
    await fastify.register(guard, {
      verify: auth.tokens.verify,
      flows: { user: ['password'], client: ['clientCredentials'] }
    })

    fastify.decorateRequest('clientAuth', null)
    fastify.decorate(
      'authenticateClient',
      selfGuarded(async (request) => {
        const credentials = clientCredentials(request)
        request.clientAuth = credentials && (await auth.clients.authenticate(credentials))
      })
    )
    const ofClients = CLIENT_SCOPES.map((scope) => scope.name)
    const scopes = [...BUILT_IN_SCOPES.map((scope) => scope.name), ...ofClients]
    fastify.addHook('onRoute', (route) => {
      const { security = [] } = route.schema as { security?: Record<string, string[]>[] }
      const needed = security.flatMap(Object.values).flat()
      // No user can get them.
      if (needed.some((scope) => ofClients.includes(scope)))
        Object.assign(route.schema as object, { security: security.filter((flow) => !('password' in flow)) })
      const unknown = needed.find((scope) => !scopes.includes(scope))
      if (unknown !== undefined)
        throw new Error(
          `${route.url} needs the scope ${unknown}, which is none of ${scopes.join(', ')}: see CONTRIBUTING.md`
        )

      const handlers = [route.preHandler ?? []].flat()
      if (!handlers.includes(fastify.authenticateClient)) return
      route.preHandler = handlers.filter((each) => each !== fastify.authenticateClient)
      route.preValidation = [...[route.preValidation ?? []].flat(), fastify.authenticateClient]
    })
  },
  { name: 'guard', dependencies: ['auth'] }
)
