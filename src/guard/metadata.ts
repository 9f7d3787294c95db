import { isHostAndPort } from '../absolute-uri.ts'
import { METADATA_BYTES_MAX } from '../limits.ts'
import { isLoopback } from '../loopback.ts'
import { quoted } from '../token/refusal.ts'
import { type Fetch, requestJson, UpstreamError } from './http.ts'
import type { Timer } from './timer.ts'

/** URLs of the issuer's endpoints, all on its origin, or all below `internalUrl`. */
export interface Metadata {
  tokenEndpoint: string
  jwksUri: string
  /** RFC 6749 §3.1; null when the issuer has none. */
  authorizationEndpoint: string | null
  /** RFC 7662; null when the issuer has none. */
  introspectionEndpoint: string | null
  /** Latchkey's revocation log; null when the issuer has none. */
  revocations: string | null
  /** Latchkey's list of the scopes of one resource; null when the issuer has none. */
  resourceScopes: string | null
}

const TIMEOUT = 5000
/** Milliseconds from a failed request to the next. */
const COOLDOWN = 1000
/** The optional endpoints that `endpoint` returns, with their names for errors. */
const OPTIONAL = {
  authorizationEndpoint: 'authorization endpoint',
  introspectionEndpoint: 'introspection endpoint',
  revocations: 'revocation log'
} as const

/** Returns whether tokens of this URL cross a network without encryption: plain http to a host that is not a loopback host. */
export function isInsecure(issuer: string): boolean {
  const { protocol, hostname } = new URL(issuer)
  return protocol === 'http:' && !isLoopback(hostname)
}

/** Returns the warning about an issuer for which `isInsecure` is true. */
export const insecureWarning = (issuer: string): string =>
  `${issuer} is plain http on a host that is not loopback: everyone on the network can read tokens and passwords. Use https`

/**
 * Returns which part of a value is wrong for an issuer; null for a valid issuer: an https URL, or an http URL on a loopback host, without
 * query, fragment, credentials and trailing slash. Repeats nothing of a value with credentials.
 * @param insecureHttp whether an http URL on any host is valid
 */
export function faultOfIssuer(
  text: unknown,
  { insecureHttp = false }: { insecureHttp?: boolean | undefined } = {}
): string | null {
  if (typeof text !== 'string') return 'it is not a text'
  if (isHostAndPort(text) || !/^\s*[a-z][a-z\d+.-]*:/i.test(text)) return 'it has no scheme'
  if (!URL.canParse(text)) return 'it is not a valid URL'
  const { protocol, username, password, href } = new URL(text)
  if (protocol !== 'https:' && protocol !== 'http:') return 'its scheme is not https'
  // A URL object does not show an empty username.
  if (username + password !== '' || /^[^/]*\/\/[^/?#]*@/.test(text)) return 'it has a username or a password'
  if (protocol === 'http:' && !insecureHttp && isInsecure(text)) return 'it is http on a host that is not loopback'
  if (text.includes('?')) return 'it has a query'
  if (text.includes('#')) return 'it has a fragment'
  if (text.endsWith('/')) return 'it ends with a slash'
  const normal = href.replace(/\/$/, '')
  return normal === text ? null : `its normal form is ${normal}`
}

/** Returns whether a value is a valid issuer, as `faultOfIssuer` says. */
export const isIssuer = (text: unknown, options: { insecureHttp?: boolean | undefined } = {}): text is string =>
  faultOfIssuer(text, options) === null

/**
 * Holds the metadata of an issuer (RFC 8414). Requests it at the first `get()` and keeps it when it is valid. Concurrent callers
 * share one request. After a failure `get()` throws the same error for one second before the next request.
 * @throws TypeError when the issuer is not valid
 */
export function createMetadata(options: {
  issuer: string
  insecureHttp?: boolean | undefined
  internalUrl?: string | undefined
  fetch: Fetch
  timer: Timer
}) {
  const { issuer, fetch, timer, insecureHttp, internalUrl = issuer } = options
  const fault = faultOfIssuer(issuer, { insecureHttp })
  if (fault !== null)
    throw new TypeError(
      `issuer must be an https URL without query, fragment, credentials and trailing slash (http on a loopback host, or with insecureHttp: true); ${fault}`
    )
  const faultOfInternal = faultOfIssuer(internalUrl, { insecureHttp: true })
  if (faultOfInternal !== null)
    throw new TypeError(
      `internalUrl must be an http or https URL without query, fragment, credentials and trailing slash: the address at which the service reaches the issuer; ${faultOfInternal}`
    )
  const { origin } = new URL(issuer)
  const reached = new URL(internalUrl)
  const url = `${reached.origin}/.well-known/oauth-authorization-server${reached.pathname.replace(/\/$/, '')}`
  let latest: Promise<Metadata> | null = null
  let retryAt = 0

  async function load(): Promise<Metadata> {
    const { body } = await requestJson(fetch, url, { timeout: TIMEOUT, timer, maxBytes: METADATA_BYTES_MAX })
    const invalid = (problem: string) => new UpstreamError(`the metadata of ${issuer} ${problem}`, { status: 200 })
    if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid('is not an object')
    const metadata = new Map(Object.entries(body))
    // RFC 8414 §3.3
    const named = metadata.get('issuer')
    if (typeof named !== 'string') throw invalid('names no issuer')
    if (named !== issuer) throw invalid(`names another issuer: ${quoted(named)}`)

    function optional(member: string): string | null {
      const endpoint = metadata.get(member)
      if (endpoint === undefined) return null
      if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) throw invalid(`names no URL as ${member}`)
      const parsed = new URL(endpoint)
      if (parsed.origin !== origin) throw invalid(`names another origin as ${member}`)
      if (parsed.username !== '' || parsed.password !== '' || parsed.hash !== '')
        throw invalid(`has credentials or a fragment in ${member}`)
      if (internalUrl === issuer) return endpoint
      if (!parsed.href.startsWith(`${issuer}/`))
        throw invalid(`has a ${member} that does not begin with the issuer, so internalUrl does not lead to it`)
      return internalUrl + parsed.href.slice(issuer.length)
    }
    function required(member: string): string {
      const endpoint = optional(member)
      if (endpoint === null) throw invalid(`has no ${member}`)
      return endpoint
    }

    return {
      tokenEndpoint: required('token_endpoint'),
      jwksUri: required('jwks_uri'),
      authorizationEndpoint: optional('authorization_endpoint'),
      introspectionEndpoint: optional('introspection_endpoint'),
      revocations: optional('latchkey_revocations_endpoint'),
      resourceScopes: optional('latchkey_resource_scopes_endpoint')
    }
  }

  /** Returns the metadata. @throws UpstreamError when there is none that is valid */
  function get(): Promise<Metadata> {
    if (latest === null || timer.elapsed() >= retryAt) {
      retryAt = Number.POSITIVE_INFINITY
      latest = load()
      latest.catch(() => (retryAt = timer.elapsed() + COOLDOWN))
    }
    return latest
  }

  return {
    get,

    /**
     * Returns the URL of an optional endpoint. When the endpoint is missing the metadata is requested again after one second, because
     * the issuer may have been updated.
     * @throws UpstreamError as `get()` does; Error when the endpoint is missing
     */
    async endpoint(name: keyof typeof OPTIONAL): Promise<string> {
      const url = (await get())[name]
      if (url !== null) return url
      retryAt = Math.min(retryAt, timer.elapsed() + COOLDOWN)
      throw new Error(`the issuer has no ${OPTIONAL[name]}`)
    }
  }
}
