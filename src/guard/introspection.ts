import type { Principal } from './core.ts'
import type { createAuthentication } from './credentials.ts'
import { UnavailableError } from './errors.ts'
import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'

const TIMEOUT_MS = 3000
const MAX_BYTES = 65_536

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/**
 * Asks the issuer about a token that is good by itself (RFC 7662): what is left of it at this instant. Nothing of the answer
 * is kept.
 */
export function createIntrospection(deps: {
  metadata: ReturnType<typeof createMetadata>
  authentication: ReturnType<typeof createAuthentication>
  fetch: Fetch
}) {
  const { metadata, authentication, fetch } = deps

  async function ask(token: string): Promise<unknown> {
    const introspectionEndpoint = await metadata.endpoint('introspectionEndpoint')
    const { headers, form } = authentication()
    const { body } = await requestJson(fetch, introspectionEndpoint, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ token, token_type_hint: 'access_token', ...form }).toString(),
      timeout: TIMEOUT_MS,
      maxBytes: MAX_BYTES
    })
    return body
  }

  /**
   * @param principal whom the token speaks for by what it says itself; null for one that is not good
   * @throws UnavailableError when the issuer does not say
   */
  return async (token: string, principal: Principal | null): Promise<Principal | null> => {
    if (principal === null) return null
    const answer = await ask(token).catch((cause: unknown) => {
      throw new UnavailableError('The issuer does not say whether the token is good', cause)
    })
    const { active, sub, scope, roles = [] } = (answer ?? {}) as Record<string, unknown>
    if (active === false) return null
    if (active !== true || sub !== principal.sub || typeof scope !== 'string' || !isTexts(roles))
      throw new UnavailableError('The issuer does not say whether the token is good')
    return {
      ...principal,
      // What is left of the token, and never more.
      scopes: principal.scopes.filter((each) => scope.split(' ').includes(each)),
      roles
    }
  }
}
