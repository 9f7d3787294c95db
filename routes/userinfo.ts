import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { json } from '../src/wire/responses.ts'
import * as wire from '../src/wire/user-info.ts'

/** The claims about the user of a token (OpenID Connect Core 1.0 §5.3). The Fastify scope that registers them accepts only forms. */
const routes: FastifyPluginAsyncTypebox = async (fastify) => {
  const { requireUser, requireScope, formToken } = fastify
  for (const schema of [wire.UserInfo, wire.UserInfoForm]) fastify.addSchema(schema)
  const documentation = {
    summary: 'Get claims about the user of the token',
    description: 'The audience of the token may be any service (OpenID Connect Core 1.0 §5.3).',
    tags: ['oauth'],
    response: { 200: json('The claims that the scopes of the token allow', wire.UserInfo) }
  }

  fastify.get(
    '/userinfo',
    {
      preHandler: [requireUser(), requireScope('openid')],
      config: { cors: true, anyAudience: true },
      schema: { operationId: 'getUserInfo', ...documentation }
    },
    async ({ principal, tokenUser }) => wire.toWire(tokenUser, principal.scopes)
  )

  fastify.post(
    '/userinfo',
    {
      preHandler: formToken('openid'),
      config: { cors: true, anyAudience: true },
      schema: {
        operationId: 'postUserInfo',
        ...documentation,
        consumes: ['application/x-www-form-urlencoded'],
        body: Type.Optional(Type.Ref(wire.UserInfoForm))
      }
    },
    async ({ principal, tokenUser }) => wire.toWire(tokenUser, (principal as unknown as { scopes: string[] }).scopes)
  )
}
export default routes
