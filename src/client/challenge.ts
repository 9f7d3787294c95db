/** Maximum number of characters to read. */
const MAX_LENGTH = 2000
/** A scheme (a name alone), a parameter (a name with its value), or a quoted string without a name, which is skipped. */
const PART = /([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?|"(?:[^"\\]|\\.)*"/g

/**
 * Returns whether a `WWW-Authenticate` header refuses the token itself, so that a new token may be accepted. This is so if one of its
 * challenges (RFC 9110 §11.6.1) is a Bearer challenge with the error `invalid_token` or without an error (RFC 6750 §3).
 */
export function refusesToken(header: string): boolean {
  /** The error of each Bearer challenge, or null. */
  const errors: (string | null)[] = []
  let isBearer = false
  for (const [, name, value] of header.slice(0, MAX_LENGTH).matchAll(PART)) {
    if (name === undefined) continue
    if (value === undefined) {
      isBearer = name.toLowerCase() === 'bearer'
      if (isBearer) errors.push(null)
    } else if (isBearer && name.toLowerCase() === 'error') {
      errors[errors.length - 1] = value.replace(/^"|"$/g, '')
    }
  }
  return errors.some((error) => error === null || error === 'invalid_token')
}
