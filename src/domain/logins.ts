import { assertCallerWaits } from '../deadline.ts'
import type { Caller } from './caller.ts'
import type { Events } from './events.ts'
import type { Guesses } from './guesses.ts'
import type { Millis, Session } from './model.ts'
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

/** Finishes logins. */
export function createLogins({ store, guesses, events }: { store: Store; guesses: Guesses; events: Events }) {
  /** Records that a user or client was changed between the proof and the end of a login. */
  const recordChanged = (caller: Caller, { userId }: VerifiedLogin): void =>
    events.record({
      type: 'login.failed',
      caller,
      subject: { user: userId },
      outcome: 'failure',
      reason: 'user or client changed during the login'
    })

  return {
    recordChanged,

    /**
     * Finishes a login: forgives the earlier failures of the account and opens the session. Every login ends here, and nothing else
     * calls `Guesses.forgive` or opens a session.
     * @param proof `rev` is the number of the revocation log that was read together with the client
     * @returns false, and records the failure, when the user was disabled or got a new password since the proof, or the client lost a
     *   right since `rev`
     */
    async finish(
      caller: Caller,
      { login, session, rev }: { login: VerifiedLogin; session: Session; rev: number }
    ): Promise<boolean> {
      await guesses.forgive(login.userId, caller.address)
      assertCallerWaits()
      const isOpen = await store.sessions.open(caller, { session, authVersion: login.authVersion, rev })
      if (!isOpen) recordChanged(caller, login)
      return isOpen
    }
  }
}

export type Logins = ReturnType<typeof createLogins>
