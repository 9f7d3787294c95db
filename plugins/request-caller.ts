import fp from 'fastify-plugin'
import type { Caller, Origin } from '../src/domain/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The login of the form, else the user or client of the access token, else the client that authenticated, else anonymous. Anonymous before the guards ran. */
    readonly caller: Caller
    /** Set when the request arrives. */
    origin: Origin
  }
}

/** Maximum number of characters of an address with a port. A longer text of a proxy is not an address. */
const ADDRESS_MAX = 64
/** Maximum number of characters of the User-Agent header that are kept. */
const USER_AGENT_MAX = 256

const addressOf = (ip: string | undefined): string | null => (ip === undefined || ip.length > ADDRESS_MAX ? null : ip)

/** Adds `request.caller`. The getter reads the members that the guards set on the request. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('origin', null as never)
    // Read before a guard waits: Node.js does not know the address of a connection that the client has closed.
    fastify.addHook('onRequest', async (request) => {
      request.origin = {
        address: addressOf(request.ip),
        userAgent: request.headers['user-agent']?.slice(0, USER_AGENT_MAX) ?? null,
        requestId: request.id
      }
    })
    fastify.decorateRequest('caller', {
      getter(): Caller {
        const { principal, clientAuth, browser, origin } = this
        const sender = browser?.sender ?? null
        if (sender !== null) return { kind: 'login', id: sender.userId, loginId: sender.id, ...origin }
        if (principal?.kind === 'user' && principal.sid !== null)
          return { kind: 'user', id: principal.sub, clientId: principal.clientId, sid: principal.sid, ...origin }
        if (principal !== null) return { kind: 'client', id: principal.clientId, ...origin }
        if (clientAuth !== null) return { kind: 'client', id: clientAuth.client.id, ...origin }
        return { kind: 'anonymous', ...origin }
      }
    })
  },
  { name: 'request-caller', dependencies: ['guard'] }
)
