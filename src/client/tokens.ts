import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../guard/clock.ts'
import { TokenError } from './errors.ts'

/** What the issuer gave. */
export interface Grant {
  token: string
  /** Seconds. */
  lifetime: number
}

/** Milliseconds from a failure that may pass to the next request: the first, twice that, and so on up to the last; and half more by chance. */
const FIRST_PAUSE = 100
const LAST_PAUSE = 1000
/** Nobody is told to wait for longer: milliseconds. */
const LONGEST_PAUSE = 60_000
/** Milliseconds from one token that was refused to the next, when that is refused too. */
const DROP_PAUSE = 1000
/** A token is renewed when so much of its life is over, by chance within these. */
const RENEW_FROM = 0.75
const RENEW_TO = 0.9
/** So much before its end it is not given out any more, so that it is still good on arrival: of its life, and milliseconds at most. */
const MARGIN = 0.1
const LONGEST_MARGIN = 5000

/** Nobody answered, too many asked, or the issuer is at fault. */
const mayPass = ({ status }: TokenError): boolean => status === null || status === 429 || status >= 500

function pauseAfter(failure: TokenError, before: number): number {
  const { retryAfter } = failure
  const pause = mayPass(failure)
    ? Math.min(LAST_PAUSE, FIRST_PAUSE * 2 ** before) * (1 + Math.random() / 2)
    : LAST_PAUSE
  return Math.min(LONGEST_PAUSE, Math.max(pause, (retryAfter ?? 0) * 1000))
}

function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const ended = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  return Promise.race([promise, ended])
}

/**
 * The current token and how there comes to be a next one: never two requests at a time, early renewal beside the calls,
 * patience with failures that pass. How old a token is goes by `clock`; pauses are real time.
 */
export function createTokens(deps: {
  /** One request. @throws TokenError */
  ask: (signal: AbortSignal) => Promise<Grant>
  clock: Clock
  /** Milliseconds for which a caller waits at most. */
  timeout: number
}) {
  const { ask, clock, timeout } = deps
  let held: { token: string; renewAt: number; goodUntil: number } | null = null
  let underWay: Promise<string | null> | null = null
  /** The last one, until a request succeeds. */
  let failure: TokenError | null = null
  let failures = 0
  /** In the time of `performance.now()`, which nobody sets. */
  let askAfter = 0
  let droppedAt = Number.NEGATIVE_INFINITY
  const closed = new AbortController()

  /** Null after a failure. */
  async function renew(): Promise<string | null> {
    const askedAt = clock.now()
    try {
      const { token, lifetime } = await ask(closed.signal)
      const life = lifetime * 1000
      held = {
        token,
        renewAt: askedAt + life * (RENEW_FROM + Math.random() * (RENEW_TO - RENEW_FROM)),
        goodUntil: askedAt + life - Math.min(life * MARGIN, LONGEST_MARGIN)
      }
      failure = null
      failures = 0
      return token
    } catch (error) {
      failure = error as TokenError
      askAfter = performance.now() + pauseAfter(failure, failures++)
      return null
    } finally {
      underWay = null
    }
  }
  const renewal = () => (underWay ??= renew())

  function current(): string | null {
    const now = clock.now()
    if (held === null || now >= held.goodUntil) return null
    if (now >= held.renewAt && performance.now() >= askAfter) void renewal()
    return held.token
  }

  async function wait(signal: AbortSignal | null): Promise<string> {
    const late = new AbortController()
    const until = AbortSignal.any([late.signal, closed.signal, ...(signal === null ? [] : [signal])])
    const deadline = performance.now() + timeout
    const timer = setTimeout(
      () => late.abort(failure ?? new TokenError(`there was no token within ${timeout} ms`)),
      timeout
    )
    try {
      for (;;) {
        const pause = askAfter - performance.now()
        if (underWay !== null || pause <= 0) {
          const token = await within(renewal(), until)
          if (token !== null) return token
        } else {
          if (failure !== null && (!mayPass(failure) || performance.now() + pause > deadline)) throw failure
          await sleep(pause, undefined, { signal: until })
          const token = current()
          if (token !== null) return token
        }
      }
    } catch (error) {
      throw until.aborted ? until.reason : error
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    /**
     * A token that is good by its age.
     * @throws TokenError at once when the issuer refuses, else when it took too long; the reason of `signal` when that is aborted
     */
    async get(signal: AbortSignal | null = null): Promise<string> {
      closed.signal.throwIfAborted()
      signal?.throwIfAborted()
      return current() ?? wait(signal)
    },

    /** Takes back a token that a service has refused, if it is still the current one: however many were refused, one is asked for. */
    drop(token: string): void {
      if (held?.token !== token) return
      held = null
      askAfter = Math.max(askAfter, droppedAt + DROP_PAUSE)
      droppedAt = Math.max(askAfter, performance.now())
    },

    close(): void {
      held = null
      closed.abort(new TokenError('the token client is closed'))
    }
  }
}
