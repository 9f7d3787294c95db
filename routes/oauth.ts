import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { preValidationHookHandler } from 'fastify'
import { empty, json } from '../src/wire/responses.ts'
import * as wire from '../src/wire/tokens.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set at the token endpoint for a request to refresh a token. */
    presented: ReturnType<FastifyInstance['auth']['refreshTokens']['read']> | undefined
  }
}

/** The endpoints for tokens. The Fastify scope that registers them accepts only forms. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  fastify.decorateRequest('presented')
  const { auth } = fastify
  const { TokenResponse, TokenReference, Introspection } = wire
  const TokenRequest = wire.tokenRequest(auth.grants)
  for (const schema of [TokenResponse, TokenReference, Introspection, TokenRequest]) fastify.addSchema(schema)

  /** Begins to read a refresh token. Its client is authenticated meanwhile, so that the request waits once for both. */
  const readAhead: preValidationHookHandler = (request, _reply, done) => {
    const token = wire.refreshTokenFromWire(request.body)
    if (token !== null) {
      request.presented = auth.refreshTokens.read(token)
      request.presented.catch(() => {}) // the grant handles it, unless the request fails before
    }
    done()
  }

  fastify.post(
    '/token',
    {
      preValidation: readAhead,
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth', cors: true, guessable: true },
      schema: {
        operationId: 'issueToken',
        summary: 'Log in and get a token',
        description: 'Anyone may call it. A client that has a secret or a key must authenticate.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Ref(TokenRequest),
        response: { 200: json('An access token, and a refresh token if the client may use one', TokenResponse) }
      }
    },
    async ({ caller, clientAuth, presented, body }, reply) => {
      const issued = await auth.exchange(caller, { clientAuth, presented, params: wire.paramsFromWire(body) })
      reply.header('pragma', 'no-cache')
      return wire.toWire(issued)
    }
  )

  fastify.post(
    '/revoke',
    {
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth', cors: true, guessable: true },
      schema: {
        operationId: 'revokeToken',
        summary: 'Revoke a token',
        description:
          'The client that the token belongs to may call it (RFC 7009). Revoking a refresh token ends its session and all tokens of the session. Revoking an access token ends only this token; if many access tokens of its session were revoked before, it revokes all access tokens that the session has got so far. A user or client that revokes very many access tokens gets 429. The response is the same for a token that is unknown, expired or already revoked.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Ref(TokenReference),
        response: { 200: empty('The token is revoked, or it was not valid before') }
      }
    },
    async ({ caller, clientAuth, body }, reply) => {
      const { client } = clientAuth ?? (await auth.clientAuthentication.docsClient())
      await auth.revoke(caller, { client, token: body.token })
      return reply.send()
    }
  )

  fastify.post(
    '/introspect',
    {
      preHandler: fastify.authenticateClient,
      config: { errors: 'oauth', confidentialClients: true },
      schema: {
        operationId: 'introspectToken',
        summary: 'Get the state of a token',
        description:
          'A confidential client with the scope `tokens:introspect` may call it (RFC 7662). The response describes the current state of the token.',
        tags: ['oauth'],
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Ref(TokenReference),
        response: { 200: json('The state of the token', Introspection) }
      }
    },
    async ({ clientAuth, body }) =>
      wire.introspectionToWire(await auth.introspect(clientAuth?.client ?? null, body.token))
  )
}
export default routes
