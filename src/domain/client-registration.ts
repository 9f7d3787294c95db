import {
  ACCESS_TOKEN_TTL_MAX,
  CLIENT_KEYS_MAX,
  CLIENT_LIST_MAX,
  LINE_MAX,
  LOGO_DATA_PATTERN,
  LOGO_FILE_PATTERN,
  LOGO_URI_MAX,
  SCOPE_ITEMS_MAX,
  SCOPE_PARAMETER_MAX,
  SESSION_TTL_MAX
} from '../limits.ts'
import { quoted } from '../token/refusal.ts'
import { invalid } from './errors.ts'
import type { Grant } from './grants/grant.ts'
import { isLine } from './line.ts'
import { AUTHORIZATION_CODE_GRANT, CLIENT_ONLY_SCOPES, type Client, type ClientKey, type Seconds } from './model.ts'
import type { Signer } from './ports/signer.ts'
import { redirectUriFault, webUriFault } from './redirect-uris.ts'

const LOGO_FILE = new RegExp(LOGO_FILE_PATTERN, 'u')
const LOGO_DATA = new RegExp(LOGO_DATA_PATTERN, 'u')

const unique = (list: string[]): string[] => [...new Set(list)]

/** Returns the public keys of a JWK Set (RFC 7517 §5). @throws DomainError invalid */
export function parseJwks(jwks: unknown, signer: Signer): ClientKey[] {
  const { keys } = (typeof jwks === 'object' && jwks !== null ? jwks : {}) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > CLIENT_KEYS_MAX)
    throw invalid(`A JWK Set has a list "keys" of 1 to ${CLIENT_KEYS_MAX} keys`)
  const parsed = keys.map((jwk) => {
    const key = typeof jwk === 'object' && jwk !== null ? signer.clientKey(jwk) : null
    if (key === null)
      throw invalid(
        'A key must be a public JWK for ES256 (P-256), EdDSA (Ed25519), or RS256 or PS256 (RSA, 2048 to 4096 bits)'
      )
    return key
  })
  const areAlike = (a: ClientKey, b: ClientKey) => a.alg === b.alg && (a.kid === b.kid || !a.kid || !b.kid)
  if (parsed.some((key, at) => parsed.slice(at + 1).some((other) => areAlike(key, other))))
    throw invalid('Keys for the same algorithm must have different kids')
  return parsed
}

function assertGrants(client: Client, grants: Grant[]): void {
  for (const type of client.grantTypes) {
    const grant = grants.find((each) => each.type === type)
    const all = grants.map((each) => each.type).join(', ')
    if (grant === undefined) throw invalid(`There is no grant ${JSON.stringify(type)}; the grants are ${all}`)
    if (!grant.isFor(client)) throw invalid(`The grant ${type} is for ${grant.allowedClients}`)
  }
  if (client.grantTypes.includes(AUTHORIZATION_CODE_GRANT) && client.redirectUris.length === 0)
    throw invalid(`The grant ${AUTHORIZATION_CODE_GRANT} needs a redirect URI`)
}

function assertUris(client: Client): void {
  const assertNoFault = (what: string, text: string, fault: string | null) => {
    if (fault !== null) throw invalid(`The ${what} ${quoted(text)} is not allowed: ${fault}`)
  }
  for (const uri of client.redirectUris)
    assertNoFault('redirect URI', uri, redirectUriFault(uri, client.applicationType))
  for (const uri of client.postLogoutRedirectUris)
    assertNoFault('redirect URI after a logout', uri, redirectUriFault(uri, client.applicationType))
  const { clientUri, policyUri, tosUri, backchannelLogoutUri } = client
  for (const [what, uri] of [
    ['URI of the app', clientUri],
    ['URI of the privacy policy', policyUri],
    ['URI of the terms of service', tosUri],
    ['URI for logout tokens', backchannelLogoutUri]
  ] as const)
    if (uri !== null) assertNoFault(what, uri, webUriFault(uri))
}

function assertLogo({ logoUri }: Client): void {
  if (logoUri === null || (logoUri.length <= LOGO_URI_MAX && (LOGO_FILE.test(logoUri) || LOGO_DATA.test(logoUri))))
    return
  throw invalid(
    `A logo is the name of a file in the data directory, or a data: URI of a PNG, JPEG, WebP, GIF or SVG image with at most ${LOGO_URI_MAX} characters: the pages load nothing from other hosts`
  )
}

function assertScopes({ kind, scopes, defaultScopes }: Client): void {
  const clientOnly = CLIENT_ONLY_SCOPES.find((scope) => kind === 'public' && scopes.includes(scope))
  if (clientOnly !== undefined) throw invalid(`The scope ${clientOnly} is for confidential clients only`)
  const other = defaultScopes.find((scope) => !scopes.includes(scope))
  if (other !== undefined) throw invalid(`Every default scope must be one of the scopes; ${quoted(other)} is not`)
  if (defaultScopes.length > SCOPE_ITEMS_MAX || defaultScopes.join(' ').length > SCOPE_PARAMETER_MAX)
    throw invalid(
      `There are at most ${SCOPE_ITEMS_MAX} default scopes, with ${SCOPE_PARAMETER_MAX} characters in total`
    )
}

function assertTtls({ accessTokenTtl, sessionIdleTtl, sessionAbsoluteTtl }: Client): void {
  const isWithin = (ttl: Seconds, most: Seconds) => Number.isInteger(ttl) && ttl >= 1 && ttl <= most
  if (accessTokenTtl !== null && !isWithin(accessTokenTtl, ACCESS_TOKEN_TTL_MAX))
    throw invalid(`The lifetime of an access token is 1 to ${ACCESS_TOKEN_TTL_MAX} seconds`)
  if (!isWithin(sessionIdleTtl, SESSION_TTL_MAX) || !isWithin(sessionAbsoluteTtl, SESSION_TTL_MAX))
    throw invalid(`The lifetime of a session is 1 to ${SESSION_TTL_MAX} seconds`)
}

/**
 * Checks a client, and returns it without repeated list entries.
 * @throws DomainError invalid when a member breaks a rule
 */
export function validClient(client: Client, grants: Grant[]): Client {
  const { name, kind, grantTypes, scopes, defaultScopes, roles, resources, redirectUris, postLogoutRedirectUris } =
    client
  if (name === '' || !isLine(name)) throw invalid(`A name has 1 to ${LINE_MAX} characters and no control characters`)
  assertGrants(client, grants)
  if (kind === 'public' && client.jwks !== null) throw invalid('A public client has no keys')
  if (
    [scopes, roles ?? [], resources, redirectUris, postLogoutRedirectUris].some((list) => list.length > CLIENT_LIST_MAX)
  )
    throw invalid(`A client has at most ${CLIENT_LIST_MAX} each of scopes, roles, resources and redirect URIs`)
  assertScopes(client)
  assertUris(client)
  assertLogo(client)
  if (kind === 'public' && !client.requirePkce) throw invalid('Only a confidential client may do without PKCE')
  assertTtls(client)
  return {
    ...client,
    grantTypes: unique(grantTypes),
    scopes: unique(scopes),
    defaultScopes: unique(defaultScopes),
    roles: roles && unique(roles),
    resources: unique(resources),
    redirectUris: unique(redirectUris),
    postLogoutRedirectUris: unique(postLogoutRedirectUris)
  }
}
