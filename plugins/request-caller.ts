import fp from 'fastify-plugin'
import type { Caller } from '../src/domain/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The user or client of the access token, else the client that authenticated, else anonymous; anonymous before the guards ran. */
    readonly caller: Caller
  }
}

/** Characters of the User-Agent header. */
const USER_AGENT_MAX = 256

/** Derives the caller from what the guards have set on the request, anew at each access. */
export default fp(
  async (fastify) => {
    fastify.decorateRequest('caller', {
      getter(): Caller {
        const { principal, clientAuth } = this
        const origin = {
          address: this.ip,
          userAgent: this.headers['user-agent']?.slice(0, USER_AGENT_MAX) ?? null,
          requestId: this.id
        }
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
