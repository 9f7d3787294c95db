import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import * as wire from '../src/wire/keys.ts'
import * as pages from '../src/wire/pages.ts'
import { json, problem } from '../src/wire/responses.ts'

/** The keys that sign tokens, for admins. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { auth, requireAdmin } = fastify
  const { KeyView, KeyPage, KeyRetirement, KeyParams } = wire
  for (const schema of [KeyView, KeyPage, KeyRetirement]) fastify.addSchema(schema)

  fastify.get(
    '/keys',
    {
      preHandler: requireAdmin('keys:read'),
      schema: {
        operationId: 'listKeys',
        summary: 'List all keys, newest first',
        description: 'The list includes retired keys. It does not contain private keys.',
        tags: ['keys'],
        querystring: pages.PageQuery,
        response: { 200: json('A page of keys', KeyPage) }
      }
    },
    async ({ query }) => pages.toWire(await auth.keys.page(pages.fromWire(query)), wire.toWire)
  )

  fastify.post(
    '/keys/rotate',
    {
      preHandler: requireAdmin('keys:write'),
      schema: {
        operationId: 'rotateKeys',
        summary: 'Make the next key sign',
        description:
          'The previous key verifies for as long as its tokens can be valid, and a new next key is published. The key of refresh ' +
          'tokens is replaced too.',
        tags: ['keys'],
        response: {
          200: json('The key that signs now', KeyView),
          409: problem(409, 'The next key was published a short time ago: it can sign from 2026-11-22T09:05:00.000Z on')
        }
      }
    },
    async ({ caller }) => wire.toWire(await auth.keys.rotate(caller))
  )

  fastify.post(
    `${wire.KEY_PATH}/retire`,
    {
      preHandler: requireAdmin('keys:write'),
      schema: {
        operationId: 'retireKey',
        summary: 'Retire a key',
        description:
          'A compromised key is retired at once. If it was the signing key, the next key signs in its place.',
        tags: ['keys'],
        params: KeyParams,
        body: Type.Ref(KeyRetirement),
        response: {
          200: json('The key', KeyView),
          404: problem(404, 'There is no such key'),
          409: problem(409, 'Tokens that the key signed can be valid until 2026-11-22T10:01:00.000Z')
        }
      }
    },
    async ({ caller, params, body }) =>
      wire.toWire(await auth.keys.retire(caller, params.kid, wire.retirementFromWire(body)))
  )
}
export default routes
