import { createBootstrap } from './bootstrap.ts'
import { createClients } from './clients.ts'
import { createExchange, grants } from './grants/index.ts'
import { createGuesses } from './guesses.ts'
import { createKeyRotation } from './key-rotation.ts'
import { createKeys } from './keys.ts'
import type { Seconds, SigningAlg } from './model.ts'
import type { Clock, Hasher, Sealer, Signer, Store } from './ports.ts'
import { createRefreshTokens } from './refresh-tokens.ts'
import { createResources } from './resources.ts'
import { createRevocation } from './revocation.ts'
import { createRevocationLog } from './revocation-log.ts'
import { createRoles } from './roles.ts'
import { createScopes } from './scopes.ts'
import { createSessions } from './sessions.ts'
import { createSweeper } from './sweeper.ts'
import { createTokens } from './tokens.ts'
import { createUsers } from './users.ts'

export type Users = ReturnType<typeof createUsers>
export type Guesses = ReturnType<typeof createGuesses>
export type Clients = ReturnType<typeof createClients>
export type Scopes = ReturnType<typeof createScopes>
export type Sessions = ReturnType<typeof createSessions>
export type Tokens = ReturnType<typeof createTokens>
export type RefreshTokens = ReturnType<typeof createRefreshTokens>

/** Every rule of the service, put together from its ports. */
export function createAuth(deps: {
  store: Store
  hasher: Hasher
  signer: Signer
  sealer: Sealer
  clock: Clock
  issuer: string
  accessTokenTtl: Seconds
  signingAlg: SigningAlg
  /** After how many days keys rotate by themselves; 0 for never. */
  keyRotation: number
  /** How long others may keep the JWKS. */
  jwksMaxAge: Seconds
  refreshLeeway: Seconds
  /** Code points that a new password has at least. */
  passwordMinLength: number
  /** Whether guesses are limited. */
  throttle: boolean
  /** Whether the client of /docs may be used. */
  docs: boolean
}) {
  const { issuer } = deps
  const guesses = createGuesses(deps)
  const users = createUsers({ ...deps, guesses })
  const roles = createRoles(deps)
  const clients = createClients({ ...deps, grants })
  const scopes = createScopes(deps)
  const resources = createResources(deps)
  const refreshTokens = createRefreshTokens(deps)
  const sessions = createSessions({ ...deps, refreshTokens })
  const keys = createKeys({ ...deps, alg: deps.signingAlg })
  const tokens = createTokens({ ...deps, keys, clients, ttl: deps.accessTokenTtl })
  const exchange = createExchange({ ...deps, users, clients, scopes, sessions, tokens, refreshTokens })
  const firstStart = createBootstrap({ ...deps, users, keys, refreshTokens })
  return {
    issuer,
    users,
    roles,
    clients,
    scopes,
    resources,
    sessions,
    keys: { ...keys, ...createKeyRotation({ ...deps, keys, refreshTokens }) },
    tokens,
    revocationLog: createRevocationLog(deps),
    grants,
    exchange,
    ...createRevocation({ ...deps, users, clients, tokens, refreshTokens }),
    ...createSweeper(deps),
    ...firstStart
  }
}

export type Auth = ReturnType<typeof createAuth>
