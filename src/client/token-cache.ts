import type { Timer } from '../guard/timer.ts'
import type { Clock } from '../token/clock.ts'
import { TokenError } from './errors.ts'

/** A token that the issuer has issued. */
export interface IssuedToken {
  token: string
  /** Lifetime in seconds. */
  lifetime: number
}

/** Milliseconds from a temporary failure to the next request. Doubles with each failure; a random part of up to a half is added. */
const PAUSE_MS = { first: 100, last: 1000 }
/** Milliseconds of `Retry-After` that are respected. */
const MAX_PAUSE_MS = 60_000
/** Milliseconds from a refused token to the next, when that is refused too. */
const DROP_PAUSE_MS = 1000
/** Parts of its lifetime after which a token is renewed, chosen at random between both. */
const RENEWAL = { from: 0.75, to: 0.9 }
/** The last part of its lifetime, and milliseconds at most, in which a token is not returned: it must be valid when it arrives. */
const MARGIN = { part: 0.1, maxMs: 5000 }

/** Returns whether the failure may be temporary: no response, too many requests, or an error of the server. */
const isTemporary = ({ status }: TokenError): boolean => status === null || status === 429 || status >= 500

/** @param failures the number of previous failures in a row */
function pauseAfter(failure: TokenError, failures: number): number {
  const pause = isTemporary(failure)
    ? Math.min(PAUSE_MS.last, PAUSE_MS.first * 2 ** failures) * (1 + Math.random() / 2)
    : PAUSE_MS.last
  return Math.min(MAX_PAUSE_MS, Math.max(pause, (failure.retryAfter ?? 0) * 1000))
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  return Promise.race([promise, aborted])
}

/**
 * Holds the current token and renews it early, in the background. Sends one request at a time and retries temporary failures.
 * The age of a token is measured by `clock`, pauses by `timer`.
 */
export function createTokenCache(deps: {
  /** Sends one request. @throws TokenError */
  request: (signal: AbortSignal) => Promise<IssuedToken>
  clock: Clock
  timer: Timer
  /** Milliseconds for which a caller waits at most. */
  timeout: number
}) {
  const { request, clock, timer, timeout } = deps
  let held: { token: string; renewAt: number; usableUntil: number } | null = null
  let pending: Promise<string | null> | null = null
  /** The last failure, until a request succeeds. */
  let failure: TokenError | null = null
  let failures = 0
  let retryAt = 0
  let droppedAt = Number.NEGATIVE_INFINITY
  const closed = new AbortController()

  /** Returns null after a failure. */
  async function renew(): Promise<string | null> {
    const requestedAt = clock.now()
    try {
      const issued = await request(closed.signal)
      const { token } = issued
      const lifetime = issued.lifetime * 1000
      held = {
        token,
        renewAt: requestedAt + lifetime * (RENEWAL.from + Math.random() * (RENEWAL.to - RENEWAL.from)),
        usableUntil: requestedAt + lifetime - Math.min(lifetime * MARGIN.part, MARGIN.maxMs)
      }
      failure = null
      failures = 0
      return token
    } catch (error) {
      failure = error as TokenError
      retryAt = timer.elapsed() + pauseAfter(failure, failures++)
      return null
    } finally {
      pending = null
    }
  }
  const renewal = () => (pending ??= renew())

  function current(): string | null {
    const now = clock.now()
    if (held === null || now >= held.usableUntil) return null
    if (now >= held.renewAt && timer.elapsed() >= retryAt) void renewal()
    return held.token
  }

  /** Requests a token until there is one. @throws TokenError after a refusal, or when the next request would be after `deadline` */
  async function requestUntil(deadline: number, signal: AbortSignal): Promise<string> {
    for (;;) {
      const pause = retryAt - timer.elapsed()
      if (pending !== null || pause <= 0) {
        const token = await untilAborted(renewal(), signal)
        if (token !== null) return token
      } else {
        if (failure !== null && (!isTemporary(failure) || timer.elapsed() + pause > deadline)) throw failure
        await timer.sleep(pause, signal)
        const token = current()
        if (token !== null) return token
      }
    }
  }

  async function wait(signal: AbortSignal | null): Promise<string> {
    const late = new AbortController()
    const done = new AbortController()
    const until = AbortSignal.any([late.signal, closed.signal, ...(signal === null ? [] : [signal])])
    timer.sleep(timeout, done.signal).then(
      () => late.abort(failure ?? new TokenError(`there was no token within ${timeout} ms`)),
      () => {}
    )
    try {
      return await requestUntil(timer.elapsed() + timeout, until)
    } catch (error) {
      throw until.aborted ? until.reason : error
    } finally {
      done.abort()
    }
  }

  return {
    /**
     * Returns a token that is valid by its lifetime.
     * @throws TokenError at once when the issuer refuses, else after `timeout`; the reason of `signal` when that aborts
     */
    async get(signal: AbortSignal | null = null): Promise<string> {
      closed.signal.throwIfAborted()
      signal?.throwIfAborted()
      return current() ?? wait(signal)
    },

    /** Forgets a token that a service has refused. Does nothing for a token that is not the current one. */
    drop(token: string): void {
      if (held?.token !== token) return
      held = null
      retryAt = Math.max(retryAt, droppedAt + DROP_PAUSE_MS)
      droppedAt = Math.max(retryAt, timer.elapsed())
    },

    close(): void {
      held = null
      closed.abort(new TokenError('the token client is closed'))
    }
  }
}
