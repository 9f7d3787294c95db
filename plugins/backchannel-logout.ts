import fp from 'fastify-plugin'
import { runOutsideRequest } from '../src/deadline.ts'
import type { EventType } from '../src/domain/events.ts'
import type { SendLogout } from '../src/domain/ports/logouts.ts'
import { LOGOUT_RESPONSE_MS } from '../src/limits.ts'
import { isLoopback } from '../src/loopback.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Starts the timer that delivers logout tokens that are due. An app calls this when it listens. For a mounted app, `src/mount.ts` calls it. */
    startDelivering(): void
  }
}

/** Milliseconds between two rounds, for tokens that a client did not accept. */
const INTERVAL_MS = 15_000

/** Events after which notices may be due at once. Notices of any other cause are delivered in the next round. */
const ENDINGS: ReadonlySet<EventType> = new Set<EventType>([
  'login.ended',
  'session.ended',
  'session.replayed',
  'code.replayed',
  'consent.removed',
  'password.changed',
  'password.reset',
  'user.changed',
  'user.deleted',
  'everything.revoked'
])

/** Returns the reason of an error of `fetch`, without the URL. */
function reasonOf(error: unknown): string {
  const { name, cause } = error as Error
  if (name === 'TimeoutError') return `no response within ${LOGOUT_RESPONSE_MS / 1000} s`
  const { code = 'unknown error' } = (cause ?? {}) as { code?: string }
  return `no connection: ${code}`
}

/** Tells clients that sessions of their users have ended: at once, without delaying it, and again later if they did not accept it. */
export default fp(
  async (fastify) => {
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round: Promise<void> | null = null
    let isDue = false

    /** Follows no redirect, and reads nothing of the response but its status. */
    const send: SendLogout = async (uri, logoutToken) => {
      const { protocol, hostname } = new URL(uri)
      if (protocol !== 'https:' && !isLoopback(hostname)) return 'the URI is neither https nor on a loopback host'
      try {
        const response = await fetch(uri, {
          method: 'POST',
          body: new URLSearchParams({ logout_token: logoutToken }),
          redirect: 'manual',
          signal: AbortSignal.any([stop.signal, AbortSignal.timeout(LOGOUT_RESPONSE_MS)])
        })
        await response.body?.cancel()
        return response.ok ? null : `status ${response.status}`
      } catch (error) {
        return reasonOf(error)
      }
    }

    async function deliver(): Promise<void> {
      while (isDue && !stop.signal.aborted) {
        isDue = false
        await fastify.auth
          .deliverLogouts(send, stop.signal)
          .catch((err: unknown) => fastify.log.warn({ err }, 'could not deliver logout tokens'))
      }
      round = null
    }

    /** Starts a round, or another one after the current round. */
    function wake(): void {
      isDue = true
      round ??= runOutsideRequest(deliver)
    }

    fastify.decorate('startDelivering', () => {
      timer = setInterval(wake, INTERVAL_MS).unref()
    })
    fastify.addHook('onListen', async () => fastify.startDelivering())
    fastify.onEvent(({ type }) => {
      if (ENDINGS.has(type)) wake()
    })
    fastify.addHook('preClose', async () => {
      clearInterval(timer)
      stop.abort()
      await round
    })
  },
  { name: 'backchannel-logout', dependencies: ['auth', 'events'] }
)
