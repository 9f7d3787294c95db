import { printable } from '../printable.ts'

/** The kind of a refusal. */
export type RefusalCode =
  | 'no_token'
  | 'repeated_header'
  | 'malformed'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'expired'
  | 'clock'
  | 'unknown_key'
  | 'wrong_signature'
  | 'revoked'
  | 'missing_scope'
  | 'missing_role'
  | 'not_a_user'

/** The reason why a token or a request was refused. For the operator: the caller learns only of a missing right or a repeated header. */
export interface Refusal {
  readonly kind: 'refused'
  readonly code: RefusalCode
  /** One line. Holds no token and no secret. Control characters of claims are escaped, and long claims are cut. */
  readonly message: string
}

/** Makes a refusal. It is frozen, because requests share it and hand it to functions of the service. */
export const refusal = (code: RefusalCode, message: string): Refusal =>
  Object.freeze({ kind: 'refused', code, message })

/** Number of UTF-16 units of a claim that a message shows. */
const SHOWN_MAX = 100
/** Returns a text that a stranger has chosen, for a message: quoted, escaped and cut. */
export function quoted(text: string): string {
  const shown = printable(JSON.stringify(text.slice(0, SHOWN_MAX)))
  return text.length > SHOWN_MAX ? `${shown}…` : shown
}
