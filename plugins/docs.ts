import { readFileSync } from 'node:fs'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../src/domain/scopes.ts'

export interface DocsOptions {
  version: string
  /** The issuer's path, empty at the root of its host. */
  path: string
  /** The beginning of the paths of all routes: the issuer's path, or empty where a proxy takes that away. */
  base: string
  /** Whether the pages are served. */
  pages: boolean
}

const DESCRIPTION = `Self-hosted OAuth2 login for your services.

Press **Authorize**, give a user name and a password, tick the scopes that you want, leave the client fields blank and
press **Authorize** below them (scroll down). Then open an operation and press **Execute**. You stay logged in, in every tab
and when you reload, until you log out or have been away for an hour, and for twelve hours at most. Over plain HTTP on any
host but localhost the login is for its tab only, and with client fields filled in it ends with its token.

Below the login, **clientCredentials** tries the id and the secret of a program: they get it a token in its own name. That is
good at the services it is for; the operations on this page want a user's, but for \`GET /revocations\`.

A login by password is for these pages and other first-party programs only (RFC 9700 §2.4). For everything else the way is
the authorization code flow with PKCE, which this version does not have yet.`

/** Swagger UI sets one style attribute; the hash allows that one and no other. */
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

/** The OpenAPI document, written from the routes, and the pages at /docs where one can log in and try them. */
export default fp<DocsOptions>(
  async (fastify, { version, path, base, pages }) => {
    await fastify.register(fastifySwagger, {
      openapi: {
        openapi: '3.1.0',
        info: { title: 'Latchkey', version, description: DESCRIPTION, license: { name: 'MIT', identifier: 'MIT' } },
        servers: [{ url: path === '' ? '/' : path, description: 'This server' }],
        tags: [
          { name: 'oauth', description: 'Tokens' },
          { name: 'users', description: 'People' },
          { name: 'sessions', description: 'Logins that last' },
          { name: 'roles', description: 'What people may do' },
          { name: 'clients', description: 'Programs, and the services that tokens are for' },
          { name: 'discovery', description: 'What other programs read' },
          { name: 'health', description: 'What an operator watches' }
        ],
        components: {
          securitySchemes: {
            password: {
              type: 'oauth2',
              description: 'Log in with a user name and a password',
              flows: {
                password: {
                  tokenUrl: `${path}/token`,
                  scopes: Object.fromEntries(BUILT_IN_SCOPES.map(({ name, description }) => [name, description]))
                }
              }
            },
            clientCredentials: {
              type: 'oauth2',
              description:
                'A program in its own name, by its id and its secret; with no scope ticked it gets its default scopes',
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
      scope.decorate('guardOfScope', scope.publicAccess)
      await scope.register(fastifySwaggerUi, {
        routePrefix: `${base}/docs`,
        indexPrefix: base === '' ? path : '',
        staticCSP: CSP,
        theme: {
          title: 'Latchkey',
          js: [
            {
              filename: 'docs-session.js',
              content: readFileSync(new URL('./docs-session.js', import.meta.url), 'utf8')
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
