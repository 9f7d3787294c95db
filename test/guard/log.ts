import type { Test } from 'tap'
import { createMetadata } from '../../src/guard/metadata.ts'
import { createRevocations } from '../../src/guard/revocations.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { AUDIENCE, createFakeIssuer, type Responder } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'
import type { Members } from '../jws.ts'

export const STALE_AFTER_MS = 30_000
/** The longest pause between two requests. */
export const MAX_PAUSE_MS = 1000

export const entry = (seq: number, kind: unknown = 'token', id: unknown = `id-${seq}`) => ({
  seq,
  kind,
  id,
  expires_in: 3660
})

/** The revocation log of a fake issuer and its reader, which `log.start` starts. */
export function setUp(t: Test, { staleAfterMs = STALE_AFTER_MS, maxEntries = 1000 } = {}) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  const states: string[] = []
  const errors: string[] = []
  const log = createRevocations({
    metadata: createMetadata({ issuer: issuer.issuer, fetch: issuer.fetch, timer }),
    fetch: issuer.fetch,
    audiences: [AUDIENCE],
    timer,
    staleAfterMs,
    maxEntries,
    onError: (error) => errors.push((error as Error).message.replaceAll(issuer.issuer, '')),
    onStale: () => states.push('stale'),
    onFull: () => states.push('full'),
    onFresh: () => states.push('fresh')
  })
  t.teardown(() => log.stop())

  return {
    ...issuer,
    timer,
    log,
    /** The changes of the state, in their order. */
    states,
    errors,
    /** Returns whether the log revokes a token with these claims. */
    isRevoked: (changes: Members = {}, kid = issuer.key.kid) =>
      log.judge(issuer.claims(changes) as unknown as AccessTokenClaims, kid) === 'revoked',
    /** Ends the waiting request with one more entry. `responder` answers every later request. */
    respondWith(responder: Responder): void {
      issuer.responders.revocations = responder
      issuer.revoke('token', 'the last token before the responses change')
    }
  }
}

/** As `setUp`, with a log that was read to its end. */
export async function follow(t: Test, options?: Parameters<typeof setUp>[1]) {
  const started = setUp(t, options)
  await started.log.start(0)
  await started.timer.advance(0)
  return started
}
