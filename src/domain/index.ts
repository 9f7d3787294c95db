import type { Config } from '../settings.ts'
import { createAccessTokens } from './access-tokens.ts'
import { createAuthorizationRequests } from './authorization-requests.ts'
import { createAuthorizations } from './authorizations.ts'
import { createBackchannelLogout } from './backchannel-logout.ts'
import { createClientAuthentication } from './client-authentication.ts'
import { createClients } from './clients.ts'
import { createConsents } from './consents.ts'
import { createDummyHashes } from './dummy-hashes.ts'
import type { Events } from './events.ts'
import { createExchange } from './exchange.ts'
import { createExpiry } from './expiry.ts'
import { createGrants } from './grants/index.ts'
import { createGuesses } from './guesses.ts'
import { createIdTokens } from './id-tokens.ts'
import { createIntrospection } from './introspection.ts'
import { createKeyChains } from './key-chains.ts'
import { createKeyRotation } from './key-rotation.ts'
import { createKeys } from './keys.ts'
import { createLogins } from './logins.ts'
import { createLogouts } from './logouts.ts'
import { createPasswordProof } from './password-proof.ts'
import { createPlaces } from './places.ts'
import type { Clock } from './ports/clock.ts'
import type { Hasher } from './ports/hasher.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'
import { createRefreshTokens } from './refresh-tokens.ts'
import { createResources } from './resources.ts'
import { createRevocation } from './revocation.ts'
import { createRevocationLog } from './revocation-log.ts'
import { createRevokeEverything } from './revoke-everything.ts'
import { createRoles } from './roles.ts'
import { createScopes } from './scopes.ts'
import { createSessions } from './sessions.ts'
import { createSetup } from './setup.ts'
import { createSignIn } from './sign-in.ts'
import { createUsers } from './users.ts'

/** Builds the domain, which holds every rule of the service, from its ports. A module gets only modules that are created above it. */
export function createAuth(ports: {
  store: Store
  hasher: Hasher
  signer: Signer
  sealer: Sealer
  events: Events
  clock: Clock
  settings: Config
}) {
  const guesses = createGuesses(ports)
  const dummyHashes = createDummyHashes(ports)
  const passwordProof = createPasswordProof({ ...ports, guesses, dummyHashes })
  const logins = createLogins({ ...ports, guesses })
  const users = createUsers({ ...ports, guesses, passwordProof })
  const refreshTokens = createRefreshTokens(ports)
  const sessions = createSessions({ ...ports, refreshTokens })
  const scopes = createScopes(ports)
  const keys = createKeys(ports)
  const keyChains = createKeyChains({ ...ports, keys })
  const accessTokens = createAccessTokens({ ...ports, keys })
  const idTokens = createIdTokens({ ...ports, keys, keyChains })
  const grants = createGrants({ ...ports, passwordProof, refreshTokens })
  const clients = createClients({ ...ports, grants, keyChains })
  const clientAuthentication = createClientAuthentication(ports)
  const authorizationRequests = createAuthorizationRequests({
    clients,
    userOfIdToken: async (token) => (await idTokens.readHint(token))?.userId ?? null
  })
  const authorizations = createAuthorizations({ ...ports, clients, scopes })
  return {
    issuer: ports.settings.issuer,
    users,
    passwordProof,
    roles: createRoles(ports),
    clients,
    clientAuthentication,
    logins,
    logouts: createLogouts({ clients, idTokens }),
    authorizationRequests,
    authorizations,
    consents: createConsents(ports),
    signIn: createSignIn({ ...ports, authorizationRequests, authorizations, passwordProof, logins }),
    scopes,
    resources: createResources(ports),
    sessions,
    refreshTokens,
    keys: { ...keys, ...createKeyRotation({ ...ports, keys, keyChains, refreshTokens }) },
    places: createPlaces(ports),
    accessTokens,
    idTokens,
    revocationLog: createRevocationLog(ports),
    grants,
    exchange: createExchange({
      ...ports,
      grants,
      clientAuthentication,
      scopes,
      sessions,
      logins,
      accessTokens,
      idTokens
    }),
    ...createRevocation({ ...ports, accessTokens, refreshTokens }),
    ...createIntrospection({ ...ports, clients, accessTokens, refreshTokens }),
    ...createBackchannelLogout({ ...ports, clients, idTokens }),
    ...createExpiry(ports),
    ...createRevokeEverything({ ...ports, keys, keyChains, refreshTokens }),
    ...createSetup({ ...ports, users, keys, refreshTokens })
  }
}

export type Auth = ReturnType<typeof createAuth>
