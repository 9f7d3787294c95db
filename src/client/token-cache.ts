import { type Timer, untilAborted } from '../guard/timer.ts'
import { TokenError } from './errors.ts'

/** A token that the issuer has issued. */
export interface IssuedToken {
  token: string
  /** Lifetime in seconds. */
  lifetime: number
}

/**
 * Milliseconds from a failure to the next request. After temporary failures in a row the pause doubles from `first` to `max`, and a
 * random part of at most a half is added. After a refusal the pause is `max`.
 */
const PAUSE_MS = { first: 100, max: 1000 }
/** Maximum milliseconds of a pause, also for a longer `Retry-After`. */
const RETRY_AFTER_MAX_MS = 60_000
/** Minimum milliseconds between two replacements of tokens that services have refused. The first replacement starts at once. */
const REPLACEMENT_PAUSE_MS = 1000
/** A token is renewed after a part of its lifetime, chosen at random between `from` and `to`. */
const RENEWAL = { from: 0.75, to: 0.9 }
/**
 * A token is not returned in the last `part` of its lifetime, limited to the last `maxMs` milliseconds: the token must still be valid
 * when it arrives at the service.
 */
const MARGIN = { part: 0.1, maxMs: 5000 }

/** Returns whether the failure may be temporary: no response, too many requests, or an error of the server. */
const isTemporary = ({ status, error }: TokenError): boolean =>
  error !== 'invalid_grant' && (status === null || status === 429 || status >= 500)

/** Returns the milliseconds to wait after a failure. @param failures the number of previous failures in a row */
function pauseAfter(failure: TokenError, failures: number): number {
  const pause = isTemporary(failure)
    ? Math.min(PAUSE_MS.max, PAUSE_MS.first * 2 ** failures) * (1 + Math.random() / 2)
    : PAUSE_MS.max
  return Math.min(RETRY_AFTER_MAX_MS, Math.max(pause, (failure.retryAfter ?? 0) * 1000))
}

/**
 * Holds the current token and renews it early, in the background. Sends one request at a time and retries temporary failures.
 * The age of a token is measured by `now`, pauses by `timer`.
 */
export function createTokenCache(deps: {
  /** Sends one request. @throws TokenError */
  request: (signal: AbortSignal) => Promise<IssuedToken>
  /** Returns milliseconds since any instant, always the same one. */
  now: () => number
  timer: Timer
  /** Maximum milliseconds that a caller waits. */
  timeout: number
}) {
  const { request, now, timer, timeout } = deps
  let held: { token: string; renewAt: number; usableUntil: number } | null = null
  let pending: Promise<string | null> | null = null
  /** The last failure, until a request succeeds. */
  let failure: TokenError | null = null
  let failures = 0
  let retryAt = 0
  /** When the last replacement of a dropped token may start. */
  let replacementAt = Number.NEGATIVE_INFINITY
  const closed = new AbortController()

  /** Requests a token and holds it. Returns null after a failure, which is then in `failure`. */
  async function renew(): Promise<string | null> {
    const requestedAt = now()
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

  /** Starts a request, or joins the pending request. */
  const renewOnce = () => (pending ??= renew())

  /** Returns the held token if it is usable, else null. Starts its renewal in the background when that is due. */
  function current(): string | null {
    const at = now()
    if (held === null || at >= held.usableUntil) return null
    if (at >= held.renewAt && timer.elapsed() >= retryAt) void renewOnce()
    return held.token
  }

  /** Requests a token and retries. @throws TokenError after a refusal, or when the next request would start after `deadline` */
  async function requestUntil(deadline: number, signal: AbortSignal): Promise<string> {
    for (;;) {
      const pause = retryAt - timer.elapsed()
      if (pending !== null || pause <= 0) {
        const token = await untilAborted(renewOnce(), signal)
        if (token !== null) return token
      } else {
        if (failure !== null && (!isTemporary(failure) || timer.elapsed() + pause > deadline)) throw failure
        await timer.sleep(pause, signal)
        const token = current()
        if (token !== null) return token
      }
    }
  }

  /** Waits for a token for at most `timeout`. */
  async function waitForToken(signal: AbortSignal | null): Promise<string> {
    const timedOut = new AbortController()
    const finished = new AbortController()
    const stop = AbortSignal.any([timedOut.signal, closed.signal, ...(signal === null ? [] : [signal])])
    timer.sleep(timeout, finished.signal).then(
      () => timedOut.abort(failure ?? new TokenError(`there was no token within ${timeout} ms`)),
      () => {}
    )
    try {
      return await requestUntil(timer.elapsed() + timeout, stop)
    } catch (error) {
      throw stop.aborted ? stop.reason : error
    } finally {
      finished.abort()
    }
  }

  return {
    /**
     * Returns a token whose lifetime is not over. Does not check whether the token was revoked.
     * @throws TokenError at once when the issuer refuses, after `timeout` at the latest otherwise; the reason of `signal` when that aborts
     */
    async get(signal: AbortSignal | null = null): Promise<string> {
      closed.signal.throwIfAborted()
      signal?.throwIfAborted()
      return current() ?? waitForToken(signal)
    },

    /** Drops the held token, because a service has refused it. Does nothing if `token` is not the held token. */
    drop(token: string): void {
      if (held?.token !== token) return
      held = null
      retryAt = Math.max(retryAt, replacementAt + REPLACEMENT_PAUSE_MS)
      replacementAt = Math.max(retryAt, timer.elapsed())
    },

    close(): void {
      held = null
      closed.abort(new TokenError('the token client is closed'))
    }
  }
}
