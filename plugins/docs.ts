import { readFileSync } from 'node:fs'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/built-in.ts'

export interface DocsOptions {
  version: string
  /** The path of the issuer; empty at the root of its host. */
  path: string
  /** The beginning of the paths of all routes: the path of the issuer, or empty if a proxy removes this path. */
  base: string
  /** Whether the pages are served. */
  pages: boolean
  /** Whether the pages store their login in the browser. Every script of their origin can read it. */
  storesLogin: boolean
}

const DESCRIPTION = `Self-hosted OAuth2 login for your services.

1. Press **Authorize**. Enter a user name and a password, and select scopes. Leave the client fields blank.
2. Scroll down and press **Authorize** at the end of the form.
3. Open an operation and press **Execute**.

You stay logged in, in every tab and after a reload, until you log out or keep these pages closed for an hour, and for at most twelve
hours. Over plain HTTP on a host other than localhost, and if Latchkey is mounted in an app that does not set \`docsStoreLogin\`, the
login is valid in its tab only. If you fill in the client fields, the login ends when its token expires.

Below the login, **clientCredentials** accepts the id and the secret of a client. The client gets a token in its own name
for the resources that it may use. Of the operations on this page that require
an access token, only \`GET /revocations\` and \`GET /resource-scopes\` accept the token of a client in its own name.

The login by password is for these pages and other first-party clients only (RFC 9700 §2.4). All other clients should use the
authorization code flow with PKCE, which this version does not have yet.`

const SESSION_SCRIPT = readFileSync(new URL('./docs-session.js', import.meta.url), 'utf8')

/** The content security policy of the pages. The hash allows the one style attribute that Swagger UI sets. */
const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-hashes' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join('; ')

interface Document {
  paths: Record<string, Record<string, { security?: Record<string, string[]>[] }>>
  components: { securitySchemes: Record<string, object> }
}

/** Returns the document without the security scheme of clients, for which the login dialog would ask for a second user name and password. */
function forPages(document: Document): Document {
  const { client: _, ...securitySchemes } = document.components.securitySchemes
  const paths = structuredClone(document.paths)
  for (const operation of Object.values(paths).flatMap(Object.values))
    if (operation.security?.some((scheme: object) => 'client' in scheme)) operation.security = []
  return { ...document, paths, components: { ...document.components, securitySchemes } }
}

/** Generates the OpenAPI document from the routes, and serves the pages at /docs, where users log in and try the routes. */
export default fp<DocsOptions>(
  async (fastify, { version, path, base, pages, storesLogin }) => {
    await fastify.register(fastifySwagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'Latchkey',
          version,
          description: DESCRIPTION,
          license: { name: 'MIT', identifier: 'MIT' }
        },
        servers: [{ url: path === '' ? '/' : path, description: 'This server' }],
        tags: [
          { name: 'oauth', description: 'Tokens' },
          { name: 'users', description: 'Users' },
          { name: 'sessions', description: 'Sessions: logins that can be renewed' },
          { name: 'roles', description: 'Roles: what users may do' },
          { name: 'clients', description: 'Clients, and the resources that tokens are for' },
          { name: 'keys', description: 'Keys that sign tokens' },
          { name: 'discovery', description: 'Metadata and keys for clients and resources' },
          { name: 'health', description: 'Liveness and readiness' }
        ],
        components: {
          securitySchemes: {
            client: {
              type: 'http',
              scheme: 'basic',
              description:
                'A client by its id and its secret (`client_secret_basic`, RFC 6749 §2.3.1). In place of the header, the form can hold `client_id` and `client_secret` (`client_secret_post`), or `client_assertion_type` and `client_assertion` (`private_key_jwt`, RFC 7523 §2.2). A public client sends only `client_id`.'
            },
            password: {
              type: 'oauth2',
              description: 'Log in with a user name and a password',
              flows: {
                password: {
                  tokenUrl: `${path}/token`,
                  refreshUrl: `${path}/token`,
                  scopes: Object.fromEntries(BUILT_IN_SCOPES.map(({ name, description }) => [name, description]))
                }
              }
            },
            clientCredentials: {
              type: 'oauth2',
              description:
                'A client in its own name, by its id and its secret. Without a selected scope it gets its default scopes.',
              flows: {
                clientCredentials: {
                  tokenUrl: `${path}/token`,
                  scopes: Object.fromEntries(CLIENT_SCOPES.map(({ name, description }) => [name, description]))
                }
              }
            }
          }
        }
      },
      refResolver: {
        buildLocalReference: (schema, _base, _fragment, index) => (schema.$id as string | undefined) ?? `def-${index}`
      }
    })

    if (!pages) return
    await fastify.register(async (scope: FastifyInstance) => {
      scope.decorate('defaultGuard', scope.publicAccess)
      await scope.register(fastifySwaggerUi, {
        routePrefix: `${base}/docs`,
        indexPrefix: base === '' ? path : '',
        staticCSP: CSP,
        transformSpecificationClone: false,
        transformSpecification: (document) => forPages(document as unknown as Document),
        theme: {
          title: 'Latchkey',
          js: [
            {
              filename: 'docs-session.js',
              content: (storesLogin ? '' : 'window.latchkeyLoginInMemory = true\n') + SESSION_SCRIPT
            }
          ]
        },
        uiConfig: {
          layout: 'BaseLayout',
          deepLinking: true,
          displayRequestDuration: true,
          tryItOutEnabled: true,
          defaultModelsExpandDepth: 0
        }
      })
    })
  },
  { name: 'docs', dependencies: ['guard-core'] }
)
