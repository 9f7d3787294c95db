/** Where a request comes from. All members are null outside of a request. */
export interface Origin {
  address: string | null
  /** The User-Agent header, at most 256 characters. */
  userAgent: string | null
  /** The id of the request in the log. */
  requestId: string | null
}

/**
 * Who makes a change: a user, a client, an operator or Latchkey itself. It is the first argument of every function whose change is
 * recorded as an event.
 * - `operator`: a person at the terminal, who may grant every role and scope
 * - `system`: Latchkey itself, on a schedule
 * - `anonymous`: a request without an authenticated user or client
 * - `client`: a client in its own name, or a client that has authenticated at an OAuth endpoint
 * - `user`: a user with an access token
 * - `login`: a user on the pages of this service, by the cookie of a login. Holds no role and no scope
 */
export type Caller = Origin &
  (
    | { kind: 'operator' }
    | { kind: 'system' }
    | { kind: 'anonymous' }
    | { kind: 'client'; id: string }
    | { kind: 'user'; id: string; clientId: string; sid: string }
    | { kind: 'login'; id: string; loginId: string }
  )

/** Returns the user of a login in a browser as a caller, with the origin of another caller. */
export const asLogin = (
  { address, userAgent, requestId }: Caller,
  { id: loginId, userId: id }: { id: string; userId: string }
): Caller => ({ kind: 'login', id, loginId, address, userAgent, requestId })

const NO_REQUEST: Origin = { address: null, userAgent: null, requestId: null }

/** The person at the terminal. */
export const OPERATOR: Caller = { kind: 'operator', ...NO_REQUEST }
/** Latchkey itself. */
export const SYSTEM: Caller = { kind: 'system', ...NO_REQUEST }
