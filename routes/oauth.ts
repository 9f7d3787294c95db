import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { NoQuery } from './schemas.ts'

const TokenResponse = Type.Object(
  {
    access_token: Type.String({ description: 'A JWT after RFC 9068' }),
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
    scope: Type.String({ description: 'What was granted, separated by spaces' })
  },
  {
    $id: 'TokenResponse',
    description: 'RFC 6749 §5.1',
    examples: [
      {
        access_token: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIs…',
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'profile'
      }
    ]
  }
)

/** The endpoints of RFC 6749; in a scope that takes forms only. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth } = fastify
  fastify.addSchema(TokenResponse)

  const text = (description: string) => Type.Optional(Type.String({ description }))
  const own = auth.grants.flatMap((grant) =>
    Object.entries(grant.params).map(([name, what]) => [name, text(`${what} (grant type \`${grant.type}\`)`)])
  )
  const TokenRequest = Type.Object(
    {
      grant_type: Type.String({ description: `One of: ${auth.grants.map(({ type }) => `\`${type}\``).join(', ')}` }),
      ...(Object.fromEntries(own) as Record<string, ReturnType<typeof text>>),
      scope: text('Scopes, separated by spaces; without it the client’s default'),
      client_id: text('The client; without one the login is that of /docs'),
      client_secret: text('Only for clients that have one'),
      resource: Type.Optional(
        Type.Array(Type.String(), { description: 'The service that the token is for (RFC 8707)' })
      )
    },
    {
      $id: 'TokenRequest',
      description: 'RFC 6749 §4.3.2',
      examples: [{ grant_type: 'password', username: 'alice', password: 'a long pass phrase', scope: 'profile' }]
    }
  )
  fastify.addSchema(TokenRequest)

  fastify.post(
    '/token',
    {
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth', cors: true, guessable: true },
      schema: {
        operationId: 'issueToken',
        summary: 'Log in and get a token',
        description: 'Anyone may call it; a client that has a secret must authenticate.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        querystring: NoQuery,
        body: Type.Ref(TokenRequest),
        response: {
          200: { description: 'A token', content: { 'application/json': { schema: Type.Ref(TokenResponse) } } }
        }
      }
    },
    async (request, reply) => {
      const { client, method } = request.clientAuth
      const { accessToken, expiresIn, scopes } = await auth.exchange({
        client,
        clientAuth: method,
        params: request.body,
        origin: { address: request.ip, userAgent: request.headers['user-agent']?.slice(0, 256) ?? null }
      })
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      return {
        access_token: accessToken,
        token_type: 'Bearer' as const,
        expires_in: expiresIn,
        scope: scopes.join(' ')
      }
    }
  )
}
export default routes
