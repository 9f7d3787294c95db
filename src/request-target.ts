/** Returns where the path of a request target begins: after scheme and authority, if it has them (RFC 9112 §3.2.2). */
function startOfPath(target: string): number {
  if (target.startsWith('/')) return 0
  const scheme = target.indexOf('://')
  return scheme === -1 ? 0 : endOf(target, '/?#', scheme + 3)
}

/** Returns the index of the first of some characters, at or after an index; the length of the text without any. */
function endOf(text: string, characters: string, from: number): number {
  let index = from
  while (index < text.length && !characters.includes(text[index] as string)) index++
  return index
}

/**
 * Returns the path of a request target, as it was sent: without scheme, authority, query and fragment. All of these may hold secrets. A
 * fragment is not allowed in a request (RFC 9112 §3.2), but Node.js accepts it.
 */
export function pathOf(target: string): string {
  const start = startOfPath(target)
  return target.slice(start, endOf(target, '?#', start)) || '/'
}

/** Returns the query of a request target as Fastify reads it: everything after the first `?` or `#`; empty without one. */
export const queryOf = (target: string): string => target.slice(endOf(target, '?#', startOfPath(target)) + 1)

/**
 * Returns the path of a request target for the log: only the part before the first character with which a sender may have begun a
 * parameter, also a percent-encoded one. So `/token%3Fpassword=…` and `/token;password=…` stand in the log as `/token`.
 */
export function loggedPath(target: string): string {
  const path = pathOf(target)
  return path.slice(0, endOf(path, '%;&=', 0)) || '/'
}
