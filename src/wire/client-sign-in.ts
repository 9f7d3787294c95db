import { type Static, type TObject, type TProperties, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { Client } from '../domain/model.ts'
import type { ClientChanges } from '../domain/ports/clients.ts'
import { CLIENT_LIST_MAX, LOGO_URI_MAX, REDIRECT_URI_MAX } from '../limits.ts'
import { OrNull } from './schema.ts'

/** The values of the example of a client that signs no user in. */
export const EXAMPLE = {
  redirect_uris: [],
  post_logout_redirect_uris: [],
  application_type: 'web' as const,
  client_uri: null,
  logo_uri: null,
  policy_uri: null,
  tos_uri: null,
  require_pkce: true,
  require_consent: true,
  id_token_signed_response_alg: null,
  backchannel_logout_uri: null
}

const Uris = (description: string) =>
  Type.Array(Type.String({ maxLength: REDIRECT_URI_MAX }), {
    maxItems: CLIENT_LIST_MAX,
    uniqueItems: true,
    description
  })
const UriOrNull = (description: string) =>
  OrNull(Type.String({ maxLength: REDIRECT_URI_MAX }), `${description}; null for none`)

/** The members of a client that are for the sign-in of users on pages, with the names of RFC 7591 and OpenID Connect. */
export const members = {
  redirect_uris: Uris(
    'Where responses to authorization requests may go: https, http on a loopback host, or for a native app a scheme with a dot. Compared character by character; for a native app the port of 127.0.0.1 and [::1] is free (RFC 8252 §7.3)'
  ),
  post_logout_redirect_uris: Uris('Where the browser may go after a logout (OpenID Connect RP-Initiated Logout 1.0)'),
  application_type: Type.Union([Type.Literal('web'), Type.Literal('native')], {
    description:
      '`native`: an app on a device of the user. Its redirect URIs may have a scheme with a dot (RFC 8252 §7.1)'
  }),
  client_uri: UriOrNull('The home page of the app'),
  logo_uri: OrNull(
    Type.String({ minLength: 1, maxLength: LOGO_URI_MAX }),
    'The logo: the name of a file in the data directory, or a `data:` URI of an image, because the pages load nothing from other hosts; null for none'
  ),
  policy_uri: UriOrNull('The privacy policy of the app'),
  tos_uri: UriOrNull('The terms of service of the app'),
  require_pkce: Type.Boolean({
    description:
      'Whether authorization requests must have a code challenge (RFC 7636). false only for a confidential client with old software; the log warns at each use'
  }),
  require_consent: Type.Boolean({
    description: 'Whether users are asked before the client gets tokens. Users of a first-party client are never asked'
  }),
  id_token_signed_response_alg: OrNull(
    Type.Union([Type.Literal('ES256'), Type.Literal('EdDSA'), Type.Literal('RS256')]),
    'The algorithm of ID tokens; null for the algorithm in the settings'
  ),
  backchannel_logout_uri: UriOrNull('Where logout tokens are sent (OpenID Connect Back-Channel Logout 1.0)')
} satisfies TProperties

type Members = Static<TObject<typeof members>>

/** Returns the JSON of the members. */
export const toWire = (client: Client): Members => ({
  redirect_uris: client.redirectUris,
  post_logout_redirect_uris: client.postLogoutRedirectUris,
  application_type: client.applicationType,
  client_uri: client.clientUri,
  logo_uri: client.logoUri,
  policy_uri: client.policyUri,
  tos_uri: client.tosUri,
  require_pkce: client.requirePkce,
  require_consent: client.requireConsent,
  id_token_signed_response_alg: client.idTokenAlg,
  backchannel_logout_uri: client.backchannelLogoutUri
})

/** Converts the JSON of the given members. */
export const fromWire = (body: Partial<Members>): ClientChanges =>
  defined({
    redirectUris: body.redirect_uris,
    postLogoutRedirectUris: body.post_logout_redirect_uris,
    applicationType: body.application_type,
    clientUri: body.client_uri,
    logoUri: body.logo_uri,
    policyUri: body.policy_uri,
    tosUri: body.tos_uri,
    requirePkce: body.require_pkce,
    requireConsent: body.require_consent,
    idTokenAlg: body.id_token_signed_response_alg,
    backchannelLogoutUri: body.backchannel_logout_uri
  })
