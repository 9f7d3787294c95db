import { TokenError } from '../client/errors.ts'
import { createClient } from '../client/token-client.ts'
import { GUARD_ENTRIES_MAX } from '../limits.ts'
import { systemClock } from '../token/clock.ts'
import type { GuardOptions } from './core.ts'
import { type Credentials, createAuthentication } from './credentials.ts'
import { UnavailableError } from './errors.ts'
import { createFreezeDetector } from './freeze.ts'
import { createIntrospection } from './introspection.ts'
import { createKeys } from './keys.ts'
import { createMetadata } from './metadata.ts'
import { type LatchkeyGuardOptions, STALE_AFTER } from './options.ts'
import { createRevocations } from './revocations.ts'
import { findUnknownScopes, type ScopeUses } from './route-scopes.ts'
import type { Timer } from './timer.ts'
import { createVerifier, NOTHING_REVOKED } from './verify.ts'

/** What the guard knows about revocations. */
export interface GuardStatus {
  revocation: 'log' | 'introspection' | 'none'
  /** The last number of the revocation log that was read; null before the first response and without the log. */
  seq: number | null
  /** Age in milliseconds of the last request whose response reached the end of the log; null before the first one and without the log. */
  lag: number | null
  /** Number of entries of the revocation log in memory. */
  entries: number
  /** Number of remembered tokens. */
  tokens: number
}

interface Log {
  error(message: string): void
  warn(message: string): void
  info(message: string): void
}

/** Verifies tokens in one of the three ways of the option `revocation`. */
export interface Verification {
  /** @throws UnavailableError when it cannot be known now whether the token is valid */
  verify: (token: string) => ReturnType<GuardOptions['verify']>
  status(): GuardStatus
  /**
   * Starts to follow the revocation log. `verify` waits until the log was read to its end, for at most three seconds. After a freeze of
   * the process it waits again. When the log is first read, warns of scopes of the routes that the issuer does not have.
   */
  start(uses: ScopeUses): void
  stop(): Promise<void>
}

interface Deps {
  log: Log
  timer: Timer
  /** Number of entries of the revocation log that are kept at most. Default: `GUARD_ENTRIES_MAX`. */
  maxEntries?: number
}

/** Milliseconds for which the first tokens wait for the revocation log. */
const PATIENCE_MS = 3000

/**
 * Returns the message of an error, for one line of the log. When the guard gets no access token for its request, the error only says that
 * there was no response; then the message of its cause is returned.
 */
function reasonOf(error: unknown): string {
  const { cause } = (error ?? {}) as { cause?: unknown }
  return cause instanceof TokenError ? cause.message : error instanceof Error ? error.message : String(error)
}

type CommonOptions = Parameters<typeof createVerifier>[0] & {
  metadata: ReturnType<typeof createMetadata>
  fetch: typeof globalThis.fetch
}

const NO_LOG = { seq: null, lag: null, entries: 0 }
const nothingToFollow = { start: () => {}, stop: async () => {} }

function withoutRevocation(common: CommonOptions): Verification {
  const { verify, size } = createVerifier(common)
  return { ...nothingToFollow, verify, status: () => ({ revocation: 'none', ...NO_LOG, tokens: size() }) }
}

function byIntrospection(common: CommonOptions, credentials: Credentials, timer: Timer): Verification {
  const { issuer, clock, metadata, fetch } = common
  const verifier = createVerifier(common)
  const authenticate = createAuthentication({ ...credentials, issuer, clock })
  const introspect = createIntrospection({ metadata, fetch, authenticate, timer })
  return {
    ...nothingToFollow,
    verify: async (token) => introspect(token, await verifier.verify(token)),
    status: () => ({ revocation: 'introspection', ...NO_LOG, tokens: verifier.size() })
  }
}

function byLog(
  common: CommonOptions,
  options: LatchkeyGuardOptions & Credentials,
  { log, timer, maxEntries = GUARD_ENTRIES_MAX }: Deps
): Verification {
  const { staleAfter = STALE_AFTER, whenStale = 'refuse' } = options
  const { metadata, fetch, issuer, audiences } = common
  const client = createClient({ ...options, scope: 'revocations:read', fetch }, timer)
  /** The scopes of the routes, until they are compared. */
  let uncompared: ScopeUses | null = null

  async function compareScopes(): Promise<void> {
    if (uncompared === null) return
    const uses = uncompared
    uncompared = null
    try {
      const warnings = await findUnknownScopes({ metadata, fetch: client.fetch, timer, issuer, audiences, uses })
      for (const warning of warnings) log.warn(warning)
    } catch (error) {
      log.info(`the scopes of the routes could not be compared with those of ${issuer}: ${reasonOf(error)}`)
    }
  }

  const revocations = createRevocations({
    metadata,
    audiences: common.audiences,
    fetch: client.fetch,
    timer,
    staleAfterMs: staleAfter * 1000,
    maxEntries,
    onError: (error) => log.warn(`the revocation log cannot be read: ${reasonOf(error)}`),
    onStale(error) {
      const since =
        revocations.status().lag === null ? 'has not been read yet' : `has not responded for ${staleAfter} s`
      log.error(`the revocation log ${since}${error === null ? '' : `: ${reasonOf(error)}`}`)
    },
    onFull: () =>
      log.warn(
        `the revocation log has more than ${maxEntries} entries: tokens that are older than the dropped entries are introspected, or refused until they are renewed`
      ),
    onFresh() {
      log.info('the revocation log is being read')
      void compareScopes()
    }
  })
  const assertKnown = () => {
    if (!revocations.isFresh() && whenStale === 'refuse')
      throw new UnavailableError('It is not known which tokens are revoked')
  }
  const authenticate = createAuthentication({ ...options, issuer: common.issuer, clock: common.clock })
  const introspect = createIntrospection({ metadata, fetch, authenticate, timer })
  const { verify, size } = createVerifier({ ...common, revoked: { ...revocations, assertKnown, introspect } })
  const freeze = createFreezeDetector(timer)
  /** Resolves when tokens need no longer wait for the log; null when they do not wait. */
  let starting: Promise<void> | null = null

  function waitFor(read: Promise<void>): void {
    const current = read.then(() => {
      if (starting === current) starting = null
    })
    starting = current
  }

  return {
    verify(token) {
      // What was revoked while the process was frozen is unknown, as at the start.
      if (freeze.wasFrozen()) waitFor(revocations.restart(PATIENCE_MS))
      return starting === null ? verify(token) : starting.then(() => verify(token))
    },
    status: () => ({ revocation: 'log', ...revocations.status(), tokens: size() }),
    start(uses) {
      uncompared = uses
      freeze.start()
      waitFor(revocations.start(PATIENCE_MS))
    },
    async stop() {
      freeze.stop()
      client.close()
      await revocations.stop()
    }
  }
}

/** @throws TypeError for options that are not valid */
export function createVerification(options: LatchkeyGuardOptions, deps: Deps): Verification {
  const { issuer, insecureHttp, internalUrl, fetch = globalThis.fetch, clock = systemClock } = options
  const { timer } = deps
  const metadata = createMetadata({ issuer, insecureHttp, internalUrl, fetch, timer })
  const keys = createKeys({ metadata, fetch, timer })
  const common = {
    issuer,
    audiences: [options.audience].flat(),
    keys,
    revoked: NOTHING_REVOKED,
    clock,
    metadata,
    fetch
  }
  if (options.revocation === 'none') return withoutRevocation(common)
  if (options.revocation === 'introspection') return byIntrospection(common, options, timer)
  return byLog(common, options, deps)
}
