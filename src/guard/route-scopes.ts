import { didYouMean } from '../similar.ts'
import { type Fetch, requestJson } from './http.ts'
import type { createMetadata } from './metadata.ts'
import type { Timer } from './timer.ts'

const TIMEOUT_MS = 5000
const MAX_BYTES = 65_536

/** The names of the routes that require a scope, by scope. */
export type ScopeUses = ReadonlyMap<string, readonly string[]>

/**
 * Compares the scopes of the routes with those that the issuer has for this service. Returns a warning for each scope that no token for
 * this service can have. Returns none when the issuer does not offer its scopes.
 * @throws Error when the issuer gives no valid response
 */
export async function findUnknownScopes(deps: {
  metadata: ReturnType<typeof createMetadata>
  /** Adds the access token of the client. */
  fetch: Fetch
  timer: Timer
  issuer: string
  audiences: readonly string[]
  uses: ScopeUses
}): Promise<string[]> {
  const { metadata, fetch, timer, issuer, audiences, uses } = deps
  const { resourceScopes: endpoint } = await metadata.get()
  if (endpoint === null) return []

  async function scopesOf(audience: string): Promise<unknown[]> {
    const url = `${endpoint}?resource=${encodeURIComponent(audience)}`
    const { body } = await requestJson(fetch, url, { timeout: TIMEOUT_MS, timer, maxBytes: MAX_BYTES })
    const { scopes } = (body ?? {}) as { scopes?: unknown }
    if (!Array.isArray(scopes)) throw new Error('the response has no scopes')
    return scopes
  }
  const known = (await Promise.all(audiences.map(scopesOf))).flat().filter((scope) => typeof scope === 'string')
  return [...uses]
    .filter(([scope]) => !known.includes(scope))
    .map(
      ([scope, routes]) =>
        `${routes.join(', ')} requires the scope ${JSON.stringify(scope)}, which ${issuer} does not have for this service${didYouMean(scope, known)}`
    )
}
