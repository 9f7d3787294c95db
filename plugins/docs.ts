import { readFileSync } from 'node:fs'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/built-in.ts'
import { DOCS_CLIENT } from '../src/domain/model.ts'
import { createSwaggerUi } from '../src/guard/swagger-ui.ts'
import { pathOf } from '../src/request-target.ts'

export interface DocsOptions {
  version: string
  issuer: string
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

1. Press **Authorize**, select scopes, and press **Authorize** in the first part of the dialog.
2. Sign in on the page that opens. It closes, and you are logged in here.
3. Open an operation and press **Execute**.

You stay logged in, in every tab and after a reload, until you log out or keep these pages closed for an hour, and for at most twelve
hours. Over plain HTTP on a host other than localhost, and if Latchkey is mounted in an app that does not set \`docsStoreLogin\`, the
login is valid in its tab only.

The second part of the dialog, **password**, takes a username and a password here. It is for these pages and other first-party clients
only (RFC 9700 §2.4). With another client, the login ends when its token expires.

The third part, **clientCredentials**, accepts the id and the secret of a client. The client gets a token in its own name
for the resources that it may use. Of the operations on this page that require
an access token, only \`GET /revocations\` and \`GET /resource-scopes\` accept the token of a client in its own name.`

const DOCUMENT_SCRIPT = readFileSync(new URL('./docs-document.js', import.meta.url), 'utf8')
/** The page to which the code flow of the pages returns, below the path of the pages. */
const RETURN_PAGE = '/static/oauth2-redirect.html'

const described = (scopes: { name: string; description: string }[]) =>
  Object.fromEntries(scopes.map(({ name, description }) => [name, description]))

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

/** Generates the OpenAPI document from the routes, and serves the pages at /docs, where users log in and try the routes. */
export default fp<DocsOptions>(
  async (fastify, { version, issuer, path, base, pages, storesLogin }) => {
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
          {
            name: 'sign-in',
            description:
              'Addresses for browsers: an app sends its user there. They show pages, so *Try it out* does not help here'
          },
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
            code: {
              type: 'oauth2',
              description: 'Sign in on the page of Latchkey',
              flows: {
                authorizationCode: {
                  authorizationUrl: `${path}/authorize`,
                  tokenUrl: `${path}/token`,
                  refreshUrl: `${path}/token`,
                  scopes: described(BUILT_IN_SCOPES)
                }
              }
            },
            password: {
              type: 'oauth2',
              description: 'Log in here with a username and a password',
              flows: {
                password: {
                  tokenUrl: `${path}/token`,
                  refreshUrl: `${path}/token`,
                  scopes: described(BUILT_IN_SCOPES)
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
                  scopes: described(CLIENT_SCOPES)
                }
              }
            }
          }
        }
      },
      // The option would also take `/auth` away from `/authorize`.
      stripBasePath: false,
      transform: ({ schema, url }) => ({ schema, url: url.startsWith(`${base}/`) ? url.slice(base.length) : url }),
      refResolver: {
        buildLocalReference: (schema, _base, _fragment, index) => (schema.$id as string | undefined) ?? `def-${index}`
      }
    })

    if (!pages) return
    const config = { issuer, clientId: DOCS_CLIENT, scopes: ['profile'], isOwn: true, storesLogin }
    const { initOAuth, theme } = createSwaggerUi(config)
    await fastify.register(async (scope: FastifyInstance) => {
      scope.decorate('defaultGuard', scope.publicAccess)
      // The pages keep a reference to the window of the sign-in, which returns to `RETURN_PAGE`.
      scope.addHook('onSend', async ({ url }, reply) => {
        const isReturn = pathOf(url).endsWith(RETURN_PAGE)
        reply.header('cross-origin-opener-policy', isReturn ? 'unsafe-none' : 'same-origin-allow-popups')
      })
      await scope.register(fastifySwaggerUi, {
        routePrefix: `${base}/docs`,
        indexPrefix: base === '' ? path : '',
        staticCSP: CSP,
        initOAuth,
        theme: {
          ...theme,
          title: 'Latchkey',
          js: [...theme.js, { filename: 'docs-document.js', content: DOCUMENT_SCRIPT }]
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
