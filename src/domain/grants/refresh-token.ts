import { OAuthError } from '../errors.ts'
import { REFRESH_GRANT } from '../sessions.ts'
import { type Grant, required } from './grant.ts'

/** RFC 6749 §6. The session keeps its scopes; what is asked for narrows this access token only. */
export const refreshToken: Grant = {
  type: REFRESH_GRANT,
  params: { refresh_token: 'What renews the session; it is good once, its successor comes with the answer' },
  docsWithoutClient: true,
  only: () => true,

  async authorize(params, client, { users, refreshTokens }) {
    const found = await refreshTokens.read(required(params, 'refresh_token'))
    const user = found && (await users.enabled(found.session.userId))
    if (found === null || user === null || found.session.clientId !== client.id)
      throw new OAuthError('invalid_grant', 'The refresh token is not valid')
    return {
      subject: { userId: user.id, roles: user.roles },
      scopes: found.session.scopes,
      requested: found.session.scopes,
      session: found
    }
  }
}
