/** Scheme and authority of a request target in absolute form (RFC 9112 §3.2.2). The authority may hold credentials. */
const AUTHORITY = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i

/**
 * Returns the path of a request target, as it was sent: without scheme, authority, query and fragment. Everything else may hold
 * secrets. A fragment is not allowed in a request (RFC 9112 §3.2), but Node.js accepts it.
 */
export const pathOf = (target: string): string => target.replace(AUTHORITY, '').split(/[?#]/, 1)[0] || '/'

/** Returns the query of a request target with everything after it; empty without a query. */
export const queryOf = (target: string): string => /[?#](.*)/s.exec(target)?.[1] ?? ''
