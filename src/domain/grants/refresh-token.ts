import { OAuthError } from '../errors.ts'
import { REFRESH_GRANT } from '../model.ts'
import type { RefreshTokens } from '../refresh-tokens.ts'
import { type Grant, required } from './grant.ts'

const REFUSAL = 'The refresh token is not valid'

/** Refreshing an access token, RFC 6749 §6. The session keeps its scopes; requested scopes narrow this access token only. */
export const createRefreshTokenGrant = (deps: { refreshTokens: RefreshTokens }): Grant => ({
  type: REFRESH_GRANT,
  params: { [REFRESH_GRANT]: 'Renews the session. Valid once; the response holds its successor' },
  docsWithoutClient: true,
  isFor: () => true,
  allowedClients: 'all clients',

  async authorize(_caller, { client, params, presented }) {
    const token = await (presented ?? deps.refreshTokens.read(required(params, REFRESH_GRANT)))
    if (token === null || token.session.clientId !== client.id) throw new OAuthError('invalid_grant', REFUSAL)
    return {
      kind: 'renewal',
      token,
      scopes: token.session.scopes,
      defaultScopes: token.session.scopes,
      resources: params.resource ?? [],
      refusal: REFUSAL
    }
  }
})
