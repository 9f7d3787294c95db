import fp from 'fastify-plugin'
import { runOutsideRequest } from '../src/deadline.ts'
import type { EventType } from '../src/domain/events.ts'
import { createAddressCheck, LOOPBACK_NETWORKS } from '../src/domain/outgoing-addresses.ts'
import type { SendLogout } from '../src/domain/ports/logouts.ts'
import { LOGOUT_RESPONSE_MS } from '../src/limits.ts'
import { isLoopback } from '../src/loopback.ts'
import { createOutgoing, UrlRefused } from '../src/outgoing.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Starts the timer that delivers logout tokens that are due. An app calls this when it listens. For a mounted app, `src/mount.ts` calls it. */
    startDelivering(): void
  }
}

export interface BackchannelLogoutOptions {
  /** An issuer on a loopback host may send to this machine. */
  issuer: string
  /** Internal networks that logout tokens may be sent to. */
  networks: string[]
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

/** Returns the reason of a failed request, without the URL. */
function reasonOf(error: unknown): string {
  const { name, message, code = 'unknown error', cause } = error as Error & { code?: string }
  if (error instanceof UrlRefused) return message
  if (name === 'TimeoutError' || (cause as Error | undefined)?.name === 'TimeoutError')
    return `no response within ${LOGOUT_RESPONSE_MS / 1000} s`
  return `no connection: ${code}`
}

/**
 * Tells clients that sessions of their users have ended: at once, without a wait of the request that ended them, and again later if a client
 * did not accept it.
 */
export default fp(
  async (fastify, { issuer, networks }: BackchannelLogoutOptions) => {
    const isLocal = isLoopback(new URL(issuer).hostname)
    const isAllowed = createAddressCheck(isLocal ? [...networks, ...LOOPBACK_NETWORKS] : networks)
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round: Promise<void> | null = null
    let isDue = false

    const sendRequest = createOutgoing({ isAllowed, setting: 'LATCHKEY_LOGOUT_NETWORKS' })

    const send: SendLogout = async (uri, logoutToken) => {
      try {
        const { status } = await sendRequest(new URL(uri), {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: new URLSearchParams({ logout_token: logoutToken }).toString(),
          signal: AbortSignal.any([stop.signal, AbortSignal.timeout(LOGOUT_RESPONSE_MS)]),
          maxBytes: 0
        })
        return status >= 200 && status < 300 ? null : `status ${status}`
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
