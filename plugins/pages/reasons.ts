import type { NoReturnReason } from '../../src/domain/authorization-errors.ts'
import type { InvalidReason } from '../../src/domain/errors.ts'

/** Why a request failed, for the page `error`. Each has a text that says what to do next. */
export type ErrorReason = NoReturnReason | 'not_found' | 'throttled' | 'unavailable' | 'invalid' | 'defect'

/** Why a sign-in was refused. Times are in seconds. */
export type SignInRefusal =
  | { kind: 'incomplete' }
  /** The name is unknown or the password is wrong. */
  | { kind: 'wrong' }
  /** Only after the right password. */
  | { kind: 'disabled' }
  | { kind: 'throttled'; retryAfter: number }
  | { kind: 'busy'; retryAfter: number }
  /** The form belongs to another cookie. What was typed was not checked. */
  | { kind: 'form_over' }

/** Why a change of the account was refused. */
export type FieldRefusal =
  | { kind: 'invalid'; reason: InvalidReason }
  | { kind: 'throttled'; retryAfter: number }
  | { kind: 'busy'; retryAfter: number }
