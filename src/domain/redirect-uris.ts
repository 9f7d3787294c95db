import { isHostAndPort } from '../absolute-uri.ts'
import { REDIRECT_URI_MAX } from '../limits.ts'
import { isLoopback } from '../loopback.ts'
import type { ApplicationType, Client } from './model.ts'

/** The characters of a URI, with complete percent-encodings (RFC 3986 §2). Software disagrees about all others, such as a backslash. */
const URI_TEXT = /^(?:[\w\-.~:/?#[\]@!$&'()*+,;=]|%[0-9a-f]{2})+$/i
/** A host follows the scheme at once: URL parsers repair other texts in different ways. */
const WEB_URI = /^https?:\/\/[^/?#]/i
/** Names of DNS and IP addresses. URL parsers also accept others, and a host with a semicolon would end a directive of a page's CSP. */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/
const CREDENTIALS = /^[^/?#]+:\/\/[^/?#]*@/
/** Parameters of authorization responses. A second one in the redirect URI would make a response ambiguous. */
const RESPONSE_PARAMETERS = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri']

/** Returns why a text is no absolute URI that a browser and all other software read in the same way; null when it is one. */
function textFault(text: string): string | null {
  if (text.length > REDIRECT_URI_MAX) return `it has more than ${REDIRECT_URI_MAX} characters`
  if (isHostAndPort(text)) return 'the scheme is missing: write http://localhost:5173/callback, for example'
  if (!URI_TEXT.test(text) || !URL.canParse(text))
    return 'it must be an absolute URI such as https://app.example/callback'
  if (text.includes('#')) return 'it must not have a fragment'
  if (CREDENTIALS.test(text)) return 'it must not have a user name or a password'
  return null
}

/** Returns why a text may not be the address of a page or an endpoint of a client: https, or http on a loopback host. Null when it may. */
export function webUriFault(text: string): string | null {
  const fault = textFault(text)
  if (fault !== null) return fault
  const { protocol, hostname } = new URL(text)
  if (!WEB_URI.test(text)) return 'it must begin with https://, or with http:// and a loopback host'
  if (protocol === 'http:' && !isLoopback(hostname)) return 'http is for loopback hosts only: use https'
  if (hostname.includes('*')) return 'a host has no wildcard: register each URI'
  if (!HOST.test(hostname)) return 'the host has a character that no host name has'
  return null
}

/**
 * Returns why a text may not be a redirect URI (RFC 8252 §7, RFC 9700 §4.1.1): https, http on a loopback host, or for a native app a
 * private-use scheme, which has a dot. A scheme without a dot may be one that a browser runs as code. Null when it may be one.
 */
export function redirectUriFault(text: string, applicationType: ApplicationType): string | null {
  const fault = textFault(text)
  if (fault !== null) return fault
  const { protocol, searchParams } = new URL(text)
  const parameter = RESPONSE_PARAMETERS.find((name) => searchParams.has(name))
  if (parameter !== undefined) return `it must not have the parameter ${parameter}, which a response adds`
  if (protocol === 'https:' || protocol === 'http:') return webUriFault(text)
  if (!protocol.includes('.'))
    return 'it must begin with https://, with http:// and a loopback host, or for a native app with a scheme with a dot'
  return applicationType === 'native' ? null : 'a scheme with a dot is for clients of the type native'
}

const LOOPBACK_WITH_PORT = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]))(?::\d{1,5})?(?=[/?]|$)/

/**
 * Returns whether a redirect URI of a request is one that the client registered: character by character (RFC 9700 §2.1). Only for a native
 * app the port of a loopback address is free, because the app gets it from its system (RFC 8252 §7.3).
 */
export function isRegistered(
  uri: string,
  { redirectUris, applicationType }: Pick<Client, 'redirectUris' | 'applicationType'>
): boolean {
  if (redirectUris.includes(uri)) return true
  const withoutPort = (text: string) => text.replace(LOOPBACK_WITH_PORT, '$1')
  return (
    applicationType === 'native' &&
    LOOPBACK_WITH_PORT.test(uri) &&
    URL.canParse(uri) &&
    redirectUris.some((each) => LOOPBACK_WITH_PORT.test(each) && withoutPort(each) === withoutPort(uri))
  )
}
