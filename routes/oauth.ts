import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { NoQuery } from './schemas.ts'

const TokenResponse = Type.Object(
  {
    access_token: Type.String({ description: 'A JWT after RFC 9068' }),
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
    scope: Type.String({ description: 'What was granted, separated by spaces' }),
    refresh_token: Type.Optional(
      Type.String({ description: 'Renews the session, once: the answer to that holds its successor' })
    )
  },
  {
    $id: 'TokenResponse',
    description: 'RFC 6749 §5.1',
    examples: [
      {
        access_token: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIs…',
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'profile',
        refresh_token: 'lkr_Zm9vYmFyYmF6…'
      }
    ]
  }
)

const assertion = {
  client_assertion_type: Type.Optional(
    Type.String({ description: '`urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (RFC 7523 §2.2)' })
  ),
  client_assertion: Type.Optional(
    Type.String({ description: 'A JWT that the client has signed; only for clients with keys' })
  )
}

const TokenReference = Type.Object(
  {
    token: Type.String({ description: 'An access token or a refresh token' }),
    token_type_hint: Type.Optional(Type.String({ description: 'Not needed: tokens tell' })),
    client_id: Type.Optional(Type.String({ description: 'The client' })),
    client_secret: Type.Optional(Type.String({ description: 'Only for clients that have one' })),
    ...assertion
  },
  { $id: 'TokenReference', description: 'RFC 7009 §2.1, RFC 7662 §2.1', examples: [{ token: 'lkr_Zm9vYmFyYmF6…' }] }
)

const Introspection = Type.Object(
  {
    active: Type.Boolean({ description: 'Whether it is good; nothing else is told if it is not' }),
    scope: Type.Optional(Type.String({ description: 'What it is good for now' })),
    client_id: Type.Optional(Type.String()),
    username: Type.Optional(Type.String()),
    token_type: Type.Optional(Type.String({ description: '`Bearer`; only of an access token' })),
    exp: Type.Optional(Type.Integer({ description: 'Seconds since the epoch' })),
    iat: Type.Optional(Type.Integer({ description: 'Seconds since the epoch' })),
    sub: Type.Optional(Type.String()),
    aud: Type.Optional(Type.String()),
    iss: Type.Optional(Type.String()),
    jti: Type.Optional(Type.String()),
    sid: Type.Optional(Type.String({ description: 'The session' })),
    roles: Type.Optional(Type.Array(Type.String(), { description: 'The roles that the user has now' }))
  },
  {
    $id: 'Introspection',
    description: 'RFC 7662 §2.2',
    examples: [
      { active: false },
      {
        active: true,
        scope: 'profile',
        client_id: 'docs',
        username: 'alice',
        token_type: 'Bearer',
        exp: 1795424700,
        iat: 1795424400,
        sub: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
        aud: 'https://id.example.com',
        iss: 'https://id.example.com',
        jti: 'Xb2mB2v1Jw8yYgq3o9cN4g',
        sid: '0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55',
        roles: ['user']
      }
    ]
  }
)

/** The endpoints of RFC 6749; in a scope that takes forms only. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth } = fastify
  for (const schema of [TokenResponse, TokenReference, Introspection]) fastify.addSchema(schema)

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
      ...assertion,
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
      const { accessToken, expiresIn, scopes, refreshToken } = await auth.exchange({
        clientAuth: request.clientAuth,
        params: request.body,
        origin: { address: request.ip, userAgent: request.headers['user-agent']?.slice(0, 256) ?? null }
      })
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
      return {
        access_token: accessToken,
        token_type: 'Bearer' as const,
        expires_in: expiresIn,
        scope: scopes.join(' '),
        ...(refreshToken === null ? {} : { refresh_token: refreshToken })
      }
    }
  )

  fastify.post(
    '/revoke',
    {
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth', cors: true },
      schema: {
        operationId: 'revokeToken',
        summary: 'Take a token back',
        description:
          'The client that the token belongs to may call it. RFC 7009. A refresh token ends its session with all of its tokens, an access token ends alone; a token that is unknown or good no more is taken as revoked.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        querystring: NoQuery,
        body: Type.Ref(TokenReference),
        response: { 200: { description: 'The token is good no more', type: 'null' } }
      }
    },
    async (request, reply) => {
      const { client } = request.clientAuth ?? (await auth.clients.docs())
      await auth.revoke(client, request.body.token)
      return reply.header('cache-control', 'no-store').send()
    }
  )

  fastify.post(
    '/introspect',
    {
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth' },
      schema: {
        operationId: 'introspectToken',
        summary: 'Ask whether a token is good',
        description:
          'A client with a secret and the scope `tokens:introspect` may call it. RFC 7662. The answer is as things are at this instant.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        querystring: NoQuery,
        body: Type.Ref(TokenReference),
        response: {
          200: {
            description: 'What it is good for, or that it is not',
            content: { 'application/json': { schema: Type.Ref(Introspection) } }
          }
        }
      }
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store')
      return (await auth.introspect(request.clientAuth?.client ?? null, request.body.token)) ?? { active: false }
    }
  )
}
export default routes
