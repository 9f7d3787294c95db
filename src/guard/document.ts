import type { FastifyInstance, RouteOptions } from 'fastify'

/** Names of the OAuth2 security schemes, one for each flow: Swagger UI shows every flow of one scheme as authorized after one login. */
export const FLOWS = { user: ['password'], client: ['clientCredentials'] }
const ALL_FLOWS = Object.values(FLOWS).flat()

const CHALLENGE = { 'WWW-Authenticate': { type: 'string', description: 'What is asked for (RFC 6750 §3)' } }
/**
 * A response without a word of its body: @fastify/swagger takes `null` for none, and where Fastify knows of no content type
 * it leaves the answer to the service's own error handler as it is.
 */
const bodiless = (description: string, headers?: object) => ({
  description,
  type: 'null',
  content: {},
  ...(headers === undefined ? {} : { headers })
})

const REFUSALS = {
  400: bodiless('The request is malformed'),
  401: bodiless('No token, or one that is not good', CHALLENGE),
  403: bodiless('The token does not reach', CHALLENGE),
  503: bodiless('The token cannot be judged now')
}

interface Operation {
  security?: Record<string, string[]>[]
  response?: Record<string, unknown>
}

/**
 * Writes the logins into the service's own OpenAPI document, which @fastify/swagger makes from the routes, and serves what
 * the service wants as an OAuth 2.0 protected resource (RFC 9728).
 */
export function documentGuards(
  fastify: FastifyInstance,
  { issuer, audience, path }: { issuer: string; audience: string; path: string }
): void {
  const isDocumented = fastify.hasDecorator('swagger')
  /** The routes that ask for a scope. */
  const uses = new Map<string, string[]>()

  fastify.addHook('onRoute', function (this: FastifyInstance, route: RouteOptions) {
    const { security: all = [], response = {} } = (route.schema ?? {}) as Operation
    // A route that is open by setting may ask for logins of others.
    const security = all.filter((each) => Object.keys(each).some((flow) => ALL_FLOWS.includes(flow)))
    if (security.length === 0) return
    const name = `${[route.method].flat().join(', ')} ${route.url}`
    for (const scope of new Set(security.flatMap((each) => Object.values(each).flat())))
      if (route.method !== 'HEAD') uses.set(scope, [...(uses.get(scope) ?? []), name])
    // Another serializer has schemas of another kind, and so has what makes a document of them.
    if (!isDocumented || this.serializerCompiler !== undefined) return
    const said = Object.keys(response).map((status) => status.toLowerCase())
    // What serialises an answer is the nearest that is said of its status.
    const refusals = Object.entries(REFUSALS).filter(
      ([status]) => ![status, `${status[0]}xx`, 'default'].some((each) => said.includes(each))
    )
    const answered = said.some((status) => status.startsWith('2') || status === 'default')
    const answers = { ...Object.fromEntries(refusals), ...(answered ? {} : { '2xx': bodiless('Done') }), ...response }
    route.schema = { ...route.schema, response: answers } as object
  })

  const scopes = () => Object.fromEntries([...uses].map(([scope, names]) => [scope, `For ${names.join(', ')}`]))

  function securitySchemes(): object {
    const tokenUrl = `${issuer}/token`
    return {
      password: {
        type: 'oauth2',
        description: `For people: log in at ${issuer} with your name and password. Leave client_secret blank. If you tick no scope, you get all that you may have.`,
        flows: { password: { tokenUrl, scopes: scopes() } }
      },
      clientCredentials: {
        type: 'oauth2',
        description:
          'For programs: put the id and the secret of one here, to try what it may do in its own name. No user is logged in then.',
        flows: { clientCredentials: { tokenUrl, scopes: scopes() } }
      }
    }
  }

  /** @fastify/swagger calls it for this route before it comes to those that are declared later, and shows it the document. */
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
      throw new Error('register @fastify/swagger before latchkey-guard, so that it sees the logins')
  })
}

interface Document {
  components: { securitySchemes?: object }
}
