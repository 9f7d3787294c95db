import { createHash, timingSafeEqual } from 'node:crypto'
import type { Config } from '../../settings.ts'
import { sha256 } from '../client-authentication.ts'
import { OAuthError } from '../errors.ts'
import type { Events } from '../events.ts'
import { AUTHORIZATION_CODE_GRANT, type Client } from '../model.ts'
import type { Authorization } from '../ports/authorizations.ts'
import type { Clock } from '../ports/clock.ts'
import type { Store } from '../ports/store.ts'
import { isRegistered } from '../redirect-uris.ts'
import { areIdentity, intersect } from '../scopes.ts'
import { type Grant, required, type TokenParams } from './grant.ts'

const [REDIRECT_URI, CODE_VERIFIER] = ['redirect_uri', 'code_verifier']
const REFUSAL = 'The code is not valid'
/** RFC 7636 §4.1. */
const VERIFIER = /^[A-Za-z0-9\-._~]{43,128}$/

/** Returns whether the verifier belongs to the challenge (RFC 7636 §4.6). A request without a challenge has no verifier. */
function isVerified(challenge: string | null, verifier: string | undefined): boolean {
  if (challenge === null || verifier === undefined) return challenge === null && verifier === undefined
  const hash = createHash('sha256').update(verifier).digest('base64url')
  return VERIFIER.test(verifier) && timingSafeEqual(Buffer.from(hash), Buffer.from(challenge))
}

/** Returns whether the token request is the one that the code was issued for (RFC 6749 §4.1.3). */
function matches({ request }: Authorization, client: Client, params: TokenParams): boolean {
  const { clientId, redirectUri, hasRedirectUri, codeChallenge } = request
  if (clientId !== client.id) return false
  // The client may have changed at the instant at which the code was stored.
  if (!isRegistered(redirectUri, client) || (client.requirePkce && codeChallenge === null)) return false
  if (params[REDIRECT_URI] !== redirectUri && (hasRedirectUri || params[REDIRECT_URI] !== undefined)) return false
  return isVerified(codeChallenge, params[CODE_VERIFIER] as string | undefined)
}

/**
 * Authorization Code, RFC 6749 §4.1, with PKCE (RFC 7636). A code is valid once, for a minute. A request that does not fit makes the
 * code invalid, and a code that comes twice ends its session.
 */
export const createAuthorizationCodeGrant = ({
  store,
  events,
  clock,
  settings
}: {
  store: Store
  settings: Pick<Config, 'issuer'>
  events: Events
  clock: Clock
}): Grant => {
  /**
   * Returns the requested resources of the granted scopes: the user may have refused every scope of one. Without any the token only shows who
   * the user is.
   */
  async function usableResources({ request, scopes }: Authorization): Promise<string[]> {
    const granted = await store.scopes.find(scopes.filter((scope) => !areIdentity([scope])))
    const identifiers = granted.map(({ identifier }) => identifier ?? settings.issuer)
    return intersect(request.resources, identifiers)
  }

  return {
    type: AUTHORIZATION_CODE_GRANT,
    params: {
      code: 'The code of the authorization response',
      [REDIRECT_URI]: 'The redirect URI of the authorization request, if it had one',
      [CODE_VERIFIER]: 'The secret whose SHA-256 hash was the code challenge (RFC 7636)'
    },
    docsWithoutClient: false,
    isFor: () => true,
    allowedClients: 'all clients',

    async authorize(caller, { client, params }) {
      const codeHash = sha256(required(params, 'code'))
      const invalidGrant = () => new OAuthError('invalid_grant', REFUSAL)
      const presented = await store.authorizations.find(codeHash)
      if (presented === null) throw invalidGrant()
      const { authorization } = presented
      const now = clock.now()
      if (authorization.state === 'redeemed' || !matches(authorization, client, params)) {
        await store.authorizations.burn(caller, { codeHash, now })
        throw invalidGrant()
      }
      if (authorization.state !== 'code' || authorization.expiresAt <= now) throw invalidGrant()

      const { request, login, scopes } = authorization
      if (request.codeChallenge === null) {
        const subject = { client: client.id, user: login.userId }
        const reason = 'the authorization request had no code_challenge'
        events.record({ type: 'client.without_pkce', caller, subject, outcome: 'success', reason })
      }
      const resources = params.resource ?? (await usableResources(authorization)).slice(0, 1)
      if (request.resources.length > 0 && !resources.every((resource) => request.resources.includes(resource)))
        throw new OAuthError('invalid_target', 'The authorization request did not name this resource')
      const { userId, authVersion, authAt, amr } = login
      return {
        kind: 'login',
        login: { userId, authVersion, authAt, amr },
        code: { hash: codeHash, scopes, nonce: request.nonce },
        scopes,
        defaultScopes: scopes,
        resources,
        refusal: REFUSAL
      }
    }
  }
}
