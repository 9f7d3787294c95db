import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import {
  Index,
  JWKS_PATH,
  Jwks,
  linksToWire,
  METADATA_PATH,
  Metadata,
  OPENID_PATH,
  toWire
} from '../src/wire/discovery.ts'
import { json, jsonOrPage } from '../src/wire/responses.ts'

export interface DiscoveryOptions {
  name: string
  version: string
  /** Whether `/docs` exists. */
  docs: boolean
  /** The beginning of the paths of all routes: the path of the issuer, or empty if a proxy removes this path. */
  base: string
  /** Seconds for which verifiers may cache the JWKS. */
  jwksMaxAge: number
}

/** Public documents that describe the service. All links are absolute URLs with the origin of the issuer. */
const routes: FastifyPluginAsyncTypebox<DiscoveryOptions> = async (fastify, options) => {
  const { name, version, docs, base, jwksMaxAge } = options
  const { auth, publicAccess } = fastify
  const { issuer } = auth
  const links = linksToWire(issuer, docs)
  for (const schema of [Metadata, Jwks, Index]) fastify.addSchema(schema)

  fastify.get(
    `${base}/`,
    {
      preHandler: publicAccess,
      config: { standalone: true },
      schema: {
        operationId: 'getIndex',
        summary: 'Get the name, the version and the links of the service',
        description: 'Anyone may call it.',
        tags: ['discovery'],
        response: { 200: jsonOrPage('The index; a page if the request prefers `text/html` to JSON', Index) }
      }
    },
    async (request, reply) => {
      reply.header('vary', 'accept')
      return request.wantsPage ? reply.page('home', {}) : { name, version, links }
    }
  )

  const metadata = {
    preHandler: publicAccess,
    config: { cors: true as const, standalone: true as const },
    schema: {
      operationId: 'getMetadata',
      summary: 'Get the authorization server metadata',
      description: 'Anyone may call it (RFC 8414).',
      tags: ['discovery'],
      response: { 200: json('The metadata', Metadata) }
    },
    handler: async () =>
      toWire({
        issuer,
        docs,
        scopes: auth.scopes.own,
        grantTypes: auth.grants.map(({ type }) => type),
        assertionAlgs: auth.clients.assertionAlgs,
        idTokenAlgs: auth.idTokens.algs,
        prompts: auth.authorizationRequests.prompts,
        locales: fastify.pageLocales
      })
  }
  const hidden = { ...metadata, schema: { ...metadata.schema, hide: true } }
  fastify.get(base + METADATA_PATH, metadata)
  fastify.get(base + OPENID_PATH, {
    ...metadata,
    schema: {
      ...metadata.schema,
      operationId: 'getOpenidConfiguration',
      summary: 'Get the OpenID provider metadata',
      description: 'Anyone may call it (OpenID Connect Discovery 1.0). It is the document of RFC 8414.'
    }
  })
  // RFC 8414 §3.1: the path of the issuer follows the well-known part.
  const { pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  if (path !== '') for (const each of [METADATA_PATH, OPENID_PATH]) fastify.get(each + path, hidden)

  fastify.get(
    base + JWKS_PATH,
    {
      preHandler: publicAccess,
      config: { cors: true },
      schema: {
        operationId: 'getJwks',
        summary: 'Get the keys that verify tokens',
        description: 'Anyone may call it. The next key is published before it signs.',
        tags: ['discovery'],
        response: { 200: json('The keys', Jwks) }
      }
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${jwksMaxAge}`)
      return auth.keys.jwks()
    }
  )

  fastify.get(
    `${base}/openapi.json`,
    { preHandler: publicAccess, config: { standalone: true }, schema: { hide: true } },
    async () => fastify.swagger()
  )
}
export default routes
