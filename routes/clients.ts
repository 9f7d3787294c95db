import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import * as secretWire from '../src/wire/client-secrets.ts'
import * as wire from '../src/wire/clients.ts'
import * as pages from '../src/wire/pages.ts'
import { created, empty, json, problem } from '../src/wire/responses.ts'

/** The registry of clients, for admins. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireAdmin } = fastify
  const { ClientView, ClientDetails, ClientPage, ClientCreation, ClientRegistration, ClientEdit, ClientParams } = wire
  const { ClientSecretView, SecretCreation, NewSecret, SecretParams } = secretWire
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

  const missing = problem(404, 'There is no such client')
  const builtIn = problem(409, 'The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off')

  fastify.get(
    '/clients',
    {
      preHandler: requireAdmin('clients:read'),
      schema: {
        operationId: 'listClients',
        summary: 'List all clients in the order of their ids',
        tags: ['clients'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of clients', ClientPage) }
      }
    },
    async ({ query }) => pages.toWire(await auth.clients.list(pages.fromWire(query)), wire.toWire)
  )

  fastify.post(
    '/clients',
    {
      preHandler: requireAdmin('clients:write'),
      schema: {
        operationId: 'createClient',
        summary: 'Register a client',
        description:
          'The response holds the secret of the client, which is shown once. A public client and a client with keys are created without a secret.',
        tags: ['clients'],
        body: Type.Ref(ClientCreation),
        response: {
          201: created('The new client', ClientRegistration),
          409: problem(409, 'The id belongs to a client, or is the name of a user')
        }
      }
    },
    async ({ caller, body }, reply) => {
      const registration = await auth.clients.create(caller, wire.inputFromWire(body))
      reply.header('location', `${auth.issuer}/clients/${encodeURIComponent(registration.client.id)}`)
      return reply.code(201).send(wire.registrationToWire(registration))
    }
  )

  fastify.get(
    wire.CLIENT_PATH,
    {
      preHandler: requireAdmin('clients:read'),
      schema: {
        operationId: 'getClient',
        summary: 'Get one client',
        tags: ['clients'],
        params: ClientParams,
        response: { 200: json('The client', ClientDetails), 404: missing }
      }
    },
    async ({ params: { id } }) => wire.detailsToWire(await auth.clients.get(id), await auth.clients.secrets(id))
  )

  fastify.patch(
    wire.CLIENT_PATH,
    {
      preHandler: requireAdmin('clients:write'),
      schema: {
        operationId: 'updateClient',
        summary: 'Change a client, disable or enable it',
        description:
          'A client that loses a scope, a role, a resource, a grant or `first_party`, or is disabled, also loses the tokens issued before. The loss of a grant or of `first_party`, and disabling, also end its sessions.',
        tags: ['clients'],
        params: ClientParams,
        body: Type.Ref(ClientEdit),
        response: { 200: json('The client', ClientView), 404: missing, 409: builtIn }
      }
    },
    async ({ caller, params, body }) =>
      wire.toWire(await auth.clients.change(caller, params.id, wire.editFromWire(body)))
  )

  fastify.delete(
    wire.CLIENT_PATH,
    {
      preHandler: requireAdmin('clients:write'),
      schema: {
        operationId: 'deleteClient',
        summary: 'Delete a client with its sessions and secrets',
        tags: ['clients'],
        params: ClientParams,
        response: { 204: empty('The client was deleted'), 404: missing, 409: builtIn }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.clients.delete(caller, params.id)
      return reply.code(204).send(null)
    }
  )

  fastify.post(
    `${wire.CLIENT_PATH}/secrets`,
    {
      preHandler: requireAdmin('clients:write'),
      schema: {
        operationId: 'createClientSecret',
        summary: 'Add a secret to a client',
        description:
          'The response holds the secret, which is shown once. The other secrets stay valid until they expire. A public client cannot have a secret, and a confidential client has at most ten: both are 409.',
        tags: ['clients'],
        params: ClientParams,
        body: Type.Ref(SecretCreation),
        response: {
          201: json('The new secret', NewSecret),
          404: missing,
          409: problem(409, 'A client has at most 10 secrets: delete one that is not used')
        }
      }
    },
    async ({ caller, params, body }, reply) => {
      const added = await auth.clients.addSecret(caller, params.id, secretWire.inputFromWire(body))
      return reply.code(201).send(secretWire.newToWire(added))
    }
  )

  fastify.delete(
    `${wire.CLIENT_PATH}/secrets${secretWire.SECRET_PATH}`,
    {
      preHandler: requireAdmin('clients:write'),
      schema: {
        operationId: 'deleteClientSecret',
        summary: 'Delete a secret of a client',
        description: 'The next request with the secret is refused. Tokens that were issued for it stay valid.',
        tags: ['clients'],
        params: SecretParams,
        response: {
          204: empty('The secret was deleted'),
          404: problem(404, 'The client has no such secret')
        }
      }
    },
    async ({ caller, params }, reply) => {
      await auth.clients.deleteSecret(caller, { id: params.id, secretId: params.secret })
      return reply.code(204).send(null)
    }
  )
}
export default routes
