import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { assertCallerWaits } from '../deadline.ts'
import type { Config } from '../settings.ts'
import type { Caller } from './caller.ts'
import { sha256 } from './client-authentication.ts'
import { noSuch } from './errors.ts'
import type { Events } from './events.ts'
import type { Guesses } from './guesses.ts'
import type { Millis, Session } from './model.ts'
import { type Paged, paged } from './pages.ts'
import type { Clock } from './ports/clock.ts'
import type { Login } from './ports/logins.ts'
import type { Page } from './ports/page.ts'
import type { Store } from './ports/store.ts'

/** A user who proved who they are, in one or more steps. */
export interface VerifiedLogin {
  userId: string
  /** The `authVersion` of the credentials when they were verified. */
  authVersion: number
  authAt: Millis
  /** How the user was authenticated: values of RFC 8176. */
  amr: string[]
}

/** Finishes logins: of requests for tokens, and of browsers, which a cookie remembers. */
export function createLogins(deps: {
  store: Store
  guesses: Guesses
  events: Events
  clock: Clock
  settings: Pick<Config, 'loginIdleTtl' | 'loginAbsoluteTtl'>
}) {
  const { store, guesses, events, clock, settings } = deps
  const [idleTtl, absoluteTtl] = [settings.loginIdleTtl * 1000, settings.loginAbsoluteTtl * 1000]

  /** Records that a user or client was changed between the proof and the end of a login. */
  const recordChanged = (caller: Caller, { userId }: VerifiedLogin): void =>
    events.record({
      type: 'login.failed',
      caller,
      subject: { user: userId },
      outcome: 'failure',
      reason: 'user or client changed during the login'
    })

  /** Forgives the earlier failures of the account. Every login ends here, and nothing else calls `Guesses.forgive`. */
  async function forgive(caller: Caller, { userId }: VerifiedLogin): Promise<void> {
    await guesses.forgive(userId, caller.address)
    assertCallerWaits()
  }

  return {
    recordChanged,

    /**
     * Finishes a login at the token endpoint: forgives the earlier failures of the account and opens the session.
     * @param opening `rev` is the number of the revocation log that was read together with the client
     * @returns false, and records the failure, when the user was disabled or got a new password since the proof, or the client lost a
     *   right since `rev`
     */
    async finish(
      caller: Caller,
      { login, session, rev }: { login: VerifiedLogin; session: Session; rev: number }
    ): Promise<boolean> {
      await forgive(caller, login)
      const isOpen = await store.sessions.open(caller, { session, authVersion: login.authVersion, rev })
      if (!isOpen) recordChanged(caller, login)
      return isOpen
    },

    /**
     * Finishes a login in a browser: forgives the earlier failures of the account and opens the login. The token is random and new,
     * so a cookie that was planted before the login is worth nothing.
     * @param replaces the id of the login of the same user and browser that ends, because the user has signed in again
     * @returns null, and records the failure, when the user was disabled or got a new password since the proof
     */
    async signIn(
      caller: Caller,
      { login: verified, replaces }: { login: VerifiedLogin; replaces: string | null }
    ): Promise<{ login: Login; token: string } | null> {
      await forgive(caller, verified)
      const now = clock.now()
      const token = randomBytes(32).toString('base64url')
      const login: Login = {
        ...verified,
        id: randomUUIDv7(),
        lastUsedAt: now,
        idleExpiresAt: now + Math.min(idleTtl, absoluteTtl),
        expiresAt: now + absoluteTtl,
        address: caller.address,
        userAgent: caller.userAgent
      }
      if (await store.logins.open(caller, { login, tokenHash: sha256(token), replaces })) return { login, token }
      recordChanged(caller, verified)
      return null
    },

    /** Returns the active login of a token of a cookie; null for any other text. */
    use: (token: string): Promise<Login | null> => store.logins.use(sha256(token), { now: clock.now(), idleTtl }),

    /** Returns one page of the active logins of a user, oldest first. */
    list: (userId: string, page: Page): Promise<Paged<Login>> =>
      paged(
        page,
        (login) => login.id,
        (rows) => store.logins.list(userId, rows, clock.now())
      ),

    /**
     * Ends a login with what it opened at first-party clients, and lets clients know that asked for it (OpenID Connect Back-Channel
     * Logout 1.0).
     * @throws DomainError not_found, also for a login of another user
     */
    async end(caller: Caller, { id, userId }: { id: string; userId: string }): Promise<void> {
      if (!(await store.logins.end(caller, { id, userId, now: clock.now() }))) throw noSuch('login', id)
    },

    /**
     * Redeems the code of a login in a browser: opens the session. The failures of the account were forgiven at the login.
     * @returns false when the code was redeemed before, which ends its session, or user, login or client changed since
     */
    async redeem(
      caller: Caller,
      { codeHash, login, session, rev }: { codeHash: string; login: VerifiedLogin; session: Session; rev: number }
    ): Promise<boolean> {
      assertCallerWaits()
      const redemption = { codeHash, session, authVersion: login.authVersion, rev, now: clock.now() }
      const outcome = await store.authorizations.redeem(caller, redemption)
      if (outcome === 'refused') recordChanged(caller, login)
      return outcome === 'opened'
    }
  }
}

export type Logins = ReturnType<typeof createLogins>
