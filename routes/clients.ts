import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from '@sinclair/typebox'
import {
  ClientCreation,
  ClientDetails,
  ClientEdit,
  ClientPage,
  ClientParams,
  ClientRegistration,
  ClientSecretView,
  ClientView,
  created,
  json,
  NewSecret,
  PageQuery,
  pageOf,
  problem,
  SecretCreation,
  SecretParams
} from './schemas.ts'

const words = (text: string): string[] => text.split(' ').filter((word) => word !== '')

/** What is given of a client, in the names of the domain. */
const fields = (body: Static<typeof ClientEdit>) => ({
  ...(body.client_name === undefined ? {} : { name: body.client_name }),
  ...(body.grant_types === undefined ? {} : { grantTypes: body.grant_types }),
  ...(body.scope === undefined ? {} : { scopes: words(body.scope) }),
  ...(body.default_scope === undefined ? {} : { defaultScopes: words(body.default_scope) }),
  ...(body.resources === undefined ? {} : { resources: body.resources }),
  ...(body.redirect_uris === undefined ? {} : { redirectUris: body.redirect_uris }),
  ...(body.first_party === undefined ? {} : { firstParty: body.first_party }),
  ...(body.access_token_ttl === undefined ? {} : { accessTokenTtl: body.access_token_ttl }),
  ...(body.session_idle_ttl === undefined ? {} : { sessionIdleTtl: body.session_idle_ttl }),
  ...(body.session_absolute_ttl === undefined ? {} : { sessionAbsoluteTtl: body.session_absolute_ttl }),
  ...(body.jwks === undefined ? {} : { jwks: body.jwks }),
  ...(body.disabled === undefined ? {} : { disabled: body.disabled })
})

/** The registry of clients. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireUser, requireScope, requireRole } = fastify
  const { view, secretView } = auth.clients
  for (const schema of [
    ClientSecretView,
    ClientView,
    ClientDetails,
    ClientPage,
    ClientCreation,
    ClientRegistration,
    ClientEdit,
    SecretCreation,
    NewSecret
  ])
    fastify.addSchema(schema)

  const admin = (scope: string) => [requireUser(), requireScope(scope), requireRole('admin')]
  const missing = problem(404, 'Not Found', 'There is no such client')
  const builtIn = problem(409, 'Conflict', 'The client of /docs stays as it is')

  fastify.get(
    '/clients',
    {
      preHandler: admin('clients:read'),
      schema: {
        operationId: 'listClients',
        summary: 'Every client, by id',
        tags: ['clients'],
        querystring: PageQuery,
        response: { 200: json('A page', ClientPage) }
      }
    },
    async (request) => {
      const { items, next } = await auth.clients.list(pageOf(request.query))
      return { items: items.map(view), next_cursor: next }
    }
  )

  fastify.post(
    '/clients',
    {
      preHandler: admin('clients:write'),
      schema: {
        operationId: 'createClient',
        summary: 'Register a client',
        description: 'Its secret is in the answer, this once.',
        tags: ['clients'],
        body: Type.Ref(ClientCreation),
        response: {
          201: created('The new client', ClientRegistration),
          409: problem(409, 'Conflict', 'A client with this id is there already')
        }
      }
    },
    async ({ body, principal }, reply) => {
      const { client_id: id, token_endpoint_auth_method: method, ...rest } = body
      const { client, secret } = await auth.clients.create(
        { ...fields(rest), name: body.client_name, method, ...(id === undefined ? {} : { id }) },
        principal.sub
      )
      reply.headers({
        location: `${auth.issuer}/clients/${encodeURIComponent(client.id)}`,
        'cache-control': 'no-store'
      })
      const withSecret = secret === null ? {} : { client_secret: secret, client_secret_expires_at: 0 }
      return reply.code(201).send({ ...view(client), ...withSecret })
    }
  )

  fastify.get(
    '/clients/:id',
    {
      preHandler: admin('clients:read'),
      schema: {
        operationId: 'getClient',
        summary: 'One client',
        tags: ['clients'],
        params: ClientParams,
        response: { 200: json('The client', ClientDetails), 404: missing }
      }
    },
    async ({ params: { id } }) => {
      const client = await auth.clients.find(id)
      return { ...view(client), secrets: (await auth.clients.secrets(id)).map(secretView) }
    }
  )

  fastify.patch(
    '/clients/:id',
    {
      preHandler: admin('clients:write'),
      schema: {
        operationId: 'updateClient',
        summary: 'Change a client, disable or enable it',
        description: 'What takes something away ends the tokens that it got before; disabling ends its sessions too.',
        tags: ['clients'],
        params: ClientParams,
        body: Type.Ref(ClientEdit),
        response: { 200: json('The client', ClientView), 404: missing, 409: builtIn }
      }
    },
    async ({ params, body, principal }) => view(await auth.clients.change(params.id, fields(body), principal.sub))
  )

  fastify.delete(
    '/clients/:id',
    {
      preHandler: admin('clients:write'),
      schema: {
        operationId: 'deleteClient',
        summary: 'Delete a client, with its sessions and secrets',
        tags: ['clients'],
        params: ClientParams,
        response: { 204: { description: 'The client is gone', type: 'null' }, 404: missing, 409: builtIn }
      }
    },
    async ({ params }, reply) => {
      await auth.clients.delete(params.id)
      return reply.code(204).send(null)
    }
  )

  fastify.post(
    '/clients/:id/secrets',
    {
      preHandler: admin('clients:write'),
      schema: {
        operationId: 'createClientSecret',
        summary: 'Give a client one more secret',
        description: 'The secret is in the answer, this once. The others go on, until their end.',
        tags: ['clients'],
        params: ClientParams,
        body: Type.Ref(SecretCreation),
        response: {
          201: json('The new secret', NewSecret),
          404: missing,
          409: problem(409, 'Conflict', 'A public client cannot keep a secret')
        }
      }
    },
    async ({ params, body, principal }, reply) => {
      const spans = { expiresIn: body.expires_in, othersExpireIn: body.others_expire_in }
      const { secret, stored } = await auth.clients.addSecret(params.id, spans, principal.sub)
      reply.header('cache-control', 'no-store')
      return reply.code(201).send({ ...secretView(stored), client_secret: secret })
    }
  )

  fastify.delete(
    '/clients/:id/secrets/:secret',
    {
      preHandler: admin('clients:write'),
      schema: {
        operationId: 'deleteClientSecret',
        summary: 'Delete a secret of a client',
        description: 'It is refused from the next request on; the tokens that it got live on.',
        tags: ['clients'],
        params: SecretParams,
        response: {
          204: { description: 'The secret is gone', type: 'null' },
          404: problem(404, 'Not Found', 'The client has no such secret')
        }
      }
    },
    async ({ params }, reply) => {
      await auth.clients.deleteSecret(params.id, params.secret)
      return reply.code(204).send(null)
    }
  )
}
export default routes
