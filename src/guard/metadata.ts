import { type Fetch, requestJson, UpstreamError } from './http.ts'

/** Where an issuer's endpoints are. All of them have its origin. */
export interface Metadata {
  tokenEndpoint: string
  jwksUri: string
  /** RFC 7662; null where there is none. */
  introspectionEndpoint: string | null
  /** Latchkey's revocation log; null where there is none. */
  revocations: string | null
}

const TIMEOUT = 5000
const MAX_BYTES = 65_536
/** Milliseconds from one try that failed to the next. */
const COOLDOWN = 1000
/** What an issuer may be without. */
const OPTIONAL = { introspectionEndpoint: 'introspection endpoint', revocations: 'revocation log' } as const
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/**
 * Whether it is an issuer as it stands in `iss`: without query, fragment, credentials and trailing slash; over http only on a
 * loopback host.
 */
export function isIssuer(text: unknown): text is string {
  if (typeof text !== 'string' || !URL.canParse(text)) return false
  const { protocol, hostname, username, password, href } = new URL(text)
  const safe = protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))
  return safe && username === '' && password === '' && !/[?#]/.test(text) && href.replace(/\/$/, '') === text
}

/**
 * The metadata of an issuer (RFC 8414), asked for at the first `get()` and kept when it is good. Callers at the same time share
 * one request. After a failure `get()` throws the same error for one second before it asks again; that second is a real one,
 * whatever clock the rest goes by.
 * @throws TypeError when the issuer cannot be one
 */
export function createMetadata({ issuer, fetch }: { issuer: string; fetch: Fetch }) {
  if (!isIssuer(issuer))
    throw new TypeError(
      'issuer must be an https URL without query, fragment, credentials and trailing slash (http on a loopback host only)'
    )
  const { origin, pathname } = new URL(issuer)
  const url = `${origin}/.well-known/oauth-authorization-server${pathname.replace(/\/$/, '')}`
  let latest: Promise<Metadata> | null = null
  let askAfter = 0

  async function load(): Promise<Metadata> {
    const { body } = await requestJson(fetch, url, { timeout: TIMEOUT, maxBytes: MAX_BYTES })
    const refuse = (problem: string) => new UpstreamError(`the metadata of ${issuer} ${problem}`, { status: 200 })
    if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refuse('is not an object')
    const metadata = new Map(Object.entries(body))
    // RFC 8414 §3.3
    if (metadata.get('issuer') !== issuer) throw refuse('names another issuer')

    function optional(member: string): string | null {
      const endpoint = metadata.get(member)
      if (endpoint === undefined) return null
      if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) throw refuse(`has a ${member} that is no URL`)
      const parsed = new URL(endpoint)
      if (parsed.origin !== origin) throw refuse(`has a ${member} on another origin`)
      if (parsed.username !== '' || parsed.password !== '' || parsed.hash !== '')
        throw refuse(`has a ${member} with credentials or a fragment`)
      return endpoint
    }
    function required(member: string): string {
      const endpoint = optional(member)
      if (endpoint === null) throw refuse(`has no ${member}`)
      return endpoint
    }

    return {
      tokenEndpoint: required('token_endpoint'),
      jwksUri: required('jwks_uri'),
      introspectionEndpoint: optional('introspection_endpoint'),
      revocations: optional('latchkey_revocations_endpoint')
    }
  }

  /** @throws UpstreamError when there is no answer, or one that lies or cannot be used */
  function get(): Promise<Metadata> {
    if (latest === null || performance.now() >= askAfter) {
      askAfter = Number.POSITIVE_INFINITY
      latest = load()
      latest.catch(() => (askAfter = performance.now() + COOLDOWN))
    }
    return latest
  }

  return {
    get,

    /**
     * One that not every issuer has. Where it is missing the metadata are asked for again after that second: they may be those of
     * an older version.
     * @throws UpstreamError like `get()`; Error when it is missing
     */
    async endpoint(name: keyof typeof OPTIONAL): Promise<string> {
      const found = (await get())[name]
      if (found !== null) return found
      askAfter = Math.min(askAfter, performance.now() + COOLDOWN)
      throw new Error(`the issuer has no ${OPTIONAL[name]}`)
    }
  }
}
