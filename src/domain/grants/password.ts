import { OAuthError } from '../errors.ts'
import { type Grant, required } from './grant.ts'

/** Resource Owner Password Credentials, RFC 6749 §4.3; for first-party clients only (RFC 9700 §2.4). */
export const password: Grant = {
  type: 'password',
  params: { username: 'The user’s name', password: 'The user’s password' },
  docsWithoutClient: true,
  only: (client) => client.firstParty,

  async authorize(params, client, { users, origin, now }) {
    const [username, secret] = [required(params, 'username'), required(params, 'password')]
    const found = await users.authenticate(username, secret, origin.address)
    if (found === null) throw new OAuthError('invalid_grant', 'Incorrect username or password')
    return {
      subject: { userId: found.user.id, roles: found.user.roles },
      scopes: client.scopes,
      requested: client.defaultScopes,
      session: { authAt: now, amr: ['pwd'], authVersion: found.authVersion }
    }
  }
}
