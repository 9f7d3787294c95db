import { INTROSPECTION_BYTES_MAX } from '../limits.ts'
import type { Principal } from '../token/principal.ts'
import { type Refusal, refusal } from '../token/refusal.ts'
import { postForm } from './client-request.ts'
import type { Authenticate } from './credentials.ts'
import { UnavailableError } from './errors.ts'
import type { Fetch } from './http.ts'
import type { createMetadata } from './metadata.ts'
import type { Timer } from './timer.ts'

const TIMEOUT_MS = 3000

const INACTIVE = refusal('revoked', 'The issuer says that the token is not active')

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string')

/** Introspects tokens at the issuer (RFC 7662). Caches no response. */
export function createIntrospection(deps: {
  metadata: ReturnType<typeof createMetadata>
  authenticate: Authenticate
  fetch: Fetch
  timer: Timer
}) {
  const { metadata, authenticate, fetch, timer } = deps
  const unavailable = (cause?: unknown) =>
    new UnavailableError('The issuer does not say whether the token is active', cause)

  async function introspect(token: string): Promise<Record<string, unknown>> {
    const endpoint = await metadata.endpoint('introspectionEndpoint')
    const { body } = await postForm(fetch, endpoint, {
      form: { token, token_type_hint: 'access_token' },
      authenticate,
      timeout: TIMEOUT_MS,
      timer,
      maxBytes: INTROSPECTION_BYTES_MAX
    })
    return (body ?? {}) as Record<string, unknown>
  }

  /**
   * Returns the principal with the scopes and roles that the token still has at this instant, or the reason why it is not active.
   * @param principal of the verified token; a token that is not valid is not sent to the issuer
   * @throws UnavailableError when the issuer gives no valid response
   */
  return async (token: string, principal: Principal | Refusal): Promise<Principal | Refusal> => {
    if (principal.kind === 'refused') return principal
    const {
      active,
      sub,
      scope,
      roles = []
    } = await introspect(token).catch((cause: unknown) => {
      throw unavailable(cause)
    })
    if (active === false) return INACTIVE
    if (active !== true || sub !== principal.sub || typeof scope !== 'string' || !isStrings(roles)) throw unavailable()
    // Never more scopes than the token has.
    return { ...principal, scopes: principal.scopes.filter((each) => scope.split(' ').includes(each)), roles }
  }
}
