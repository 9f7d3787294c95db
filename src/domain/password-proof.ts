import { defined } from '../defined.ts'
import { PASSWORD_BYTES_MAX } from '../limits.ts'
import type { Caller } from './caller.ts'
import type { DummyHashes } from './dummy-hashes.ts'
import { DomainError, OAuthError } from './errors.ts'
import type { Events } from './events.ts'
import type { Attempt, Guesses } from './guesses.ts'
import type { Credentials } from './model.ts'
import { normalPassword } from './passwords.ts'
import type { Hasher } from './ports/hasher.ts'
import type { Store } from './ports/store.ts'
import { usernameKey } from './usernames.ts'

/** Why a password was refused; for the log only. */
type Failure = 'wrong password' | 'no password' | 'unknown user' | 'account locked' | 'user disabled'

type Proof = { kind: 'proved'; credentials: Credentials } | { kind: 'failed'; reason: Failure }

/** The outcome of a login by password. A locked account is `wrong` too; `disabled` only comes with the correct password. */
export type LoginProof =
  | { kind: 'proved'; credentials: Credentials }
  | { kind: 'refused'; reason: 'wrong' | 'disabled' }

/** Returns a handler that rethrows an error. Calls `onThrottled` with the reason first when the error is a throttled attempt. */
const rethrow =
  (onThrottled: (reason: string) => void) =>
  (error: unknown): never => {
    if (error instanceof DomainError && error.code === 'throttled') {
      onThrottled('too many failures')
      error.isRecorded = true
    }
    throw error
  }

/** Verifies passwords. `Guesses` limits `verifyLogin` and `verifyCurrent`, but not `isCurrent`. */
export function createPasswordProof(deps: {
  store: Store
  hasher: Hasher
  guesses: Guesses
  dummyHashes: DummyHashes
  events: Events
}) {
  const { store, hasher, guesses, dummyHashes, events } = deps

  async function verify(
    credentials: Credentials | null,
    attempt: { account: string; address: string | null; password: string; dummy: string | null }
  ): Promise<Proof> {
    const { account, address, password, dummy } = attempt
    const turn = await guesses.enter(account, address)
    try {
      let counted: Attempt | undefined
      const onEntered = async () => {
        counted = await turn.count()
      }
      let isRight: boolean
      try {
        isRight = await hasher.verify(credentials?.passwordHash ?? dummy, password, {
          isKnown: turn.isKnown,
          onEntered
        })
      } catch (error) {
        await counted?.cancel()
        throw error
      }
      if (counted === undefined) throw new Error('a password was verified and the attempt was not counted')
      const { locked, fail, cancel } = counted
      const failed = async (reason: Failure): Promise<Proof> => {
        await fail()
        return { kind: 'failed', reason }
      }
      if (credentials === null) return await failed('unknown user')
      if (credentials.passwordHash === null) return await failed('no password')
      if (!isRight) return await failed('wrong password')
      if (locked) return await failed('account locked')
      if (credentials.user.disabledAt !== null) return await failed('user disabled')
      await cancel()
      return { kind: 'proved', credentials }
    } finally {
      turn.leave()
    }
  }

  /** Replaces a hash whose parameters differ from the current parameters. */
  async function upgradeHash({ user, passwordHash }: Credentials, password: string): Promise<void> {
    if (passwordHash === null || !hasher.outdated(passwordHash)) return
    try {
      await store.users.replaceHash(user.id, passwordHash, await hasher.hash(password))
    } catch (error) {
      // The service is too busy now. The next login replaces the hash.
      if (!(error instanceof DomainError)) throw error
    }
  }

  return {
    /**
     * Verifies name and password of a user who logs in. Refuses a wrong password and an unknown, locked or disabled user, and records
     * the reason. The caller must end a successful login with `Logins.finish` or `Logins.signIn`.
     * @throws OAuthError invalid_request for a text that cannot be a password; DomainError throttled
     */
    async verifyLogin(caller: Caller, login: { username: string; password: string }): Promise<LoginProof> {
      const password = normalPassword(login.password)
      if (password === null)
        throw new OAuthError('invalid_request', `A password has at most ${PASSWORD_BYTES_MAX} bytes`)
      const name = usernameKey(login.username)
      const [credentials, dummy] = await Promise.all([store.users.credentials(name), dummyHashes.of(name)])
      const user = credentials?.user ?? null
      const subject = defined({ user: user?.id, username: user?.username })
      const record = (type: 'login.failed' | 'login.throttled', reason: string) =>
        events.record({ type, caller, subject, outcome: 'failure', reason })
      const attempt = { account: user?.id ?? name, address: caller.address, password, dummy }
      const proof = await verify(credentials, attempt).catch(rethrow((reason) => record('login.throttled', reason)))
      if (proof.kind === 'failed') {
        record('login.failed', proof.reason)
        return { kind: 'refused', reason: proof.reason === 'user disabled' ? 'disabled' : 'wrong' }
      }
      await upgradeHash(proof.credentials, password)
      return proof
    },

    /**
     * Verifies the current password of a user who changes the password. Returns null for a wrong password and for a locked or disabled user.
     * @throws DomainError throttled
     */
    async verifyCurrent(
      caller: Caller,
      current: { userId: string; username: string; password: string }
    ): Promise<Credentials | null> {
      const password = normalPassword(current.password)
      const credentials = await store.users.credentials(usernameKey(current.username))
      if (password === null || credentials?.user.id !== current.userId) return null
      const subject = { user: current.userId, username: current.username }
      const record = (reason: string) =>
        events.record({ type: 'password.change_failed', caller, subject, outcome: 'failure', reason })
      const attempt = { account: current.userId, address: caller.address, password, dummy: null }
      const proof = await verify(credentials, attempt).catch(rethrow(record))
      if (proof.kind === 'proved') return proof.credentials
      record(proof.reason)
      return null
    },

    /** Returns whether a password is the current password of an enabled user. Not limited, so only for a password that no caller sent. */
    async isCurrent(username: string, password: string): Promise<boolean> {
      const credentials = await store.users.credentials(usernameKey(username))
      if (credentials === null || credentials.passwordHash === null || credentials.user.disabledAt !== null)
        return false
      return hasher.verify(credentials.passwordHash, password)
    }
  }
}

export type PasswordProof = ReturnType<typeof createPasswordProof>
