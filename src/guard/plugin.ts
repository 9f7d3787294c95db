import fp from 'fastify-plugin'
import { defined } from '../defined.ts'
import guard from './core.ts'
import { documentGuards, FLOWS } from './document.ts'
import { insecureWarning, isInsecure } from './metadata.ts'
import { assertOptions, type LatchkeyGuardOptions } from './options.ts'
import { assertNoRoutesBefore } from './routes.ts'
import { createSwaggerUi, type SwaggerUiOptions } from './swagger-ui.ts'
import type { Timer } from './timer.ts'
import { createVerification, type GuardStatus } from './verification.ts'

declare module 'fastify' {
  interface FastifyInstance {
    guard: {
      status(): GuardStatus
      /**
       * Returns options of `@fastify/swagger-ui` for pages where users log in.
       * @param clientId the public client of the pages
       */
      swaggerUi(clientId: string): SwaggerUiOptions
    }
  }
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Returns the URL of the resource's metadata (RFC 9728 §3.1); null when the resource is not an http or https URL. */
function metadataUrl(audience: string): URL | null {
  const { protocol, origin, pathname, search } = new URL(audience)
  if (!/^https?:$/.test(protocol)) return null
  return new URL(`${origin}${WELL_KNOWN}${pathname === '/' ? '' : pathname}${search}`)
}

/** Returns the path of a URL for the router: decoded, and with colons escaped, because a single colon begins a route parameter. */
const routeOf = ({ pathname }: URL): string => decodeURI(pathname).replaceAll(':', '::')

/** Makes the plugin with a timer that measures pauses, time limits and the age of keys and of the revocation log. */
export const createPlugin = (timer: Timer) =>
  fp<LatchkeyGuardOptions>(
    async (fastify, options) => {
      assertOptions(options)
      const { issuer, onRefused, publicPaths = [], unguarded = 'refuse' } = options
      const [audience] = [options.audience].flat() as [string]
      if (fastify.prefix !== '')
        throw new Error('latchkey-guard: register it at the root, where its metadata is served')
      if (unguarded === 'refuse') assertNoRoutesBefore(fastify, publicPaths)
      const { verify, status, start, stop } = createVerification(options, { log: fastify.log, timer })
      if (isInsecure(issuer)) fastify.log.warn(insecureWarning(issuer))
      fastify.addHook('onClose', stop)

      const url = metadataUrl(audience)
      const placement = { publicPaths, unguarded, ...defined({ onRefused }) }
      await fastify.register(guard, { verify, flows: FLOWS, metadataUrl: url?.href ?? null, ...placement })
      const swaggerUi = (clientId: string) =>
        createSwaggerUi({ issuer, clientId, scopes: [], isOwn: false, storesLogin: false })
      fastify.decorate('guard', { status, swaggerUi })
      const uses = documentGuards(fastify, { issuer, audience, path: url === null ? WELL_KNOWN : routeOf(url) })
      fastify.addHook('onReady', async () => start(uses))
    },
    { name: 'latchkey-guard', fastify: '5.x' }
  )
