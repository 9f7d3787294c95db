/** Number of characters that are read. */
const MAX_LENGTH = 2000
/** A scheme, or a parameter with its value. */
const PART = /([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?|"(?:[^"\\]|\\.)*"/g

/**
 * Returns whether a `WWW-Authenticate` refuses the token, so that another token may be accepted: it holds a Bearer challenge with
 * the error `invalid_token` or without an error (RFC 6750 §3), alone or beside others (RFC 9110 §11.6.1).
 */
export function refusesToken(header: string): boolean {
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
