/** Longer ones are not read to their end. */
const LONGEST = 2000
/** A scheme, or a parameter with its value. */
const PART = /([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]*))?|"(?:[^"\\]|\\.)*"/g

/**
 * Whether a `WWW-Authenticate` says that the token was not good, so that another one could be: a Bearer challenge with the
 * error `invalid_token` or none (RFC 6750 §3), alone or among others (RFC 9110 §11.6.1).
 */
export function refusesToken(header: string): boolean {
  const errors: (string | null)[] = []
  let bearer = false
  for (const [, name, value] of header.slice(0, LONGEST).matchAll(PART)) {
    if (name === undefined) continue
    if (value === undefined) {
      bearer = name.toLowerCase() === 'bearer'
      if (bearer) errors.push(null)
    } else if (bearer && name.toLowerCase() === 'error') {
      errors[errors.length - 1] = value.replace(/^"|"$/g, '')
    }
  }
  return errors.some((error) => error === null || error === 'invalid_token')
}
