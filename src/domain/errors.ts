import { quoted } from '../token/refusal.ts'
import type { Millis } from './model.ts'

/** The error codes of RFC 6749 §5.2 and RFC 8707 §2. */
export type OAuthErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'

/**
 * A refusal with an OAuth error code. The caller gets `message` as `error_description`, so the message may hold only the characters
 * %x20-21 / %x23-5B / %x5D-7E (RFC 6749 §5.2) and must not repeat input of the caller.
 */
export class OAuthError extends Error {
  readonly code: OAuthErrorCode

  constructor(code: OAuthErrorCode, description: string) {
    super(description)
    this.name = 'OAuthError'
    this.code = code
  }
}

/** Returns the refusal of a client (RFC 6749 §5.2): the same for an unknown client, a wrong secret and a missing secret. */
export const clientRefused = (): OAuthError => new OAuthError('invalid_client', 'Client authentication failed')

export type DomainErrorCode = 'invalid' | 'forbidden' | 'not_found' | 'conflict' | 'throttled' | 'unavailable'

/** An object that the caller named and that does not exist. */
export interface Missing {
  kind: 'user' | 'role' | 'client' | 'resource' | 'session' | 'login' | 'consent' | 'key' | 'secret' | 'scope'
  name: string
  /** Some or all names that exist, to find the one that was meant. */
  names?: string[]
}

/** Why the profile or the password of a user is invalid. The account pages have a text for each in every language. */
export type InvalidReason =
  | 'password_wrong'
  | 'password_malformed'
  | 'password_long'
  | 'password_short'
  | 'password_names'
  | 'password_common'
  | 'email_invalid'
  | 'full_name_invalid'

/** A refusal for which no RFC has an error code. The caller gets `message`. */
export class DomainError extends Error {
  readonly code: DomainErrorCode
  /** The object that does not exist; for the operator. */
  readonly missing: Missing | undefined
  /** Seconds after which the same request can succeed; with `throttled` and `unavailable`. */
  readonly retryAfter: number | undefined
  /** The reason for the pages; with `invalid`. */
  readonly reason: InvalidReason | undefined
  /** Whether an event describes this refusal, so that the log needs no other line. */
  isRecorded = false

  constructor(
    code: DomainErrorCode,
    message: string,
    options: { retryAfter?: number; missing?: Missing; reason?: InvalidReason | undefined; cause?: unknown } = {}
  ) {
    super(message, { cause: options.cause })
    this.name = 'DomainError'
    this.code = code
    this.retryAfter = options.retryAfter
    this.missing = options.missing
    this.reason = options.reason
  }
}

/** Returns the refusal of invalid input. */
export const invalid = (message: string, reason?: InvalidReason): DomainError =>
  new DomainError('invalid', message, { reason })

/** Returns the refusal of a request for an object that does not exist. Its message is the same for every name. */
export const noSuch = (kind: Missing['kind'], name: string, names: string[] = []): DomainError =>
  new DomainError('not_found', `There is no such ${kind}`, { missing: { kind, name, names } })

/** Returns the refusal of input that names an object that does not exist. */
export const unknownName = (kind: Missing['kind'], name: string, names: string[] = []): DomainError =>
  new DomainError('invalid', `There is no ${kind} ${quoted(name)}`, { missing: { kind, name, names } })

/** Returns the refusal after too many attempts. @param wait milliseconds after which the caller may try again */
export const throttled = (wait: Millis, message: string): DomainError =>
  new DomainError('throttled', message, { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })

/** The refusal of work that would wait too long. It is refused before any work, changes nothing and says nothing about the caller. */
export class Overloaded extends DomainError {}

/** Returns the refusal of a caller that would wait too long for a password hash. */
export const overloaded = (wait: Millis): DomainError =>
  new Overloaded('unavailable', 'Too many logins at once', { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })

/** A problem of the installation that only its operator can repair. `message` has one line for each problem, for the operator. */
export class SetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SetupError'
  }
}

/** The refusal of a client that asks about a resource that does not name it among its introspection clients. */
export const notServed = (): DomainError =>
  new DomainError(
    'forbidden',
    'The client does not serve this resource: name the client among the introspection clients of the resource'
  )
