import type { FastifyInstance, RouteOptions } from 'fastify'
import { nameOf } from './routes.ts'

/** Names of the OAuth2 security schemes. Each flow has its own: Swagger UI shows all flows of a scheme as authorized after one login. */
export const FLOWS = { user: ['code', 'password'], client: ['clientCredentials'] }
const ALL_FLOWS = Object.values(FLOWS).flat()

const CHALLENGE = { 'WWW-Authenticate': { type: 'string', description: 'The challenge (RFC 6750 §3)' } }
/**
 * Creates a response without a body: @fastify/swagger documents no body for the type `null`. `content` names no content type, so
 * Fastify does not serialize by this schema, and the service's own error handler can still send a body.
 */
const bodiless = (description: string, headers?: object) => ({
  description,
  type: 'null',
  content: {},
  ...(headers === undefined ? {} : { headers })
})

const REFUSALS = {
  400: bodiless('The request is malformed'),
  401: bodiless('The token is missing or not valid', CHALLENGE),
  403: bodiless('The token lacks a scope or role', CHALLENGE),
  503: bodiless('The token cannot be verified now')
}

interface Operation {
  security?: Record<string, string[]>[]
  response?: Record<string, unknown>
}

/**
 * Adds the security schemes and the responses of the guards to the OpenAPI document that @fastify/swagger makes, and serves the
 * protected resource metadata (RFC 9728). Returns the names of the routes that require a scope, by scope; routes are added later.
 */
export function documentGuards(
  fastify: FastifyInstance,
  { issuer, audience, path }: { issuer: string; audience: string; path: string }
): ReadonlyMap<string, readonly string[]> {
  const isDocumented = fastify.hasDecorator('swagger')
  /** By scope: the names of the routes that require it. */
  const uses = new Map<string, string[]>()

  fastify.addHook('onRoute', function (this: FastifyInstance, route: RouteOptions) {
    const { security: all = [], response = {} } = (route.schema ?? {}) as Operation
    // With `unguarded: 'allow'`, a route without a guard may have security schemes of another plugin.
    const security = all.filter((each) => Object.keys(each).some((flow) => ALL_FLOWS.includes(flow)))
    if (security.length === 0) return
    const name = nameOf(route)
    for (const scope of new Set(security.flatMap((each) => Object.values(each).flat())))
      if (route.method !== 'HEAD') uses.set(scope, [...(uses.get(scope) ?? []), name])
    // With another serializer the schemas are not JSON Schema.
    if (!isDocumented || this.serializerCompiler !== undefined) return
    const declared = Object.keys(response).map((status) => status.toLowerCase())
    // Fastify serializes by the schema that is nearest to the status: 401, then 4xx, then default.
    const refusals = Object.entries(REFUSALS).filter(
      ([status]) => ![status, `${status[0]}xx`, 'default'].some((each) => declared.includes(each))
    )
    const hasSuccess = declared.some((status) => status.startsWith('2') || status === 'default')
    const responses = {
      ...Object.fromEntries(refusals),
      ...(hasSuccess ? {} : { '2xx': bodiless('Done') }),
      ...response
    }
    route.schema = { ...route.schema, response: responses } as object
  })

  const scopes = () => Object.fromEntries([...uses].map(([scope, names]) => [scope, `For ${names.join(', ')}`]))

  function securitySchemes(): object {
    const tokenUrl = `${issuer}/token`
    return {
      code: {
        type: 'oauth2',
        description: `For users: sign in on the page of ${issuer}. Without a selected scope you get every scope that you may have.`,
        flows: {
          authorizationCode: {
            authorizationUrl: `${issuer}/authorize`,
            tokenUrl,
            refreshUrl: tokenUrl,
            scopes: scopes()
          }
        }
      },
      password: {
        type: 'oauth2',
        description:
          'For users: log in here with your username and password. Without a selected scope you get every scope that you may have.',
        flows: { password: { tokenUrl, refreshUrl: tokenUrl, scopes: scopes() } }
      },
      clientCredentials: {
        type: 'oauth2',
        description:
          'For clients: enter the id and the secret of a client to call the API as this client. No user is logged in then.',
        flows: { clientCredentials: { tokenUrl, scopes: scopes() } }
      }
    }
  }

  /** Adds the security schemes. @fastify/swagger calls this function for the route below, and afterwards documents the later routes. */
  function swaggerTransform({ schema, url, openapiObject }: { schema: object; url: string; openapiObject?: Document }) {
    if (openapiObject !== undefined)
      openapiObject.components.securitySchemes = { ...openapiObject.components.securitySchemes, ...securitySchemes() }
    return { schema, url }
  }

  fastify.get(
    path,
    { preHandler: fastify.publicAccess, schema: { hide: true }, config: { swaggerTransform } as object },
    async () => ({
      resource: audience,
      authorization_servers: [issuer],
      scopes_supported: [...uses.keys()],
      bearer_methods_supported: ['header']
    })
  )

  fastify.addHook('onReady', async () => {
    if (!isDocumented && fastify.hasDecorator('swagger'))
      throw new Error('register @fastify/swagger before latchkey-guard, so that the document includes the guards')
  })
  return uses
}

interface Document {
  components: { securitySchemes?: object }
}
