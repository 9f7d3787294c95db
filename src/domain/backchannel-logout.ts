import { SYSTEM } from './caller.ts'
import type { Clients } from './clients.ts'
import type { Events } from './events.ts'
import type { IdTokens } from './id-tokens.ts'
import type { Millis } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { LogoutNotice, SendLogout } from './ports/logouts.ts'
import type { Store } from './ports/store.ts'

/** Number of notices that one round reads at once. */
const BATCH = 100
/** The pause after the first failed attempt. Longer than any attempt takes. It doubles with each further failed attempt. */
const FIRST_PAUSE: Millis = 30_000
const LONGEST_PAUSE: Millis = 3_600_000

const pauseAfter = (attempts: number): Millis => Math.min(FIRST_PAUSE * 2 ** attempts, LONGEST_PAUSE)

/** Tells clients that sessions of their users have ended (OpenID Connect Back-Channel Logout 1.0). */
export function createBackchannelLogout(deps: {
  store: Store
  clients: Clients
  idTokens: IdTokens
  events: Events
  clock: Clock
}) {
  const { store, clients, idTokens, events, clock } = deps

  /** Makes one attempt. Returns false when the client did not accept the token. */
  async function attempt(notice: LogoutNotice, send: SendLogout): Promise<boolean> {
    const { clientId, sessionId: session, userId: user } = notice
    const client = await clients.enabled(clientId)
    const uri = client?.backchannelLogoutUri ?? null
    if (client === null || uri === null) {
      await store.logoutNotices.remove(session)
      return true
    }
    // A new token for each attempt, because a logout token expires soon.
    const refused = await send(uri, await idTokens.issueLogout(client, notice))
    if (refused === null) {
      await store.logoutNotices.remove(session)
      return true
    }
    const subject = { client: clientId, session, user }
    events.record({ type: 'logout.undelivered', caller: SYSTEM, subject, outcome: 'failure', reason: refused })
    return false
  }

  /** Delivers the notices of one client, one after the other. Stops at the first that fails, so a slow client costs one wait. */
  async function deliverTo(notices: LogoutNotice[], { send, signal }: { send: SendLogout; signal: AbortSignal }) {
    for (const notice of notices) {
      if (signal.aborted) return
      const nextAt = clock.now() + pauseAfter(notice.attempts)
      if (!(await store.logoutNotices.claim(notice, nextAt))) continue
      if (await attempt(notice, send)) continue
      await store.logoutNotices.postpone(notice.clientId, nextAt)
      return
    }
  }

  return {
    /**
     * Delivers the logout tokens that are due, to several clients at once. A token that a client does not accept is sent again later, until
     * its notice expires. May run on any number of instances: each attempt is made by one of them.
     * @param signal stops it after the current attempts
     */
    async deliverLogouts(send: SendLogout, signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        const due = await store.logoutNotices.due(clock.now(), BATCH)
        if (due.length === 0) return
        const byClient = Map.groupBy(due, ({ clientId }) => clientId)
        const all = [...byClient.values()].map((notices) => deliverTo(notices, { send, signal }))
        const failed = (await Promise.allSettled(all)).find(({ status }) => status === 'rejected')
        if (failed !== undefined) throw (failed as PromiseRejectedResult).reason
      }
    }
  }
}
