import { REDIRECT_URI_MAX } from '../limits.ts'
import { isLoopback } from '../loopback.ts'
import type { ApplicationType } from './model.ts'

/** Schemes that a browser or a desktop does not hand to an app, or runs as code. A private-use scheme has a dot, so these have none. */
const isPrivateUse = (protocol: string): boolean => protocol.includes('.')

/**
 * Returns whether a text may be a redirect URI (RFC 8252 §7, RFC 9700 §4.1.1): https, http on a loopback host, or for a native app a
 * private-use scheme, which has a dot.
 */
export function isRedirectUri(text: string, applicationType: ApplicationType): boolean {
  if (text.length > REDIRECT_URI_MAX || !/^[\x21-\x7e]+$/.test(text) || !URL.canParse(text) || text.includes('#'))
    return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  if (protocol === 'http:') return isLoopback(hostname)
  return protocol === 'https:' || (applicationType === 'native' && isPrivateUse(protocol))
}

const LOOPBACK_WITH_PORT = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]))(?::\d{1,5})?(?=[/?]|$)/

/**
 * Returns whether a redirect URI of a request is one that the client registered: character by character (RFC 9700 §2.1). Only the port
 * of a loopback address is free, because a native app gets it from its system (RFC 8252 §7.3).
 */
export function isRegistered(uri: string, registered: string[]): boolean {
  if (registered.includes(uri)) return true
  const withoutPort = (text: string) => text.replace(LOOPBACK_WITH_PORT, '$1')
  return LOOPBACK_WITH_PORT.test(uri) && registered.some((each) => withoutPort(each) === withoutPort(uri))
}
