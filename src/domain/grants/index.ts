import type { Config } from '../../settings.ts'
import type { Events } from '../events.ts'
import type { PasswordProof } from '../password-proof.ts'
import type { Clock } from '../ports/clock.ts'
import type { Store } from '../ports/store.ts'
import type { RefreshTokens } from '../refresh-tokens.ts'
import { createAuthorizationCodeGrant } from './authorization-code.ts'
import { createClientCredentialsGrant } from './client-credentials.ts'
import type { Grant } from './grant.ts'
import { createPasswordGrant } from './password.ts'
import { createRefreshTokenGrant } from './refresh-token.ts'

/** Creates every grant. Form fields, metadata and documentation are generated from this list. */
export const createGrants = (deps: {
  store: Store
  passwordProof: PasswordProof
  refreshTokens: RefreshTokens
  events: Events
  clock: Clock
  settings: Config
}): Grant[] => [
  createAuthorizationCodeGrant(deps),
  createPasswordGrant(deps),
  createRefreshTokenGrant(deps),
  createClientCredentialsGrant()
]
