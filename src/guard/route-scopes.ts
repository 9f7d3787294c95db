import { didYouMean } from '../similar.ts'
import { type Fetch, requestJson, UpstreamError } from './http.ts'
import type { createMetadata } from './metadata.ts'
import type { Timer } from './timer.ts'

const TIMEOUT_MS = 5000
const MAX_BYTES = 65_536

/** The names of the routes that require a scope, by scope. */
export type ScopeUses = ReadonlyMap<string, readonly string[]>

/** Returns the scopes that the issuer has for a resource; null when it does not know the resource. */
async function scopesAt(endpoint: string, audience: string, deps: { fetch: Fetch; timer: Timer }) {
  const url = `${endpoint}?resource=${encodeURIComponent(audience)}`
  try {
    const { body } = await requestJson(deps.fetch, url, { timeout: TIMEOUT_MS, timer: deps.timer, maxBytes: MAX_BYTES })
    const { scopes } = (body ?? {}) as { scopes?: unknown }
    if (!Array.isArray(scopes)) throw new Error('the response has no scopes')
    return scopes.filter((scope) => typeof scope === 'string')
  } catch (error) {
    if (error instanceof UpstreamError && error.status === 404) return null
    throw error
  }
}

/**
 * Compares the scopes of the routes with those that the issuer has for this service. Returns a warning for each scope that no token for
 * this service can have, and for each audience that the issuer does not know. Returns none when the issuer does not offer its scopes.
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
  const { metadata, issuer, audiences, uses } = deps
  const { resourceScopes: endpoint } = await metadata.get()
  if (endpoint === null) return []
  const known = await Promise.all(audiences.map((audience) => scopesAt(endpoint, audience, deps)))
  const missing = audiences.filter((_audience, index) => known[index] === null)
  const warnings = missing.map(
    (audience) => `${issuer} has no resource with the identifier ${JSON.stringify(audience)}: no token is for it`
  )
  if (missing.length === audiences.length) return warnings
  const names = known.flatMap((scopes) => scopes ?? [])
  const unknown = [...uses].filter(([scope]) => !names.includes(scope))
  return [
    ...warnings,
    ...unknown.map(
      ([scope, routes]) =>
        `${routes.join(', ')} requires the scope ${JSON.stringify(scope)}, which ${issuer} does not have for this service${didYouMean(scope, names)}`
    )
  ]
}
