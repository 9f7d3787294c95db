import type { Grant } from './grant.ts'

/** Client Credentials, RFC 6749 §4.4: a client in its own name, without a session and so without a refresh token. */
export const createClientCredentialsGrant = (): Grant => ({
  type: 'client_credentials',
  params: {},
  docsWithoutClient: false,
  isFor: (client) => client.kind === 'confidential',
  allowedClients: 'confidential clients only',

  authorize: async (_caller, { client, params }) => ({
    kind: 'client',
    scopes: client.scopes,
    defaultScopes: client.defaultScopes,
    resources: params.resource ?? []
  })
})
