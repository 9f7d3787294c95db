import { isUtf8 } from 'node:buffer'
import { TOKEN_BYTES_MAX } from '../limits.ts'

/** The `typ` of access tokens (RFC 9068 §2.1). */
export const TYP = 'at+jwt'

/** An access token before its signature is verified. */
export interface ParsedToken {
  alg: string
  kid: string
  claims: Record<string, unknown>
}

/** Returns the JSON object of a segment that is canonical base64url and UTF-8; else null. JSON may hold white space. */
export function looseObject(segment: string): Record<string, unknown> | null {
  const bytes = Buffer.from(segment, 'base64url')
  if (bytes.toString('base64url') !== segment || !isUtf8(bytes)) return null
  try {
    const value = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/**
 * Returns the JSON object of a segment if the segment is exactly the text that `JSON.stringify` writes; else null. So there are no
 * repeated members and no white space, and every number has exactly one form.
 */
function strictObject(segment: string): Record<string, unknown> | null {
  const value = looseObject(segment)
  return value !== null && Buffer.from(JSON.stringify(value)).toString('base64url') === segment ? value : null
}

/** Returns whether the signature is not empty and is canonical base64url. */
export const isCanonical = (signature: string): boolean =>
  signature !== '' && Buffer.from(signature, 'base64url').toString('base64url') === signature

/** Parses a compact JWS with the header of an access token of Latchkey (RFC 7515 §3.1, RFC 8725 §3). Returns null for any other text. */
export function parse(token: string): ParsedToken | null {
  if (token.length > TOKEN_BYTES_MAX) return null
  const [header = '', payload = '', signature = '', ...more] = token.split('.')
  if (more.length > 0 || !isCanonical(signature)) return null
  const { alg, typ, kid, ...others } = strictObject(header) ?? {}
  if (typ !== TYP || typeof alg !== 'string' || typeof kid !== 'string' || !/^[\w-]{43}$/.test(kid)) return null
  const claims = strictObject(payload)
  return claims === null || Object.keys(others).length > 0 ? null : { alg, kid, claims }
}

/** Returns the last segment of a token. */
export const signatureOf = (token: string): string => token.slice(token.lastIndexOf('.') + 1)
