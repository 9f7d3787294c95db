import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'

const Metadata = Type.Object(
  {
    issuer: Type.String(),
    token_endpoint: Type.String(),
    revocation_endpoint: Type.String(),
    introspection_endpoint: Type.String(),
    jwks_uri: Type.String(),
    scopes_supported: Type.Array(Type.String()),
    response_types_supported: Type.Array(Type.String()),
    grant_types_supported: Type.Array(Type.String()),
    token_endpoint_auth_methods_supported: Type.Array(Type.String()),
    token_endpoint_auth_signing_alg_values_supported: Type.Array(Type.String()),
    revocation_endpoint_auth_methods_supported: Type.Array(Type.String()),
    revocation_endpoint_auth_signing_alg_values_supported: Type.Array(Type.String()),
    introspection_endpoint_auth_methods_supported: Type.Array(Type.String()),
    introspection_endpoint_auth_signing_alg_values_supported: Type.Array(Type.String()),
    latchkey_revocations_endpoint: Type.String({ description: '`GET /revocations`' }),
    service_documentation: Type.Optional(Type.String())
  },
  {
    $id: 'Metadata',
    description: 'RFC 8414 §2',
    examples: [
      {
        issuer: 'https://id.example.com',
        token_endpoint: 'https://id.example.com/token',
        revocation_endpoint: 'https://id.example.com/revoke',
        introspection_endpoint: 'https://id.example.com/introspect',
        jwks_uri: 'https://id.example.com/.well-known/jwks.json',
        scopes_supported: ['profile', 'users:read'],
        response_types_supported: [],
        grant_types_supported: ['client_credentials', 'password', 'refresh_token'],
        token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
        token_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        revocation_endpoint_auth_methods_supported: [
          'none',
          'client_secret_basic',
          'client_secret_post',
          'private_key_jwt'
        ],
        revocation_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
        introspection_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        latchkey_revocations_endpoint: 'https://id.example.com/revocations',
        service_documentation: 'https://id.example.com/docs'
      }
    ]
  }
)

const Jwks = Type.Object(
  { keys: Type.Array(Type.Record(Type.String(), Type.String())) },
  {
    $id: 'Jwks',
    description: 'Public keys, RFC 7517 §5',
    examples: [
      {
        keys: [
          {
            kty: 'EC',
            crv: 'P-256',
            x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
            y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
            kid: 'cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s',
            alg: 'ES256',
            use: 'sig'
          }
        ]
      }
    ]
  }
)

const Index = Type.Object(
  { name: Type.String(), version: Type.String(), links: Type.Record(Type.String(), Type.String()) },
  {
    $id: 'Index',
    examples: [{ name: 'latchkey', version: '0.1.0', links: { docs: 'https://id.example.com/docs' } }]
  }
)

export interface DiscoveryOptions {
  name: string
  version: string
  docs: boolean
  /** The beginning of the paths of all routes: the issuer's path, or empty where a proxy takes that away. */
  base: string
  /** Seconds for which the JWKS may be kept. */
  jwksMaxAge: number
}

/** What programs and people need to find the rest. All links are made from the issuer. */
const routes: FastifyPluginAsyncTypebox<DiscoveryOptions> = async (
  fastify,
  { name, version, docs, base, jwksMaxAge }
) => {
  const { auth } = fastify
  const { issuer } = auth
  const CONFIDENTIAL = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
  const algs = auth.clients.assertionAlgs
  const WELL_KNOWN = '/.well-known/oauth-authorization-server'
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  for (const schema of [Metadata, Jwks, Index]) fastify.addSchema(schema)

  const links = {
    self: issuer,
    ...(docs ? { docs: `${issuer}/docs` } : {}),
    openapi: `${issuer}/openapi.json`,
    token: `${issuer}/token`,
    metadata: `${origin}${WELL_KNOWN}${path}`,
    jwks: `${issuer}/.well-known/jwks.json`,
    health: `${issuer}/health/ready`
  }

  fastify.get(
    `${base}/`,
    {
      preHandler: fastify.publicAccess,
      config: { standalone: true },
      schema: {
        operationId: 'getIndex',
        summary: 'Name, version and links',
        description: 'Anyone may call it.',
        tags: ['discovery'],
        response: {
          200: { description: 'Where everything is', content: { 'application/json': { schema: Type.Ref(Index) } } }
        }
      }
    },
    async () => ({ name, version, links })
  )

  const metadata = {
    preHandler: fastify.publicAccess,
    config: { cors: true as const },
    schema: {
      operationId: 'getMetadata',
      summary: 'Authorization server metadata',
      description: 'Anyone may call it. RFC 8414.',
      tags: ['discovery'],
      response: {
        200: { description: 'The metadata', content: { 'application/json': { schema: Type.Ref(Metadata) } } }
      }
    },
    handler: async () => ({
      issuer,
      token_endpoint: links.token,
      revocation_endpoint: `${issuer}/revoke`,
      introspection_endpoint: `${issuer}/introspect`,
      jwks_uri: links.jwks,
      scopes_supported: (await auth.scopes.list({ after: null, limit: 1000 })).items.map((scope) => scope.name),
      // Required by RFC 8414 §2 also of a server that has no authorization endpoint.
      response_types_supported: [],
      grant_types_supported: auth.grants.map(({ type }) => type),
      token_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
      token_endpoint_auth_signing_alg_values_supported: algs,
      revocation_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
      revocation_endpoint_auth_signing_alg_values_supported: algs,
      introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
      introspection_endpoint_auth_signing_alg_values_supported: algs,
      latchkey_revocations_endpoint: `${issuer}/revocations`,
      ...(docs ? { service_documentation: links.docs } : {})
    })
  }
  fastify.get(base + WELL_KNOWN, metadata)
  // RFC 8414 §3.1: the path of the issuer comes after the well-known part.
  if (path !== '') fastify.get(WELL_KNOWN + path, { ...metadata, schema: { ...metadata.schema, hide: true } })

  fastify.get(
    `${base}/.well-known/jwks.json`,
    {
      preHandler: fastify.publicAccess,
      config: { cors: true },
      schema: {
        operationId: 'getJwks',
        summary: 'The keys that tokens are verified with',
        description: 'Anyone may call it. The next key is published before it signs.',
        tags: ['discovery'],
        response: { 200: { description: 'The keys', content: { 'application/json': { schema: Type.Ref(Jwks) } } } }
      }
    },
    async (_request, reply) => {
      reply.header('cache-control', `public, max-age=${jwksMaxAge}`)
      return auth.keys.jwks()
    }
  )

  fastify.get(
    `${base}/openapi.json`,
    { preHandler: fastify.publicAccess, config: { standalone: true }, schema: { hide: true } },
    async () => fastify.swagger()
  )
}
export default routes
