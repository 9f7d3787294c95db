import './node.ts'
import { createPlugin } from './plugin.ts'
import { systemTimer } from './timer.ts'

export type { AccessTokenClaims } from '../token/claims.ts'
export type { Principal } from '../token/principal.ts'
export type { Refusal, RefusalCode } from '../token/refusal.ts'
export type { Guard, OpenGuard, TokenGuard } from './core.ts'
export type * from './declared.ts'
export { AccessError, UnavailableError } from './errors.ts'
export type { LatchkeyGuardOptions } from './options.ts'
export type { SwaggerUiOptions } from './swagger-ui.ts'
export type { GuardStatus } from './verification.ts'

/**
 * Adds guards for the routes of a Fastify service: `requireScope`, `requireRole`, `requireUser`, `publicAccess` and
 * `request.principal`, as inside Latchkey. Verifies tokens in this process with the keys of the issuer. By default it
 * follows the revocation log of the issuer. Must be registered after @fastify/swagger and before all routes.
 */
export default createPlugin(systemTimer)
