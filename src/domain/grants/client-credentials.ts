import type { Grant } from './grant.ts'

/** RFC 6749 §4.4: a client in its own name, without a session and so without a refresh token. */
export const clientCredentials: Grant = {
  type: 'client_credentials',
  params: {},
  docsWithoutClient: false,
  only: (client) => client.kind === 'confidential',

  authorize: async (_params, client) => ({
    subject: null,
    scopes: client.scopes,
    requested: client.defaultScopes,
    session: null
  })
}
