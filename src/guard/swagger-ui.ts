import { readFileSync } from 'node:fs'

const fileOf = (url: URL): string => readFileSync(url, 'utf8')

export interface SwaggerUiSettings {
  issuer: string
  /** The public client of the pages. */
  clientId: string
  /** The scopes that are ticked at first. */
  scopes: string[]
  /** Whether the pages are those of the issuer itself. */
  isOwn: boolean
  /** Whether the pages store their login in the browser. Every script of their origin can read it. */
  storesLogin: boolean
}

/** Options of `@fastify/swagger-ui`. */
export interface SwaggerUiOptions {
  initOAuth: { clientId: string; scopes: string; usePkceWithAuthorizationCodeGrant: true }
  theme: { css: { filename: string; content: string }[]; js: { filename: string; content: string }[] }
}

/** Returns options of `@fastify/swagger-ui` for pages where users log in: with the code flow and PKCE first, or with a password. */
export function createSwaggerUi({ scopes, ...config }: SwaggerUiSettings): SwaggerUiOptions {
  const scripts = {
    'latchkey-config.js': `window.latchkeyDocs = ${JSON.stringify(config)}\n`,
    'docs-login.js': fileOf(new URL('./docs-login.js', import.meta.url)),
    'docs-session.js': fileOf(new URL('./docs-session.js', import.meta.url))
  }
  return {
    initOAuth: { clientId: config.clientId, scopes: scopes.join(' '), usePkceWithAuthorizationCodeGrant: true },
    theme: {
      css: [{ filename: 'docs.css', content: fileOf(new URL('./docs.css', import.meta.url)) }],
      js: Object.entries(scripts).map(([filename, content]) => ({ filename, content }))
    }
  }
}
